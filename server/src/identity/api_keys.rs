//! API keys: made by the operator for a named principal, shown once, kept as hashes in one
//! file of the data directory, good until they expire or are revoked.
//!
//! A key is `egk_ID_SECRET`: eight hex digits that name it, and 256 random bits. So many need
//! no slow hash: SHA-256 of the secret is what is kept. The file is replaced as a whole under
//! a lock; a server looks whether it has changed at each call, so that a revoked key is
//! refused from the next call on.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use rustix::fs::{FlockOperation, flock};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::LOCAL_PRINCIPAL;
use super::watched::Watched;

/// What every key begins with, so that it can be told from other bearers, and found by
/// whoever looks for leaked ones.
pub const KEY_PREFIX: &str = "egk_";

/// The file of the keys in the data directory.
pub const KEYS_FILE_NAME: &str = "api_keys.json";

/// Bytes of a key's id.
const ID_BYTES: usize = 4;

/// Bytes of a key's secret.
const SECRET_BYTES: usize = 32;

/// Most bytes of the file: some ten thousand keys.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Longest name of a key's owner, in bytes.
const MAX_OWNER_BYTES: usize = 64;

/// Why a bearer is no key. The same for an unknown and a wrong one.
const NO_KEY: &str = "the API key is not one of this server's";

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The file cannot be read or written.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was written there.
    #[error("read the keys in {path}: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A key cannot have this owner.
    #[error(
        "make a key for {owner:?}: a name is 1 to 64 of [A-Za-z0-9._@-], and not {LOCAL_PRINCIPAL} or system"
    )]
    Owner {
        /// The name.
        owner: String,
    },
    /// There is no such key.
    #[error("revoke {id}: there is no such key")]
    Unknown {
        /// Its id.
        id: String,
    },
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The principal that it makes of its bearer.
    pub owner: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// From when on it is refused, in seconds since 1970; nothing for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// SHA-256 of its secret, in hex.
    hash: String,
}

impl ApiKey {
    /// Whether it is refused for its age.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| seconds(now) >= end)
    }
}

type Keys = BTreeMap<String, ApiKey>;

/// The keys as a server sees them.
#[derive(Debug)]
pub(super) struct ApiKeys(Watched<Keys>);

impl ApiKeys {
    pub(super) fn new(file: PathBuf) -> Self {
        let files = [file.clone()];
        let read = move || read(&file).map_err(|error| error.to_string());
        Self(Watched::new(files, read))
    }

    /// Whose key this is, if it is good now.
    pub(super) fn owner(&self, bearer: &str, now: SystemTime) -> Result<String, &'static str> {
        let mut parts = bearer
            .strip_prefix(KEY_PREFIX)
            .unwrap_or_default()
            .split('_');
        let (Some(id), Some(secret), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NO_KEY);
        };
        let keys = self
            .0
            .now()
            .map_err(|_problem| "API keys cannot be checked now")?;
        let key = keys.get(id).ok_or(NO_KEY)?;
        let same: bool = key.hash.as_bytes().ct_eq(hash(secret).as_bytes()).into();
        match (same, key.is_expired(now)) {
            (true, false) => Ok(key.owner.clone()),
            (true, true) => Err("the API key has expired"),
            (false, _) => Err(NO_KEY),
        }
    }
}

/// Makes a key; answers its id and the key itself, which is nowhere else.
///
/// # Errors
/// Where the name is no name, or the file cannot be replaced.
pub fn create(
    file: &Path,
    owner: &str,
    lifetime: Option<Duration>,
    now: SystemTime,
) -> Result<(String, String), ApiKeyError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    let named = (1..=MAX_OWNER_BYTES).contains(&owner.len()) && owner.bytes().all(plain);
    if !named || owner == LOCAL_PRINCIPAL || owner == execgate_core::audit::SYSTEM_PRINCIPAL {
        return Err(ApiKeyError::Owner {
            owner: owner.to_owned(),
        });
    }
    let secret = HEXLOWER.encode(&random::<SECRET_BYTES>(file)?);
    let hash = hash(&secret);
    change(file, |keys| {
        let id = loop {
            let id = HEXLOWER.encode(&random::<ID_BYTES>(file)?);
            if !keys.contains_key(&id) {
                break id;
            }
        };
        let key = ApiKey {
            owner: owner.to_owned(),
            created: seconds(now),
            expires: lifetime.map(|lifetime| seconds(now).saturating_add(lifetime.as_secs())),
            hash,
        };
        keys.insert(id.clone(), key);
        Ok((id.clone(), format!("{KEY_PREFIX}{id}_{secret}")))
    })
}

/// Ends a key; answers what it was.
///
/// # Errors
/// Where there is none, or the file cannot be replaced.
pub fn revoke(file: &Path, id: &str) -> Result<ApiKey, ApiKeyError> {
    change(file, |keys| {
        keys.remove(id)
            .ok_or_else(|| ApiKeyError::Unknown { id: id.to_owned() })
    })
}

/// All keys by their ids, also those that have expired.
///
/// # Errors
/// Where the file cannot be read.
pub fn list(file: &Path) -> Result<BTreeMap<String, ApiKey>, ApiKeyError> {
    read(file)
}

/// Changes the file as a whole; whoever comes at the same time waits.
fn change<T>(
    file: &Path,
    change: impl FnOnce(&mut Keys) -> Result<T, ApiKeyError>,
) -> Result<T, ApiKeyError> {
    let lock = file.with_extension("lock");
    let held = create_private(&lock, false).map_err(failed("lock", &lock))?;
    flock(&held, FlockOperation::LockExclusive)
        .map_err(|errno| failed("lock", &lock)(errno.into()))?;
    let mut keys = read(file)?;
    let answer = change(&mut keys)?;
    let text = serde_json::to_vec_pretty(&keys).map_err(|error| ApiKeyError::Content {
        path: file.to_owned(),
        problem: error.to_string(),
    })?;
    let new = file.with_extension("new");
    let written = || {
        let mut out = create_private(&new, true)?;
        out.write_all(&text)?;
        out.sync_all()?;
        fs::rename(&new, file)
    };
    written().map_err(failed("write", file))?;
    Ok(answer)
}

fn create_private(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(0o600)
        .open(path)
}

fn read(file: &Path) -> Result<Keys, ApiKeyError> {
    let mut text = Vec::new();
    match File::open(file) {
        Ok(open) => open
            .take(MAX_FILE_BYTES)
            .read_to_end(&mut text)
            .map_err(failed("read", file))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Keys::new()),
        Err(source) => return Err(failed("read", file)(source)),
    };
    serde_json::from_slice(&text).map_err(|error| ApiKeyError::Content {
        path: file.to_owned(),
        problem: error.to_string(),
    })
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ApiKeyError {
    let path = path.to_owned();
    move |source| ApiKeyError::Io {
        operation,
        path,
        source,
    }
}

fn random<const BYTES: usize>(file: &Path) -> Result<[u8; BYTES], ApiKeyError> {
    let mut bytes = [0; BYTES];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(filled) if filled == BYTES => Ok(bytes),
        Ok(_) => Err(failed("find randomness for", file)(
            io::ErrorKind::UnexpectedEof.into(),
        )),
        Err(errno) => Err(failed("find randomness for", file)(errno.into())),
    }
}

fn hash(secret: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(secret))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_key_is_its_owners_until_it_expires_or_is_revoked() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(KEYS_FILE_NAME);
        let now = SystemTime::now();
        let server = ApiKeys::new(file.clone());
        assert_eq!(server.owner("egk_00000000_0", now), Err(NO_KEY));
        let (id, key) = create(&file, "agent-7", Some(DAY), now).unwrap();
        let (_, other) = create(&file, "ci@build", None, now).unwrap();
        let kept = fs::read_to_string(&file).unwrap();
        let secret = key.rsplit('_').next().unwrap();
        assert!(!kept.contains(secret), "{kept}");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);

        assert_eq!(server.owner(&key, now).as_deref(), Ok("agent-7"));
        assert_eq!(
            server.owner(&other, now + 400 * DAY).as_deref(),
            Ok("ci@build")
        );
        assert_eq!(
            server.owner(&key, now + DAY),
            Err("the API key has expired")
        );
        let swapped = format!("egk_{id}_{}", other.rsplit('_').next().unwrap());
        for wrong in [
            &swapped,
            &key[..key.len() - 1],
            &format!("{key}0"),
            &format!("{key}_"),
        ] {
            assert_eq!(server.owner(wrong, now), Err(NO_KEY), "{wrong}");
        }

        assert_eq!(revoke(&file, &id).unwrap().owner, "agent-7");
        assert_eq!(server.owner(&key, now), Err(NO_KEY));
        assert!(server.owner(&other, now).is_ok());
        assert!(matches!(
            revoke(&file, &id),
            Err(ApiKeyError::Unknown { .. })
        ));
        fs::write(&file, "{").unwrap();
        assert_eq!(
            server.owner(&other, now),
            Err("API keys cannot be checked now")
        );
    }

    #[test]
    fn names_that_could_be_somebody_elses_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(KEYS_FILE_NAME);
        let long = "x".repeat(65);
        for owner in ["", "local", "system", "jwt:x", "dns:a", "a b", "é", &long] {
            let made = create(&file, owner, None, SystemTime::now());
            assert!(matches!(made, Err(ApiKeyError::Owner { .. })), "{owner}");
        }
        assert!(!file.exists());
    }

    #[test]
    fn keys_made_at_the_same_time_are_all_kept() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(KEYS_FILE_NAME);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| create(&file, "x", None, SystemTime::now()).unwrap());
            }
        });
        assert_eq!(list(&file).unwrap().len(), 8);
    }
}
