//! How fast callers may call: a bucket of tokens for each principal, and one for the failures
//! of each address. What a principal may is asked anew at each call, so it can change.
//!
//! Whoever shows something good is never turned away for another's failures from the same
//! address: keys cannot be guessed, and behind one address there may be many.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use execgate_core::ids::Principal;
use execgate_engine::Engine;
use execgate_engine::authority::Caller;
use futures::future::{Either, Ready, ready};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::refusal::{Refusal, TooFast};

/// Buckets at once: far more than callers that call at once. Beyond it those that are full
/// again, or as good as, are forgotten.
const MAX_BUCKETS: usize = 4096;
/// How long a bucket is kept that nobody uses: any is full again by then.
const BUCKET_LIFE: Duration = Duration::from_secs(120);
/// Bits of an IPv6 address that name a network: what is behind them one caller can choose.
const NETWORK_BITS: u32 = 64;

/// A bucket for each of many.
#[derive(Debug)]
struct Buckets<K>(Mutex<HashMap<K, Bucket>>);

#[derive(Debug)]
struct Bucket {
    quota: Quota,
    limiter: DefaultDirectRateLimiter,
    used: Instant,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there will be one.
    fn take(&self, key: &K, quota: Quota) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(key) {
            make_room(&mut buckets);
        }
        let bucket = buckets
            .entry(key.clone())
            .or_insert_with(|| Bucket::new(quota));
        if bucket.quota != quota {
            *bucket = Bucket::new(quota);
        }
        bucket.used = Instant::now();
        bucket
            .limiter
            .check()
            .map_err(|not_yet| not_yet.wait_time_from(DefaultClock::default().now()))
    }
}

impl Bucket {
    fn new(quota: Quota) -> Self {
        Self {
            quota,
            limiter: RateLimiter::direct(quota),
            used: Instant::now(),
        }
    }
}

fn make_room<K: Hash + Eq + Clone>(buckets: &mut HashMap<K, Bucket>) {
    buckets.retain(|_, bucket| bucket.used.elapsed() < BUCKET_LIFE);
    if buckets.len() < MAX_BUCKETS {
        return;
    }
    let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.used);
    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
        buckets.remove(&key);
    }
}

/// How often callers of one address may fail to say who they are.
#[derive(Debug)]
pub(crate) struct Failures {
    per_minute: NonZeroU32,
    buckets: Buckets<IpAddr>,
}

impl Failures {
    /// So often in a minute.
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        Self {
            per_minute,
            buckets: Buckets::new(),
        }
    }

    /// Counts one; the refusal to answer instead, where there are too many.
    pub(crate) fn count(&self, peer: IpAddr) -> Result<(), Refusal> {
        let quota = Quota::per_minute(self.per_minute);
        let taken = self.buckets.take(&network(peer), quota);
        taken.map_err(|retry_after| {
            Refusal::TooFast(Box::new(TooFast {
                subject: format!("peer:{}", peer.to_canonical()),
                what: "calls without a good token, key or certificate",
                limit: format!("{} a minute", self.per_minute),
                retry_after,
            }))
        })
    }
}

/// What one caller has of addresses.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(peer) => IpAddr::V4(peer),
        IpAddr::V6(peer) => {
            let mask = u128::MAX << (u128::BITS - NETWORK_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(peer.to_bits() & mask))
        }
    }
}

/// Puts the principals' buckets before the services.
#[derive(Debug, Clone)]
pub(crate) struct RateLayer {
    engine: Arc<Engine>,
    buckets: Arc<Buckets<Principal>>,
}

impl RateLayer {
    /// The buckets of an engine's principals.
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            buckets: Arc::new(Buckets::new()),
        }
    }

    fn check(&self, principal: &Principal) -> Result<(), Refusal> {
        let rate = self.engine.quotas(principal).requests;
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        self.buckets.take(principal, quota).map_err(|retry_after| {
            Refusal::TooFast(Box::new(TooFast {
                subject: format!("principal:{principal}"),
                what: "calls",
                limit: format!("{} a second", rate.per_second),
                retry_after,
            }))
        })
    }
}

impl<S> Layer<S> for RateLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        RateLimited {
            inner,
            rates: self.clone(),
        }
    }
}

/// The buckets and what is behind them.
#[derive(Debug, Clone)]
pub(crate) struct RateLimited<S> {
    inner: S,
    rates: RateLayer,
}

impl<S> Service<Request<Body>> for RateLimited<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Health is asked without one.
        let known = request.extensions().get::<Caller>();
        match known.map_or(Ok(()), |caller| self.rates.check(caller.principal())) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(refusal) => Either::Right(ready(Ok(refusal.into_response()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Quota {
        let [per_second, burst] = [per_second, burst].map(|n| n.try_into().unwrap());
        Quota::per_second(per_second).allow_burst(burst)
    }

    #[test]
    fn one_that_has_none_left_is_told_when_and_others_have_theirs() {
        let buckets = Buckets::new();
        let slow = rate(1, 3);
        for _ in 0..3 {
            assert_eq!(buckets.take(&"one", slow), Ok(()));
        }
        let wait = buckets.take(&"one", slow).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert_eq!(buckets.take(&"other", slow), Ok(()));
        assert_eq!(buckets.take(&"one", rate(1, 4)), Ok(()));
    }

    #[test]
    fn buckets_are_as_many_as_there_may_be() {
        let buckets = Buckets::new();
        for key in 0..MAX_BUCKETS + 10 {
            buckets.take(&key, rate(1, 1)).unwrap();
        }
        assert_eq!(buckets.0.lock().unwrap().len(), MAX_BUCKETS);
    }

    #[test]
    fn failures_are_counted_by_network() {
        let failures = Failures::new(2.try_into().unwrap());
        let count = |peer: &str| failures.count(peer.parse().unwrap());
        count("2001:db8::1").unwrap();
        count("2001:db8::2").unwrap();
        let Err(Refusal::TooFast(too_fast)) = count("2001:db8::3") else {
            panic!("it may go on")
        };
        assert_eq!(too_fast.subject, "peer:2001:db8::3");
        assert_eq!(too_fast.limit, "2 a minute");
        count("2001:db8:0:1::1").unwrap();
        count("::ffff:10.0.0.1").unwrap();
    }
}
