//! OpenSSH's known_hosts, as sshd(8) describes the format. Pure: text in, entries out.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// One line that is about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) marker: Marker,
    /// Such as `ssh-ed25519`.
    pub(super) algorithm: String,
    /// The key in base64.
    pub(super) base64: String,
}

/// What a line says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// It is the host's.
    None,
    /// It must not be trusted.
    Revoked,
    /// It signs the keys of hosts.
    Authority,
}

impl Entry {
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.algorithm, self.base64)
    }
}

/// A host as known hosts name it.
pub(super) fn host_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        super::super::settings::DEFAULT_PORT => host,
        port => format!("[{host}]:{port}"),
    }
}

/// The lines about a host. Lines that cannot be read say nothing, as in OpenSSH.
pub(super) fn entries(text: &str, name: &str) -> Vec<Entry> {
    text.lines().filter_map(|line| entry(line, name)).collect()
}

fn entry(line: &str, name: &str) -> Option<Entry> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut words = line.split_whitespace();
    let mut hosts = words.next()?;
    let marker = match hosts {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::Authority,
        _ => Marker::None,
    };
    if marker != Marker::None {
        hosts = words.next()?;
    }
    let (algorithm, base64) = (words.next()?, words.next()?);
    is_about(hosts, name).then(|| Entry {
        marker,
        algorithm: algorithm.to_owned(),
        base64: base64.to_owned(),
    })
}

/// Whether a list of hosts holds this one; a negated pattern that fits takes it out.
fn is_about(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return is_hash_of(hashed, name).unwrap_or(false);
    }
    let mut found = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(pattern, name) => return false,
            Some(_) => {}
            None => found |= fits(pattern, name),
        }
    }
    found
}

/// `BASE64(salt)|BASE64(HMAC-SHA1(salt, name))`.
fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let salt = BASE64.decode(salt.as_bytes()).ok()?;
    let hash = BASE64.decode(hash.as_bytes()).ok()?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&hash).is_ok())
}

/// Whether a pattern with `*` and `?` fits all of a name; letters in either case.
pub(in crate::transport::ssh) fn fits(pattern: &str, name: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    // Where to go on if what follows the last star does not fit here.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (Some((b'*', rest)), _) => {
                again = Some((rest, name));
                pattern = rest;
            }
            (Some((wanted, rest)), Some((byte, left))) if *wanted == b'?' || wanted == byte => {
                (pattern, name) = (rest, left);
            }
            (None, None) => return true,
            _ => {
                let Some((rest, [_, left @ ..])) = again else {
                    return false;
                };
                again = Some((rest, left));
                (pattern, name) = (rest, left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(hosts: &str, name: &str) -> bool {
        entry(&format!("{hosts}\tssh-ed25519\tAAAA comment"), name).is_some()
    }

    #[test]
    fn patterns_fit_as_in_openssh() {
        for (hosts, name, fits) in [
            ("build", "build", true),
            ("BUILD", "build", true),
            ("build", "build2", false),
            ("a,build,c", "build", true),
            ("*.example.com", "x.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com,!bad.example.com", "bad.example.com", false),
            ("!bad.example.com,*.example.com", "bad.example.com", false),
            ("192.0.2.?", "192.0.2.7", true),
            ("192.0.2.?", "192.0.2.77", false),
            ("[build]:2222", "[build]:2222", true),
            ("build", "[build]:2222", false),
            ("*a*b", "xaxab", true),
            ("*a*b", "xaxa", false),
        ] {
            assert_eq!(about(hosts, name), fits, "{hosts} {name}");
        }
    }

    #[test]
    fn a_hashed_name_is_found() {
        // ssh-keygen -H of `build`, with salt 0..20.
        let salt: Vec<u8> = (0..20).collect();
        let mut mac = Hmac::<Sha1>::new_from_slice(&salt).unwrap();
        mac.update(b"build");
        let hash = mac.finalize().into_bytes();
        let hosts = format!("|1|{}|{}", BASE64.encode(&salt), BASE64.encode(&hash));
        assert!(about(&hosts, "build"));
        assert!(!about(&hosts, "other"));
        assert!(!about("|1|broken", "build"));
    }

    #[test]
    fn markers_are_read_and_comments_are_not() {
        let text = "# build ssh-ed25519 AAAA\n@revoked build ssh-rsa BBBB\n\
                    @cert-authority *\tssh-ed25519 CCCC\nbuild ssh-ed25519 DDDD\nbuild broken\n";
        let found: Vec<_> = entries(text, "build")
            .into_iter()
            .map(|entry| (entry.marker, entry.base64))
            .collect();
        let expected = [
            (Marker::Revoked, "BBBB"),
            (Marker::Authority, "CCCC"),
            (Marker::None, "DDDD"),
        ];
        assert_eq!(
            found,
            expected.map(|(marker, key)| (marker, key.to_owned()))
        );
    }

    #[test]
    fn a_port_of_its_own_is_part_of_the_name() {
        assert_eq!(host_name("Build", 22), "build");
        assert_eq!(host_name("Build", 2222), "[build]:2222");
    }
}
