//! The bearer token that callers over loopback TCP have to show.

use std::fmt;

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;

use crate::data_dir::{DataDir, DataDirError};

/// The token's file in the data directory, where clients of the same user find it.
pub const TOKEN_FILE_NAME: &str = "token";

/// The server's bearer token: 64 hex digits.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads the token from the data directory; makes it at first start.
    pub fn load_or_create(dir: &DataDir) -> Result<Self, DataDirError> {
        dir.secret(TOKEN_FILE_NAME)
            .map(|bytes| Self(HEXLOWER.encode(&bytes)))
    }

    /// True if `presented` is the token; takes as long wherever they differ.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }

    /// The token itself, to hand to a client.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<secret>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_in_the_file_matches() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&root.path().join("data")).unwrap();
        let token = Token::load_or_create(&dir).unwrap();
        let file = std::fs::read_to_string(dir.path().join(TOKEN_FILE_NAME)).unwrap();
        assert!(token.matches(file.trim_end().as_bytes()));
        for wrong in ["", "0", &file, &"0".repeat(64)] {
            assert!(!token.matches(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(<secret>)");
    }
}
