//! Names of things: sessions, executions and the principal who owns them.
//!
//! Server-made ids carry 128 random bits, so that they can be neither guessed nor
//! collide; a client may choose its own, which makes a retry idempotent. An id says
//! nothing of where its thing lives. Nothing here draws random bits: the caller does.

use std::fmt;

/// Longest id a client may choose, in characters.
pub const MAX_CHOSEN_ID_CHARS: usize = 64;

/// Why a client-chosen id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {MAX_CHOSEN_ID_CHARS} characters of a-z, 0-9, '_' and '-'")]
pub struct InvalidId;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("An id made by the server: `", $prefix, "` and the base32 of `random`.")]
            #[must_use]
            pub fn from_random(random: [u8; 16]) -> Self {
                let text = data_encoding::BASE32_NOPAD.encode(&random).to_ascii_lowercase();
                Self(format!(concat!($prefix, "{}"), text))
            }

            /// An id as a client chose or repeats it.
            ///
            /// # Errors
            /// Where it is empty, too long, or has other characters than `[a-z0-9_-]`.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
                if text.is_empty() || text.len() > MAX_CHOSEN_ID_CHARS || !text.bytes().all(allowed) {
                    return Err(InvalidId);
                }
                Ok(Self(text.to_owned()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id_type!(
    /// Names one session of one principal.
    SessionId,
    "ses_"
);
id_type!(
    /// Names one execution of one session.
    ExecutionId,
    "exe_"
);

id_type!(
    /// Names one checkpoint of one principal.
    CheckpointId,
    "ckp_"
);

/// Who is asking: the owner of sessions and all that is in them.
///
/// Only the edge makes one, after it has authenticated the caller; every engine call
/// takes one, so that a handler that forgets to ask who calls does not compile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(String);

impl Principal {
    /// A principal by its authenticated name, such as `uid:0` or `token:local`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name, as it stands in audit records.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_ids_are_their_prefix_and_26_characters() {
        let id = SessionId::from_random([0xff; 16]);
        assert_eq!(id.as_str(), "ses_77777777777777777777777774");
        assert_eq!(SessionId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn chosen_ids_are_short_and_plain() {
        let longest = "a".repeat(MAX_CHOSEN_ID_CHARS);
        for good in ["a", "build-1_x", longest.as_str()] {
            assert!(ExecutionId::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "A",
            "a b",
            "ä",
            "a/b",
            &"a".repeat(MAX_CHOSEN_ID_CHARS + 1),
        ] {
            assert_eq!(ExecutionId::parse(bad), Err(InvalidId), "{bad}");
        }
    }
}
