//! The bearer token: where it is found, and how it is kept out of sight.
//!
//! A token found in the local server's data directory is never sent to another machine, which is
//! not its issuer; none at all goes to another machine in plain text, unless the caller says so.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use std::{fmt, fs, io};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tonic::codegen::http::HeaderValue;

use crate::error::Error;

/// Variable that holds the path of a file with the token.
const TOKEN_FILE_VARIABLE: &str = "EXECGATE_TOKEN_FILE";

/// Variable that holds the token itself.
const TOKEN_VARIABLE: &str = "EXECGATE_TOKEN";

/// Variable that holds the server's data directory.
const DATA_DIR_VARIABLE: &str = "EXECGATE_DATA_DIR";

/// The token's file in the data directory.
const TOKEN_FILE: &str = "token";

/// Any error, of a function of the caller's.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// What is shown with each call.
#[derive(Clone)]
pub(crate) enum Bearer {
    /// The same token each time.
    Fixed(Token),
    /// What is in a file, which is read again when it is another one.
    File(Arc<TokenInFile>),
    /// What a function answers.
    Asked(Ask),
}

/// A function that is asked for the token at each call.
pub(crate) type Ask = Arc<dyn Fn() -> BoxFuture<'static, Result<String, BoxError>> + Send + Sync>;

/// There is no token to show with a call, and so the call was not made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub(crate) struct NoToken {
    pub(crate) why: String,
}

impl Bearer {
    /// Whatever the environment names, or the local server has; `place` is where it goes to. A
    /// missing file of the local server is no error, an unreadable one is.
    pub(crate) fn find(
        variable: impl Fn(&str) -> Option<OsString>,
        place: Place,
    ) -> Result<Option<Self>, Error> {
        let set = |name| variable(name).filter(|value: &OsString| !value.is_empty());
        if let Some(value) = set(TOKEN_VARIABLE) {
            return Ok(Some(Self::Fixed(Token::new(&value.to_string_lossy())?)));
        }
        if let Some(path) = set(TOKEN_FILE_VARIABLE) {
            return Self::in_file(PathBuf::from(path)).map(Some);
        }
        match data_dir(variable) {
            Some(dir) if place == Place::LocalServer => {
                Ok(Token::read(&dir.join(TOKEN_FILE))?.map(Self::Fixed))
            }
            _ => Ok(None),
        }
    }

    /// A token in a file, which has to be there now.
    pub(crate) fn in_file(path: PathBuf) -> Result<Self, Error> {
        Ok(Self::File(Arc::new(TokenInFile::open(path)?)))
    }

    /// The value of the `authorization` header; at once, or when it is known.
    pub(crate) fn header(&self) -> Shown {
        match self {
            Self::Fixed(token) => Shown::Now(token.header()),
            Self::File(file) => Shown::Now(file.header()),
            Self::Asked(ask) => {
                let asking = ask();
                Shown::Later(
                    async move {
                        let told = |why: BoxError| NoToken {
                            why: why.to_string(),
                        };
                        let text = asking.await.map_err(told)?;
                        let token = Token::new(&text).map_err(|error| told(error.into()))?;
                        Ok(token.header())
                    }
                    .boxed(),
                )
            }
        }
    }
}

/// A header that is there, or will be.
pub(crate) enum Shown {
    Now(HeaderValue),
    Later(BoxFuture<'static, Result<HeaderValue, NoToken>>),
}

/// Where a token goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A server on this machine, which knows callers by a token.
    LocalServer,
    /// Another machine, or a server that knows the caller by something else.
    Elsewhere,
}

/// A bearer token, ready to be sent.
#[derive(Clone)]
pub(crate) struct Token(HeaderValue);

impl Token {
    /// Takes a token as text; surrounding white space does not belong to it.
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        let value = format!("Bearer {}", text.trim());
        let mut value = HeaderValue::try_from(value).map_err(|_| Error::InvalidToken)?;
        // Without a sign of it, proxies and HTTP/2's own tables may keep it.
        value.set_sensitive(true);
        Ok(Self(value))
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
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<secret>)")
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(<secret>)")
    }
}

/// A token in a file, as it was when it was last looked at.
pub(crate) struct TokenInFile {
    path: PathBuf,
    last: Mutex<(Stamp, Token)>,
}

/// By what a file is seen to be another one.
type Stamp = (Option<SystemTime>, u64);

impl TokenInFile {
    fn open(path: PathBuf) -> Result<Self, Error> {
        match Self::look(&path).and_then(|stamp| Ok((stamp, fs::read_to_string(&path)?))) {
            Ok((stamp, text)) => Ok(Self {
                path,
                last: Mutex::new((stamp, Token::new(&text)?)),
            }),
            Err(source) => Err(Error::UnreadableToken { path, source }),
        }
    }

    /// While it is being replaced, the last good one holds: the server says when it no longer
    /// does.
    fn header(&self) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(stamp) = Self::look(&self.path)
            && stamp != last.0
            && let Ok(Some(token)) = Token::read(&self.path)
        {
            *last = (stamp, token);
        }
        last.1.header()
    }

    fn look(path: &Path) -> io::Result<Stamp> {
        let found = fs::metadata(path)?;
        Ok((found.modified().ok(), found.len()))
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
    fn found(variables: &[(&str, &Path)], place: Place) -> Option<String> {
        let lookup = |name: &str| {
            let mut pairs = variables.iter();
            let pair = pairs.find(|(variable, _)| *variable == name)?;
            Some(pair.1.as_os_str().to_owned())
        };
        Some(shown(&Bearer::find(lookup, place).unwrap()?))
    }

    fn shown(bearer: &Bearer) -> String {
        let header = match bearer.header() {
            Shown::Now(header) => header,
            Shown::Later(later) => futures::executor::block_on(later).unwrap(),
        };
        header.to_str().unwrap().to_owned()
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

        assert_eq!(found(&[home], Place::LocalServer), bearer("aaa"));
        assert_eq!(found(&[xdg], Place::LocalServer), bearer("aaa"));
        assert_eq!(found(&[home, relative], Place::LocalServer), bearer("aaa"));
        assert_eq!(found(&[home, data_dir], Place::LocalServer), bearer("bbb"));
        assert_eq!(
            found(&[home, data_dir, token], Place::LocalServer),
            bearer("ccc")
        );
        assert_eq!(found(&[], Place::LocalServer), None);
    }

    #[test]
    fn local_token_is_not_sent_to_another_machine() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "aaa").unwrap();
        let data_dir = ("EXECGATE_DATA_DIR", dir.path());
        let token = ("EXECGATE_TOKEN", Path::new("ccc"));
        assert_eq!(found(&[data_dir], Place::Elsewhere), None);
        assert_eq!(
            found(&[data_dir, token], Place::Elsewhere),
            Some("Bearer ccc".into())
        );
    }

    #[test]
    fn token_in_a_file_is_read_again_when_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt");
        assert!(Bearer::in_file(path.clone()).is_err());
        fs::write(&path, "first\n").unwrap();
        let bearer = Bearer::in_file(path.clone()).unwrap();
        assert_eq!(shown(&bearer), "Bearer first");
        fs::write(dir.path().join("new"), "the second").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(shown(&bearer), "Bearer the second");
        fs::remove_file(&path).unwrap();
        assert_eq!(shown(&bearer), "Bearer the second");
        let variable = ("EXECGATE_TOKEN_FILE", path.as_path());
        fs::write(&path, "third").unwrap();
        assert_eq!(
            found(&[variable], Place::Elsewhere),
            Some("Bearer third".into())
        );
    }

    #[test]
    fn function_is_asked_each_time_and_its_error_told() {
        let answers = Mutex::new(vec![Ok("b"), Err("the issuer is away"), Ok("a")]);
        let ask: Ask = Arc::new(move || {
            let answer = answers.lock().unwrap().pop().unwrap();
            let answer = answer.map(str::to_owned).map_err(BoxError::from);
            async move { answer }.boxed()
        });
        let bearer = Bearer::Asked(ask);
        assert_eq!(shown(&bearer), "Bearer a");
        let Shown::Later(later) = bearer.header() else {
            panic!("it has to be asked for");
        };
        let error = futures::executor::block_on(later).unwrap_err();
        assert_eq!(error.to_string(), "the issuer is away");
        assert_eq!(shown(&bearer), "Bearer b");
    }

    #[test]
    fn missing_token_file_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            found(&[("EXECGATE_DATA_DIR", dir.path())], Place::LocalServer),
            None
        );
    }

    #[test]
    fn token_never_shows_in_debug_output() {
        let token = Token::new("0123456789").unwrap();
        assert_eq!(format!("{token:?}"), "Token(<secret>)");
        assert!(!format!("{:?}", token.header()).contains("0123456789"));
    }
}
