//! Which files a checkpoint leaves out. Three layers: build output, which the caller's
//! patterns can bring back; the caller's patterns; and what may hold secrets, which nothing
//! brings back. Patterns are those of a .gitignore; no file of the workspace is read for
//! them, so nothing that an agent writes decides what is saved.

use regex::bytes::Regex;

use super::path::TreePath;

/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;

/// What tools make anew, and what would make a checkpoint large.
const BUILD_OUTPUT: [&str; 19] = [
    "node_modules/",
    "target/",
    "__pycache__/",
    "*.pyc",
    ".venv/",
    "venv/",
    ".tox/",
    ".nox/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".gradle/",
    ".next/",
    ".nuxt/",
    ".parcel-cache/",
    ".turbo/",
    ".terraform/",
    ".cache/",
    ".ccache/",
];

/// What may hold secrets, in any spelling of letters.
const SECRETS: [&str; 39] = [
    ".ssh/",
    ".aws/",
    ".azure/",
    ".gnupg/",
    ".kube/",
    ".config/gcloud/",
    ".config/gh/",
    ".docker/config.json",
    ".password-store/",
    ".netrc",
    "_netrc",
    ".env",
    ".env.*",
    ".envrc",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    ".vault-token",
    ".terraformrc",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    "credentials.json",
    "service-account*.json",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
];

/// Why a checkpoint does not hold a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Omission {
    /// Tools make it anew.
    BuildOutput,
    /// The caller's patterns.
    Ignored,
    /// It may hold secrets.
    Secret,
    /// It is larger than the limit.
    TooLarge,
    /// A socket, device, fifo or another file system.
    Special,
    /// It could not be read.
    Unreadable,
    /// It changed while it was being read, each time.
    Changing,
}

impl Omission {
    /// All of them; the place of each is its number between programs of ours.
    pub const ALL: [Self; 7] = [
        Self::BuildOutput,
        Self::Ignored,
        Self::Secret,
        Self::TooLarge,
        Self::Special,
        Self::Unreadable,
        Self::Changing,
    ];
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {number} {reason}")]
pub struct RulesError {
    /// Which one, from 0.
    pub number: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The three layers.
#[derive(Debug, Clone)]
pub struct Rules {
    patterns: Vec<String>,
    ordered: Vec<(Pattern, Omission)>,
    secrets: Vec<Pattern>,
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Default for Rules {
    fn default() -> Self {
        let no_patterns = Self::new(&[]);
        no_patterns.unwrap_or_else(|_never| Self {
            patterns: Vec::new(),
            ordered: Vec::new(),
            secrets: Vec::new(),
        })
    }
}

impl Rules {
    /// The rules with these patterns of a caller.
    ///
    /// # Errors
    /// Where one of them is no pattern.
    pub fn new(patterns: &[String]) -> Result<Self, RulesError> {
        let refused = |number| move |reason| RulesError { number, reason };
        let mut ordered = Vec::new();
        for (number, text) in BUILD_OUTPUT.iter().enumerate() {
            let pattern = Pattern::parse(text, Letters::AsTheyAre).map_err(refused(number))?;
            ordered.extend(pattern.map(|pattern| (pattern, Omission::BuildOutput)));
        }
        for (number, text) in patterns.iter().enumerate() {
            let pattern = Pattern::parse(text, Letters::AsTheyAre).map_err(refused(number))?;
            ordered.extend(pattern.map(|pattern| (pattern, Omission::Ignored)));
        }
        let mut secrets = Vec::new();
        for (number, text) in SECRETS.iter().enumerate() {
            secrets.extend(Pattern::parse(text, Letters::Any).map_err(refused(number))?);
        }
        Ok(Self {
            patterns: patterns.to_vec(),
            ordered,
            secrets,
        })
    }

    /// The caller's patterns.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether something in `parent` is left out, and why. Its directories are asked first:
    /// what is in one that is left out is left out with it.
    #[must_use]
    pub fn judge(&self, parent: &TreePath, name: &[u8], directory: bool) -> Option<Omission> {
        let seen = Seen {
            parent,
            name,
            directory,
        };
        if self.secrets.iter().any(|pattern| pattern.matches(&seen)) {
            return Some(Omission::Secret);
        }
        let last = self.ordered.iter().rev().find(|(p, _)| p.matches(&seen));
        last.filter(|(pattern, _)| !pattern.negated)
            .map(|(_, reason)| *reason)
    }
}

struct Seen<'a> {
    parent: &'a TreePath,
    name: &'a [u8],
    directory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letters {
    AsTheyAre,
    Any,
}

/// One line of a .gitignore.
#[derive(Debug, Clone)]
struct Pattern {
    negated: bool,
    directories: bool,
    letters: Letters,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// A name, wherever it is.
    Name(Vec<u8>),
    /// The end of a name, wherever it is.
    Suffix(Vec<u8>),
    /// A name with wildcards, wherever it is.
    NameLike(Regex),
    /// A whole path.
    PathLike(Regex),
}

impl Pattern {
    /// Nothing for an empty line or a comment.
    fn parse(line: &str, letters: Letters) -> Result<Option<Self>, &'static str> {
        if line.len() > MAX_PATTERN_BYTES {
            return Err("is longer than 1024 bytes");
        }
        let line = trim_blanks(line);
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (negated, rest) = match line.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (directories, rest) = match rest.strip_suffix('/') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let anchored = rest.contains('/');
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        if rest.is_empty() {
            return Err("names nothing");
        }
        let what = match (anchored, rest.strip_prefix('*')) {
            (false, _) if is_plain(rest) => What::Name(rest.as_bytes().to_vec()),
            (false, Some(end)) if is_plain(end) => What::Suffix(end.as_bytes().to_vec()),
            (false, _) => What::NameLike(regex(rest, letters)?),
            (true, _) if letters == Letters::Any => {
                // Wherever the home directory is that the workspace may be, or hold.
                What::PathLike(regex(&format!("**/{rest}"), letters)?)
            }
            (true, _) => What::PathLike(regex(rest, letters)?),
        };
        Ok(Some(Self {
            negated,
            directories,
            letters,
            what,
        }))
    }

    fn matches(&self, seen: &Seen<'_>) -> bool {
        if self.directories && !seen.directory {
            return false;
        }
        let same = |a: &[u8], b: &[u8]| match self.letters {
            Letters::AsTheyAre => a == b,
            Letters::Any => a.eq_ignore_ascii_case(b),
        };
        match &self.what {
            What::Name(name) => same(name, seen.name),
            What::Suffix(end) => {
                let from = seen.name.len().checked_sub(end.len());
                from.and_then(|from| seen.name.get(from..))
                    .is_some_and(|tail| same(end, tail))
            }
            What::NameLike(regex) => regex.is_match(seen.name),
            What::PathLike(regex) => regex.is_match(seen.parent.join(seen.name).as_bytes()),
        }
    }
}

/// Blanks at the end of a line do not count, unless the last has a backslash before it.
fn trim_blanks(line: &str) -> &str {
    let line = line.trim_end_matches(['\n', '\r']);
    let trimmed = line.trim_end_matches(' ');
    match trimmed.ends_with('\\') && trimmed.len() < line.len() {
        true => line.get(..trimmed.len() + 1).unwrap_or(trimmed),
        false => trimmed,
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(['*', '?', '[', '\\'])
}

/// What a pattern with wildcards means.
fn regex(pattern: &str, letters: Letters) -> Result<Regex, &'static str> {
    let flags = match letters {
        Letters::AsTheyAre => "(?s-u)",
        Letters::Any => "(?si-u)",
    };
    let mut text = format!("{flags}^");
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let (word, used) = match first {
            '*' if rest.starts_with("**/") => ("(?:[^/]+/)*".to_owned(), 3),
            '*' if rest == "**" => (".+".to_owned(), 2),
            '*' => ("[^/]*".to_owned(), 1),
            '?' => ("[^/]".to_owned(), 1),
            '[' => class(rest).ok_or("has an open `[`")?,
            '\\' => {
                let next = rest.get(1..).and_then(|rest| rest.chars().next());
                let next = next.ok_or("ends in a backslash")?;
                (literal(next), 1 + next.len_utf8())
            }
            other => (literal(other), other.len_utf8()),
        };
        text.push_str(&word);
        rest = rest.get(used..).unwrap_or_default();
    }
    text.push('$');
    Regex::new(&text).map_err(|_| "cannot be read")
}

fn literal(character: char) -> String {
    let mut bytes = [0; 4];
    let bytes = character.encode_utf8(&mut bytes).bytes();
    bytes.map(|byte| format!(r"\x{byte:02x}")).collect()
}

/// A class of bytes, and how long it is in the pattern.
fn class(text: &str) -> Option<(String, usize)> {
    let inner = text.get(1..)?;
    let (negated, inner) = match inner.strip_prefix(['!', '^']) {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    // A `]` right at the beginning is one of the class.
    let end = inner.get(1..)?.find(']')? + 1;
    let members = inner.get(..end)?;
    let mut class = String::from(if negated { "[^/" } else { "[" });
    for byte in members.bytes() {
        match byte {
            b'-' => class.push('-'),
            byte if byte.is_ascii() => class.push_str(&format!(r"\x{byte:02x}")),
            _ => return None,
        }
    }
    class.push(']');
    Some((class, text.len() - inner.len() + end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(patterns: &[&str], path: &str) -> Option<Omission> {
        let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
        let rules = Rules::new(&patterns).unwrap();
        let directory = path.ends_with('/');
        let path = TreePath::parse(path.as_bytes()).unwrap();
        let (parent, name) = path.split().unwrap();
        rules.judge(&parent, name, directory)
    }

    #[test]
    fn build_output_can_be_brought_back_and_secrets_cannot() {
        assert_eq!(judge(&[], "a/node_modules/"), Some(Omission::BuildOutput));
        assert_eq!(judge(&[], "node_modules"), None);
        assert_eq!(judge(&["!node_modules/"], "a/node_modules/"), None);
        for secret in [
            ".ssh/",
            ".env",
            "a/.ENV.local",
            "x.PEM",
            "home/.config/gh/",
            "d/id_rsa",
            ".docker/config.json",
        ] {
            assert_eq!(
                judge(&["!*", "!.env"], secret),
                Some(Omission::Secret),
                "{secret}"
            );
        }
        assert_eq!(judge(&[], "environment"), None);
        assert_eq!(judge(&[], "id_rsa.pub"), None);
    }

    #[test]
    fn patterns_are_those_of_a_gitignore() {
        let ignored = Some(Omission::Ignored);
        for (pattern, path, wanted) in [
            ("*.log", "a/b.log", ignored),
            ("*.log", "a/b.logs", None),
            ("/top", "top", ignored),
            ("/top", "a/top", None),
            ("a/b", "a/b", ignored),
            ("a/b", "x/a/b", None),
            ("**/b", "x/a/b", ignored),
            ("a/**/b", "a/b", ignored),
            ("a/**/b", "a/x/y/b", ignored),
            ("a/**", "a/x/y", ignored),
            ("a/*", "a/x", ignored),
            ("a/*/c", "a/x/y/c", None),
            ("d/", "d", None),
            ("d/", "d/", ignored),
            ("x[0-9]?", "x5z", ignored),
            ("x[!0-9]?", "x5z", None),
            (r"\*", "*", ignored),
            (r"\*", "a", None),
            ("ä*", "äb", ignored),
            ("# no", "# no", None),
        ] {
            assert_eq!(judge(&[pattern], path), wanted, "{pattern} {path}");
        }
        assert_eq!(judge(&["*.log", "!keep.log"], "keep.log"), None);
        assert!(Rules::new(&["[a".to_owned()]).is_err());
        assert!(Rules::new(&["/".to_owned()]).is_err());
    }
}
