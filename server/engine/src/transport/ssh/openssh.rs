//! Hosts by the names that OpenSSH's client knows: `ssh -G NAME` says what its configuration
//! comes to, Match and Include and all, and what that means is decided here.
//!
//! Only names that the operator lists are asked for: a configuration gives an answer for any
//! name, and would send the operator's keys to any host. What cannot be honoured and would
//! change whom the gate talks to is an error that names it; the rest is logged once for each
//! session.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::settings::{
    Credential, DEFAULT_CONNECT_TIMEOUT, DEFAULT_KEEPALIVE, Host, Jump, Trust, UnknownHost,
};
use super::verify::fits;
use crate::transport::TransportError;

/// How long `ssh -G` may take: `Match exec` runs programs.
const LIMIT: Duration = Duration::from_secs(5);

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;

/// Longest name that is asked for, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Options that change nothing of what is trusted, and are not honoured.
const IGNORED: [&str; 10] = [
    "bindaddress",
    "bindinterface",
    "dynamicforward",
    "knownhostscommand",
    "localforward",
    "pkcs11provider",
    "remotecommand",
    "remoteforward",
    "setenv",
    "tag",
];

/// How OpenSSH's configuration is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenSshConfig {
    /// The names that callers may use; `*` and `?` stand for any letters.
    pub names: Vec<String>,
    /// The file that is read instead of the user's and the system's.
    pub file: Option<PathBuf>,
    /// The home of the server's user, for `~`.
    pub home: PathBuf,
    /// Socket of the agent, where the configuration names none.
    pub agent: Option<PathBuf>,
    /// Where programs are looked for.
    pub path: String,
}

impl OpenSshConfig {
    /// Whether a caller may use this name.
    pub(super) fn allows(&self, name: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        name.len() <= MAX_NAME_BYTES
            && name.bytes().all(plain)
            && !name.starts_with('-')
            && self.names.iter().any(|pattern| fits(pattern, name))
    }

    /// What a name stands for; other hosts on the way are asked for in turn.
    pub(super) fn resolve<'a>(
        &'a self,
        name: &'a str,
        jumps: usize,
    ) -> BoxFuture<'a, Result<Host, TransportError>> {
        async move {
            let answer = self.ask(name, &Hop::default()).await?;
            self.host(name, &answer, jumps).await
        }
        .boxed()
    }

    async fn host(
        &self,
        name: &str,
        answer: &Answer,
        jumps: usize,
    ) -> Result<Host, TransportError> {
        answer.refuse_unhonoured(name)?;
        for option in IGNORED.iter().filter(|option| answer.get(option).is_some()) {
            tracing::warn!(
                host = name,
                option,
                "option of OpenSSH's configuration not honoured"
            );
        }
        let mut host = self.read(name, answer)?;
        let Some(chain) = answer.get("proxyjump") else {
            return Ok(host);
        };
        let hops: Vec<&str> = chain.split(',').collect();
        if jumps < hops.len() {
            return Err(unusable(name, "its ProxyJump leads through too many hosts"));
        }
        let mut before: Option<Host> = None;
        for (index, hop) in hops.iter().enumerate() {
            let hop = Hop::parse(hop).ok_or_else(|| unusable(name, "its ProxyJump is no host"))?;
            let answer = self.ask(&hop.name, &hop).await?;
            let mut through = match index {
                // Only the first has a way of its own; the others are reached through it.
                0 => Box::pin(self.host(&hop.name, &answer, jumps - hops.len())).await?,
                _ => self.read(&hop.name, &answer)?,
            };
            if let Some(before) = before.take() {
                through.jump = Some(Jump::Host(Box::new(before)));
            }
            before = Some(through);
        }
        host.jump = before.map(|through| Jump::Host(Box::new(through)));
        Ok(host)
    }

    fn read(&self, name: &str, answer: &Answer) -> Result<Host, TransportError> {
        let missing = |what| unusable(name, &format!("OpenSSH's configuration gives no {what}"));
        let tokens = Tokens {
            home: &self.home,
            host: answer.get("hostname").ok_or_else(|| missing("HostName"))?,
            name,
            port: answer.get("port").ok_or_else(|| missing("Port"))?,
            user: answer.get("user").ok_or_else(|| missing("User"))?,
        };
        let port = tokens.port.parse().map_err(|_no| missing("Port"))?;
        let seconds = |key: &str| {
            let given = answer.get(key).and_then(|value| value.parse::<u64>().ok());
            given
                .filter(|&seconds| seconds > 0)
                .map(Duration::from_secs)
        };
        Ok(Host {
            host: tokens.host.to_owned(),
            port,
            user: tokens.user.to_owned(),
            credentials: self.credentials(answer, &tokens),
            trust: Trust {
                unknown: match answer.get("stricthostkeychecking") {
                    // A changed key is refused all the same: who wants any says so here.
                    Some("accept-new" | "false" | "no" | "off") => UnknownHost::Learn,
                    _ => UnknownHost::Refuse,
                },
                known_hosts: ["userknownhostsfile", "globalknownhostsfile"]
                    .iter()
                    .filter_map(|key| answer.get(key))
                    .flat_map(str::split_whitespace)
                    .filter_map(|path| tokens.path(path))
                    .collect(),
                fingerprint: None,
                known_as: answer.get("hostkeyalias").map(str::to_owned),
            },
            jump: None,
            keepalive: seconds("serveraliveinterval").unwrap_or(DEFAULT_KEEPALIVE),
            connect_timeout: seconds("connecttimeout").unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            wrapper: Vec::new(),
        })
    }

    /// The agent, unless only files are wanted; then each file with the certificates there
    /// are, and alone.
    fn credentials(&self, answer: &Answer, tokens: &Tokens<'_>) -> Vec<Credential> {
        let is = |key: &str, value: &str| answer.get(key) == Some(value);
        if is("pubkeyauthentication", "false") || is("pubkeyauthentication", "no") {
            return Vec::new();
        }
        let mut credentials = Vec::new();
        let agent = match answer.get("identityagent") {
            None | Some("SSH_AUTH_SOCK") => self.agent.clone(),
            Some(path) => tokens.path(path),
        };
        if let Some(agent) = agent.filter(|_| !is("identitiesonly", "yes")) {
            credentials.push(Credential::Agent(agent));
        }
        let certificates: Vec<PathBuf> = answer
            .all("certificatefile")
            .filter_map(|path| tokens.path(path))
            .collect();
        for path in answer
            .all("identityfile")
            .filter_map(|path| tokens.path(path))
        {
            if !path.exists() {
                continue;
            }
            let mut own = path.clone().into_os_string();
            own.push("-cert.pub");
            let own = Some(PathBuf::from(own)).filter(|own| own.exists());
            let certificates = certificates.iter().cloned().chain(own).map(Some);
            credentials.extend(
                certificates
                    .chain([None])
                    .map(|certificate| Credential::KeyFile {
                        path: path.clone(),
                        passphrase: None,
                        certificate,
                    }),
            );
        }
        credentials
    }

    async fn ask(&self, name: &str, hop: &Hop) -> Result<Answer, TransportError> {
        let mut command = Command::new("ssh");
        command.arg("-G");
        for (flag, value) in [("-p", &hop.port), ("-l", &hop.user)] {
            if let Some(value) = value {
                command.args([flag, value]);
            }
        }
        if let Some(file) = &self.file {
            command.arg("-F").arg(file);
        }
        command
            .args(["--", name])
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let run = async {
            let mut child = command.spawn()?;
            let (mut text, mut said) = (String::new(), String::new());
            let (out, err) = (child.stdout.take(), child.stderr.take());
            if let (Some(out), Some(err)) = (out, err) {
                let (mut out, mut err) = (out.take(MAX_ANSWER_BYTES), err.take(MAX_ANSWER_BYTES));
                tokio::try_join!(out.read_to_string(&mut text), err.read_to_string(&mut said))?;
            }
            std::io::Result::Ok((child.wait().await?.success(), text, said))
        };
        let run = tokio::time::timeout(LIMIT, run).await;
        match run {
            Ok(Ok((true, text, _))) => Ok(Answer::parse(&text)),
            Ok(Ok((false, _, said))) => Err(unusable(
                name,
                &format!("OpenSSH's configuration cannot be used: {}", said.trim()),
            )),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(TransportError::NoSuchTarget {
                    target: format!("ssh:{name}"),
                    reason: "it is no host profile, and OpenSSH's client, which would read its \
                             configuration, is not installed"
                        .to_owned(),
                })
            }
            Ok(Err(error)) => Err(unusable(name, &format!("ssh -G: {error}"))),
            Err(_elapsed) => Err(unusable(name, "ssh -G does not end")),
        }
    }
}

/// One host of a ProxyJump: `[USER@]HOST[:PORT]`, or the same as `ssh://` address.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hop {
    name: String,
    user: Option<String>,
    port: Option<String>,
}

impl Hop {
    fn parse(text: &str) -> Option<Self> {
        let text = text
            .trim()
            .trim_start_matches("ssh://")
            .trim_end_matches('/');
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, text),
        };
        let (name, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (name, rest) = bracketed.split_once(']')?;
                (name, rest.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((name, port)) if !port.contains(':') => (name, Some(port)),
                _ => (place, None),
            },
        };
        let is_name = !name.is_empty() && !name.starts_with('-');
        is_name.then(|| Self {
            name: name.to_owned(),
            user,
            port: port.map(str::to_owned),
        })
    }
}

/// What `ssh -G` printed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer(Vec<(String, String)>);

impl Answer {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        Self(
            lines
                .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
        )
    }

    fn all<'a>(&'a self, wanted: &str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.iter().filter(move |(key, _)| key == wanted);
        lines
            .map(|(_, value)| value.as_str())
            .filter(|value| !matches!(*value, "" | "none"))
    }

    fn get(&self, wanted: &str) -> Option<&str> {
        self.all(wanted).next()
    }

    /// What would lead elsewhere, or trust somebody else, than the configuration says.
    fn refuse_unhonoured(&self, name: &str) -> Result<(), TransportError> {
        for (key, called) in [
            ("proxycommand", "ProxyCommand"),
            ("revokedhostkeys", "RevokedHostKeys"),
        ] {
            if self.get(key).is_some() {
                let reason = format!("{called} of OpenSSH's configuration is not honoured");
                return Err(unusable(name, &reason));
            }
        }
        Ok(())
    }
}

/// What `~` and `%` stand for in paths.
struct Tokens<'a> {
    home: &'a Path,
    host: &'a str,
    name: &'a str,
    port: &'a str,
    user: &'a str,
}

impl Tokens<'_> {
    /// A path; nothing where it holds something that is not known here.
    fn path(&self, text: &str) -> Option<PathBuf> {
        let home = self.home.to_str()?;
        let text = match text.trim_matches('"').strip_prefix("~/") {
            Some(rest) => format!("{home}/{rest}"),
            None => text.trim_matches('"').to_owned(),
        };
        let mut path = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                path.push(letter);
                continue;
            }
            path.push_str(match letters.next()? {
                '%' => "%",
                'd' => home,
                'h' => self.host,
                'n' => self.name,
                'p' => self.port,
                'r' => self.user,
                _ => return None,
            });
        }
        Some(PathBuf::from(path))
    }
}

fn unusable(name: &str, reason: &str) -> TransportError {
    TransportError::Unusable {
        target: format!("ssh:{name}"),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> OpenSshConfig {
        OpenSshConfig {
            names: vec!["web-*".to_owned()],
            home: PathBuf::from("/home/me"),
            agent: Some(PathBuf::from("/agent")),
            ..OpenSshConfig::default()
        }
    }

    #[test]
    fn only_listed_names_are_asked_for_and_none_that_is_an_option() {
        let allowed = ["web-1", "web-", "db", "-web-1", "web-1;id", "web-1 x"]
            .map(|name| config().allows(name));
        assert_eq!(allowed, [true, true, false, false, false, false]);
        let any = OpenSshConfig {
            names: vec!["*".to_owned()],
            ..config()
        };
        assert!(any.allows("db") && !any.allows("-oProxyCommand=x"));
    }

    #[test]
    fn an_answer_becomes_a_host() {
        let answer = Answer::parse(
            "host web-1\nuser agent\nhostname 10.0.0.7\nport 2222\nidentitiesonly yes\n\
             stricthostkeychecking ask\nserveraliveinterval 7\nconnecttimeout none\n\
             identityfile /no/such/key\nhostkeyalias web\nproxyjump none\n\
             userknownhostsfile ~/.ssh/known_%h %d/other\nglobalknownhostsfile none\n",
        );
        let host = config().read("web-1", &answer).unwrap();
        let expected = Host {
            host: "10.0.0.7".to_owned(),
            port: 2222,
            user: "agent".to_owned(),
            credentials: Vec::new(),
            trust: Trust {
                unknown: UnknownHost::Refuse,
                known_hosts: ["/home/me/.ssh/known_10.0.0.7", "/home/me/other"]
                    .map(PathBuf::from)
                    .into(),
                fingerprint: None,
                known_as: Some("web".to_owned()),
            },
            jump: None,
            keepalive: Duration::from_secs(7),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            wrapper: Vec::new(),
        };
        assert_eq!(host, expected);
    }

    #[test]
    fn what_leads_elsewhere_is_an_error_that_names_it() {
        let answer = Answer::parse("proxycommand nc %h %p\n");
        let error = answer.refuse_unhonoured("web-1").unwrap_err().to_string();
        assert!(error.contains("ProxyCommand"), "{error}");
    }

    #[test]
    fn a_hop_may_name_its_user_and_port() {
        let hop = |name: &str, user: Option<&str>, port: Option<&str>| {
            Some(Hop {
                name: name.to_owned(),
                user: user.map(str::to_owned),
                port: port.map(str::to_owned),
            })
        };
        assert_eq!(Hop::parse("near"), hop("near", None, None));
        assert_eq!(
            Hop::parse("me@near:22"),
            hop("near", Some("me"), Some("22"))
        );
        assert_eq!(Hop::parse("ssh://me@near"), hop("near", Some("me"), None));
        assert_eq!(Hop::parse("[::1]:22"), hop("::1", None, Some("22")));
        assert_eq!(Hop::parse("-oX=y"), None);
    }
}
