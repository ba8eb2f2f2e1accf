//! The bearer token: where it is found, and how it is kept out of sight.
//!
//! A token found in the local server's data directory is never sent to another
//! machine: the connection is plain text and that server is not its issuer.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use tonic::metadata::{Ascii, MetadataValue};

use crate::error::Error;

/// Variable that holds the token itself.
const TOKEN_VARIABLE: &str = "EXECGATE_TOKEN";

/// Variable that holds the server's data directory.
const DATA_DIR_VARIABLE: &str = "EXECGATE_DATA_DIR";

/// The token's file in the data directory.
const TOKEN_FILE: &str = "token";

/// A bearer token, ready to be sent.
#[derive(Clone)]
pub(crate) struct Token(MetadataValue<Ascii>);

impl Token {
    /// Takes a token as text; surrounding white space does not belong to it.
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", text.trim())
            .parse()
            .map_err(|_| Error::InvalidToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Looks for a token: in the environment, then, for a local server only, in
    /// its data directory. A missing file is no error, an unreadable one is.
    pub(crate) fn find(
        variable: impl Fn(&str) -> Option<OsString>,
        local_server: bool,
    ) -> Result<Option<Self>, Error> {
        if let Some(value) = variable(TOKEN_VARIABLE).filter(|value| !value.is_empty()) {
            return Self::new(&value.to_string_lossy()).map(Some);
        }
        match data_dir(variable) {
            Some(dir) if local_server => Self::read(&dir.join(TOKEN_FILE)),
            _ => Ok(None),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, Error> {
        match fs::read_to_string(path) {
            Ok(text) => Self::new(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::UnreadableToken {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The value of the `authorization` header.
    pub(crate) fn header(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<secret>)")
    }
}

/// `$EXECGATE_DATA_DIR`, else the server's default directory.
fn data_dir(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The XDG specification has relative paths ignored.
    let absolute = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(dir) = variable(DATA_DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
        return Some(PathBuf::from(dir));
    }
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("execgate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header that is sent with `variables` set, if any.
    fn found(variables: &[(&str, &Path)], local_server: bool) -> Option<String> {
        let lookup = |name: &str| {
            let mut pairs = variables.iter();
            let pair = pairs.find(|(variable, _)| *variable == name)?;
            Some(pair.1.as_os_str().to_owned())
        };
        let token = Token::find(lookup, local_server).unwrap()?;
        Some(token.header().to_str().unwrap().to_owned())
    }

    #[test]
    fn token_is_found_where_the_server_puts_it() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join(".local/state");
        let other = home.path().join("other");
        for (dir, token) in [(state.join("execgate"), "aaa\n"), (other.clone(), "bbb")] {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("token"), token).unwrap();
        }
        let home = ("HOME", home.path());
        let xdg = ("XDG_STATE_HOME", state.as_path());
        let relative = ("XDG_STATE_HOME", Path::new("state"));
        let data_dir = ("EXECGATE_DATA_DIR", other.as_path());
        let token = ("EXECGATE_TOKEN", Path::new("ccc"));
        let bearer = |token: &str| Some(format!("Bearer {token}"));

        assert_eq!(found(&[home], true), bearer("aaa"));
        assert_eq!(found(&[xdg], true), bearer("aaa"));
        assert_eq!(found(&[home, relative], true), bearer("aaa"));
        assert_eq!(found(&[home, data_dir], true), bearer("bbb"));
        assert_eq!(found(&[home, data_dir, token], true), bearer("ccc"));
        assert_eq!(found(&[], true), None);
    }

    #[test]
    fn local_token_is_not_sent_to_another_machine() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "aaa").unwrap();
        let data_dir = ("EXECGATE_DATA_DIR", dir.path());
        let token = ("EXECGATE_TOKEN", Path::new("ccc"));
        assert_eq!(found(&[data_dir], false), None);
        assert_eq!(found(&[data_dir, token], false), Some("Bearer ccc".into()));
    }

    #[test]
    fn missing_token_file_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(found(&[("EXECGATE_DATA_DIR", dir.path())], true), None);
    }

    #[test]
    fn token_never_shows_in_debug_output() {
        let token = Token::new("0123456789").unwrap();
        assert_eq!(format!("{token:?}"), "Token(<secret>)");
        assert!(!format!("{:?}", token.header()).contains("0123456789"));
    }
}
