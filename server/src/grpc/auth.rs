//! Who calls. Decided before any service but grpc.health is reached: over TCP by what the
//! caller shows (`identity`), over a Unix socket by the peer's process. What a handler gets is
//! a type of the engine's (`authority`) through [`reader`], [`owner`] or [`steward`], and the
//! engine does nothing without one.
//!
//! The server's own token and its socket are the same human, so both are one principal: what
//! was opened one way is there the other way. Where both a certificate and a bearer are shown
//! the bearer is who calls, and has to be good.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use execgate_core::audit::{
    AuditBody, AuthFailure, AuthMethod, Micros, NewRecord, Origin, SYSTEM_PRINCIPAL,
};
use execgate_core::ids::Principal;
use execgate_core::trace::TraceContext;
use execgate_engine::audit::{AuditStore, Durability};
use execgate_engine::authority::{Caller, Owner, Role, Steward};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::peer::Peer;
use super::rate::Failures;
use super::refusal::Refusal;
use crate::identity::{Distance, Grants, Identity, LOCAL_PRINCIPAL, is_name};
use crate::tls::Holder;

/// Health is open: a probe has no token, and learns nothing but whether we serve.
const OPEN_SERVICE: &str = "/grpc.health.v1.Health/";
/// The scheme of the header.
const SCHEME: &str = "bearer";
/// The header that names the principal whose things a call is about.
const OWNER_HEADER: &str = "execgate-principal";
/// What it says for all of them.
const EVERYBODY: &str = "*";
/// Bytes of a method's name in a record.
const MAX_METHOD_BYTES: usize = 128;
/// Failures recorded at once, so that whoever knocks fills no disk.
const RECORD_BURST: u32 = 10;
/// Failures recorded in a row beyond that: one in each of these.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);

/// Who calls, as [`Authenticate`] found out.
///
/// # Errors
/// Where no caller was established: the call never passed the gate.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Result<&Caller, Refusal> {
    let known = request.extensions().get::<Caller>();
    known.ok_or(Refusal::Unauthenticated {
        reason: "the caller is not known",
    })
}

/// Whose things the call is about.
pub(crate) enum Whose {
    /// One principal's: the caller's, where it does not say.
    One(Principal),
    /// Everybody's.
    All,
}

/// Whose things the caller is to see, and may.
///
/// # Errors
/// Where its role does not let it.
pub(crate) fn whose<T>(request: &tonic::Request<T>) -> Result<Whose, Refusal> {
    let caller = caller(request)?;
    match named(request)? {
        Some(EVERYBODY) => {
            caller.overseer()?;
            Ok(Whose::All)
        }
        Some(name) => Ok(Whose::One(caller.reader(&Principal::new(name))?)),
        None => Ok(Whose::One(caller.reader(caller.principal())?)),
    }
}

/// The principal whose things the caller is to see, and may.
///
/// # Errors
/// Where its role does not let it.
pub(crate) fn reader<T>(request: &tonic::Request<T>) -> Result<Principal, Refusal> {
    match whose(request)? {
        Whose::One(principal) => Ok(principal),
        Whose::All => Err(Refusal::field(OWNER_HEADER, "`*` is for listing sessions")),
    }
}

/// The caller, who changes what is its own.
///
/// # Errors
/// Where its role does not let it, or it names another principal: nobody acts in the name of
/// another.
pub(crate) fn owner<T>(request: &tonic::Request<T>) -> Result<Owner, Refusal> {
    let caller = caller(request)?;
    let owner = caller.owner()?;
    match named(request)? {
        Some(name) if name != caller.principal().as_str() => {
            let reason = "names somebody else: nobody acts in the name of another";
            Err(Refusal::field(OWNER_HEADER, reason))
        }
        _ => Ok(owner),
    }
}

/// The caller, who ends what is its own, or as an operator another's.
///
/// # Errors
/// Where its role does not let it.
pub(crate) fn steward<T>(request: &tonic::Request<T>) -> Result<Steward, Refusal> {
    let caller = caller(request)?;
    match named(request)? {
        Some(EVERYBODY) => Err(Refusal::field(OWNER_HEADER, "`*` is for listing sessions")),
        Some(name) => Ok(caller.steward(&Principal::new(name))?),
        None => Ok(caller.steward(caller.principal())?),
    }
}

/// The principal that the call names as the owner of what it is about.
fn named<T>(request: &tonic::Request<T>) -> Result<Option<&str>, Refusal> {
    let mut given = request.metadata().get_all(OWNER_HEADER).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    match (value.to_str(), given.next()) {
        (Ok(name), None) if is_name(name) => Ok(Some(name)),
        _ => Err(Refusal::field(OWNER_HEADER, "is no name of a principal")),
    }
}

/// Where the call comes from, as its records tell it.
pub(crate) fn origin<T>(request: &tonic::Request<T>) -> Origin {
    let known = request.extensions().get::<Caller>();
    known.map(Caller::origin).cloned().unwrap_or_default()
}

/// The gate's knowledge.
#[derive(Debug)]
pub(crate) struct Gate {
    identity: Identity,
    grants: Grants,
    audit: Arc<dyn AuditStore>,
    bucket: Mutex<Bucket>,
    failures: Failures,
}

impl Gate {
    /// A gate that opens to whom `identity` knows, and records in `audit` whom it turns away.
    pub(crate) fn new(
        identity: Identity,
        grants: Grants,
        audit: Arc<dyn AuditStore>,
        failures_per_minute: NonZeroU32,
    ) -> Self {
        Self {
            identity,
            grants,
            audit,
            bucket: Mutex::new(Bucket::new(Instant::now())),
            failures: Failures::new(failures_per_minute),
        }
    }

    /// Takes note of a caller that was turned away; answers what it is told.
    fn turned_away(&self, method: &str, peer: Option<&Peer>, refusal: Refusal) -> Refusal {
        self.record(method, peer, &refusal);
        match (peer, &refusal) {
            (Some(Peer::Tcp(address, _)), Refusal::Unauthenticated { .. }) => {
                let counted = self.failures.count(address.ip());
                counted.err().unwrap_or(refusal)
            }
            _ => refusal,
        }
    }

    fn admit(
        &self,
        peer: Option<&Peer>,
        trace: Option<&TraceContext>,
        headers: &HeaderMap,
    ) -> Result<Caller, Refusal> {
        let (principal, auth) = match peer {
            Some(Peer::Tcp(address, holder)) => self.admit_tcp(*address, holder, headers)?,
            Some(Peer::Owner { .. }) => (Principal::new(LOCAL_PRINCIPAL), AuthMethod::UnixPeer),
            Some(Peer::Refused { reason, .. }) => {
                return Err(Refusal::CalledFromSession { reason });
            }
            None => {
                return Err(Refusal::Unauthenticated {
                    reason: "the peer is not known",
                });
            }
        };
        let origin = Origin {
            auth: Some(auth),
            trace: trace.cloned(),
        };
        let grant = self.grants.of(&principal);
        match grant.role {
            Role::Nobody => Err(Refusal::NoRole { principal }),
            _ => Ok(Caller::new(principal, grant, origin)),
        }
    }

    fn admit_tcp(
        &self,
        address: SocketAddr,
        holder: &Holder,
        headers: &HeaderMap,
    ) -> Result<(Principal, AuthMethod), Refusal> {
        let unauthenticated = |reason| Refusal::Unauthenticated { reason };
        let bearer = bearer(headers).map_err(unauthenticated)?;
        match (bearer, holder) {
            (Some(bearer), _) => {
                let distance = match address.ip().to_canonical().is_loopback() {
                    true => Distance::Loopback,
                    false => Distance::Remote,
                };
                let known = self.identity.bearer(bearer, distance, SystemTime::now());
                known.map_err(unauthenticated)
            }
            (None, Some(Ok(principal))) => Ok((principal.clone(), AuthMethod::ClientCertificate)),
            (None, Some(Err(reason))) => Err(unauthenticated(reason)),
            (None, None) => Err(unauthenticated("no bearer token was sent")),
        }
    }

    /// Puts a failure into the audit log, within bounds.
    fn record(&self, method: &str, peer: Option<&Peer>, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::Unauthenticated { reason } | Refusal::CalledFromSession { reason } => reason,
            Refusal::NoRole { .. } => &"the principal was granted nothing",
            _ => &"it was refused",
        };
        let peer = peer.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(unrecorded) = bucket.take(Instant::now()) else {
            return;
        };
        drop(bucket);
        let reason = match unrecorded {
            0 => (*reason).to_owned(),
            more => format!("{reason}; {more} more before it were not recorded"),
        };
        let method = method
            .get(..method.floor_char_boundary(MAX_METHOD_BYTES))
            .unwrap_or(method);
        tracing::warn!(rpc.method = method, peer, reason, "caller turned away");
        let record = NewRecord {
            time: Micros::from(SystemTime::now()),
            principal: SYSTEM_PRINCIPAL.to_owned(),
            session_id: None,
            execution_id: None,
            trace_id: None,
            auth: None,
            body: AuditBody::AuthFailure(AuthFailure {
                method: method.to_owned(),
                peer,
                reason,
            }),
        };
        let appended = self.audit.append(record, Durability::Written);
        tokio::spawn(async move {
            if let Err(error) = appended.await {
                tracing::error!(%error, "audit record lost");
            }
        });
    }
}

/// The one bearer that was sent, if any.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err("more than one authorization was sent");
    }
    match value.to_str().ok().and_then(|value| value.split_once(' ')) {
        Some((scheme, bearer)) if scheme.eq_ignore_ascii_case(SCHEME) => Ok(Some(bearer.trim())),
        _ => Err("the authorization is no bearer token"),
    }
}

/// How many failures may be recorded now.
#[derive(Debug)]
struct Bucket {
    left: u32,
    filled: Instant,
    unrecorded: u64,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            left: RECORD_BURST,
            filled: now,
            unrecorded: 0,
        }
    }

    /// Whether to record, and how many went unrecorded before.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let waited = now.saturating_duration_since(self.filled);
        let fresh = waited.as_nanos() / RECORD_INTERVAL.as_nanos();
        if fresh > 0 {
            self.left = RECORD_BURST.min(
                self.left
                    .saturating_add(u32::try_from(fresh).unwrap_or(u32::MAX)),
            );
            self.filled = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.unrecorded))
            }
            None => {
                self.unrecorded += 1;
                None
            }
        }
    }
}

/// Puts the gate before everything that is inside.
#[derive(Debug, Clone)]
pub(crate) struct AuthenticateLayer(pub(crate) Arc<Gate>);

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate {
            inner,
            gate: Arc::clone(&self.0),
        }
    }
}

/// The gate and what is behind it.
#[derive(Debug, Clone)]
pub(crate) struct Authenticate<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Service<Request<Body>> for Authenticate<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = futures::future::Either<
        S::Future,
        futures::future::Ready<Result<Response<Body>, S::Error>>,
    >;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let method = request.uri().path();
        if !method.starts_with(OPEN_SERVICE) {
            let peer = request.extensions().get::<Peer>();
            let trace = request.extensions().get::<TraceContext>();
            match self.gate.admit(peer, trace, request.headers()) {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                }
                Err(refusal) => {
                    let refusal = self.gate.turned_away(method, peer, refusal);
                    let answer = refusal.into_response();
                    return futures::future::Either::Right(futures::future::ready(Ok(answer)));
                }
            }
        }
        // Nothing behind the gate has a use for it.
        request.headers_mut().remove(AUTHORIZATION);
        futures::future::Either::Left(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_recorded_within_bounds_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let recorded = (0..100).filter(|_| bucket.take(start).is_some()).count();
        assert_eq!(recorded, 10);
        assert_eq!(bucket.take(start + RECORD_INTERVAL), Some(90));
        assert_eq!(bucket.take(start + RECORD_INTERVAL), None);
    }
}
