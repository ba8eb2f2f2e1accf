//! The known shapes and the anchors that lead to them. One automaton finds every
//! anchor in a pass; only there is a shape asked.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::logins::{self, Login};
use super::look::{self, Answer, Class, End};
use super::tokens::TOKENS;
use super::{header, named, private_key};

/// Anchors of the shapes that are more than a prefix.
const OTHERS: &[(&str, Shape)] = &[
    ("eyJ", Shape::Jwt),
    ("://", Shape::Userinfo),
    ("authorization", Shape::Authorization),
    ("bearer ", Shape::Bearer),
    ("-----begin ", Shape::PrivateKey),
    ("private-lines: ", Shape::PuttyKey),
    ("q~", Shape::AzureSecret),
    ("cookie:", Shape::Cookie),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Token(usize),
    Jwt,
    Userinfo,
    Authorization,
    Bearer,
    PrivateKey,
    PuttyKey,
    AzureSecret,
    Cookie,
    Login(Login),
    Named,
}

/// All anchors, compiled.
pub(super) struct Shapes {
    automaton: AhoCorasick,
    /// Shape of each pattern of the automaton.
    shapes: Vec<Shape>,
    /// The anchors in lower case, sorted.
    anchors: Vec<Vec<u8>>,
    longest: usize,
    /// Which bytes, in either case, begin an anchor.
    first: [bool; 256],
}

/// An anchor in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) start: usize,
    end: usize,
    shape: usize,
}

impl Shapes {
    pub(super) fn shared() -> &'static Self {
        static SHARED: LazyLock<Shapes> = LazyLock::new(Shapes::compile);
        &SHARED
    }

    #[expect(
        clippy::expect_used,
        reason = "the anchors are constants, built in every test"
    )]
    fn compile() -> Self {
        let tokens = TOKENS
            .iter()
            .enumerate()
            .map(|(at, token)| (token.prefix, Shape::Token(at)));
        let (mut anchors, shapes): (Vec<Vec<u8>>, Vec<Shape>) = tokens
            .chain(OTHERS.iter().copied())
            .chain(
                logins::ANCHORS
                    .iter()
                    .map(|(anchor, login)| (*anchor, Shape::Login(*login))),
            )
            .chain(named::NAMES.iter().map(|name| (*name, Shape::Named)))
            .map(|(anchor, shape)| (anchor.to_ascii_lowercase().into_bytes(), shape))
            .unzip();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .kind(Some(aho_corasick::AhoCorasickKind::DFA))
            .build(&anchors)
            .expect("the anchors fit an automaton");
        let mut first = [false; 256];
        for byte in anchors.iter().filter_map(|anchor| anchor.first()) {
            for byte in [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()] {
                if let Some(flag) = first.get_mut(usize::from(byte)) {
                    *flag = true;
                }
            }
        }
        anchors.sort();
        let longest = anchors.iter().map(Vec::len).max().unwrap_or(0);
        Self {
            automaton,
            shapes,
            anchors,
            longest,
            first,
        }
    }

    /// The first anchor at or behind `from`, the longest of those that start there.
    pub(super) fn next_anchor(&self, buffer: &[u8], from: usize) -> Option<Anchor> {
        let rest = buffer.get(from..)?;
        let hit = self.automaton.find(rest);
        super::work::add(hit.map_or(rest.len(), |hit| hit.end()));
        let hit = hit?;
        Some(Anchor {
            start: from + hit.start(),
            end: from + hit.end(),
            shape: hit.pattern().as_usize(),
        })
    }

    /// Where the first beginning of an anchor that reaches the buffer's end starts;
    /// the buffer's length if there is none.
    pub(super) fn partial_anchor(&self, buffer: &[u8], from: usize) -> usize {
        let from = from.max(buffer.len().saturating_sub(self.longest.saturating_sub(1)));
        (from..buffer.len())
            .find(|at| self.is_partial(buffer, *at))
            .unwrap_or(buffer.len())
    }

    /// Whether everything from `at` on is the beginning of an anchor.
    pub(super) fn is_partial(&self, buffer: &[u8], at: usize) -> bool {
        let rest = buffer.get(at..).unwrap_or_default();
        let first = rest
            .first()
            .and_then(|byte| self.first.get(usize::from(*byte)));
        first == Some(&true) && rest.len() < self.longest && self.begins_anchor(rest)
    }

    /// Whether an anchor begins with `text`, in either case, and is longer.
    fn begins_anchor(&self, text: &[u8]) -> bool {
        let lower = || text.iter().map(u8::to_ascii_lowercase);
        let before = |anchor: &Vec<u8>| anchor.iter().copied().lt(lower());
        let begins = |anchor: &&Vec<u8>| anchor.iter().copied().take(text.len()).eq(lower());
        // Those that begin with it stand together, behind all that come before it.
        let from = self.anchors.partition_point(before);
        let candidates = self.anchors.get(from..).unwrap_or_default();
        candidates
            .iter()
            .take_while(begins)
            .any(|anchor| anchor.len() > text.len())
    }

    /// What the anchor's shape says. `before` is the byte in front of the anchor.
    pub(super) fn ask(
        &self,
        anchor: &Anchor,
        buffer: &[u8],
        before: Option<u8>,
        end: End,
    ) -> Answer {
        let Anchor {
            start, end: behind, ..
        } = *anchor;
        let inside_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric());
        match self.shapes.get(anchor.shape) {
            Some(Shape::Token(at)) => match TOKENS.get(*at) {
                Some(token) => token.ask(buffer, start, before, end),
                None => Answer::No,
            },
            Some(Shape::Jwt) if !inside_word => jwt(buffer, start, end),
            Some(Shape::Bearer) if !inside_word => bearer(buffer, behind, end),
            Some(Shape::Userinfo) => userinfo(buffer, behind, end),
            Some(Shape::Authorization) => header::authorization(buffer, behind, end),
            Some(Shape::PrivateKey) => private_key::begin(buffer, start, end),
            Some(Shape::PuttyKey) => private_key::begin_putty(buffer, start, behind, end),
            Some(Shape::AzureSecret) => azure_secret(buffer, start, before, end),
            Some(Shape::Cookie) => cookie(buffer, behind, end),
            Some(Shape::Login(login)) => logins::login(*login, buffer, behind, before, end),
            Some(Shape::Named) => named::named(buffer, start..behind, before, end),
            Some(Shape::Jwt | Shape::Bearer) | None => Answer::No,
        }
    }
}

/// A signed web token: a header and a payload, both JSON in base64url, and more.
fn jwt(buffer: &[u8], start: usize, end: End) -> Answer {
    /// Longest header in bytes; beyond, it is not a header.
    const MAX_HEADER: usize = 512;
    /// Fewest bytes of a header: `{"alg":"x"}`.
    const MIN_HEADER: usize = 12;
    /// Fewest bytes behind the header.
    const MIN_REST: usize = 16;
    if !buffer.get(start..).unwrap_or_default().starts_with(b"eyJ") {
        return Answer::No;
    }
    let header = look::run(buffer, start, Class::Base64Url, end);
    if header.len() > MAX_HEADER {
        return Answer::No;
    }
    if header.open {
        return Answer::More;
    }
    if header.len() < MIN_HEADER || buffer.get(header.end) != Some(&b'.') {
        return Answer::No;
    }
    let rest = look::run(buffer, header.end + 1, Class::Dotted, end);
    if rest.open && rest.len() < look::CERTAIN_AFTER {
        return Answer::More;
    }
    if rest.len() < MIN_REST {
        return Answer::No;
    }
    look::accept(look::Run { start, ..rest }, Class::Dotted, "jwt")
}

/// The credentials behind `Bearer `.
fn bearer(buffer: &[u8], behind: usize, end: End) -> Answer {
    /// Fewest bytes: shorter ones are words, as in `bearer of bad news`.
    const MIN_TOKEN: usize = 16;
    let run = look::run(buffer, behind, Class::Credential, end);
    if run.open && run.len() < look::CERTAIN_AFTER {
        return Answer::More;
    }
    if run.len() < MIN_TOKEN || !look::is_random(look::window(buffer, run)) {
        return Answer::No;
    }
    look::accept(run, Class::Credential, "bearer-token")
}

/// What follows the first four bytes of an application's secret: `abc8Q~…`.
fn azure_secret(buffer: &[u8], start: usize, before: Option<u8>, end: End) -> Answer {
    /// Fewest bytes behind the `~`.
    const MIN_REST: usize = 31;
    let begins = buffer.get(start..).is_some_and(|at| at.starts_with(b"Q~"));
    if !begins || !matches!(before, Some(b'7' | b'8')) {
        return Answer::No;
    }
    let run = look::run(buffer, start + b"Q~".len(), Class::Secret, end);
    if run.open && run.len() < look::CERTAIN_AFTER {
        return Answer::More;
    }
    if run.len() < MIN_REST || !look::is_random(look::window(buffer, run)) {
        return Answer::No;
    }
    look::accept(look::Run { start, ..run }, Class::Secret, "azure-secret")
}

/// The cookies of a header, if one of them is more than a setting.
fn cookie(buffer: &[u8], behind: usize, end: End) -> Answer {
    /// Fewest bytes of a value that is no setting.
    const MIN_SESSION: usize = 20;
    let blank = usize::from(buffer.get(behind) == Some(&b' '));
    let run = look::run(buffer, behind + blank, Class::Header, end);
    if run.open && run.len() < look::CERTAIN_AFTER {
        return Answer::More;
    }
    let mut pairs = look::window(buffer, run).split(|byte| *byte == b';');
    let is_session = pairs.any(|pair| {
        let value = pair.splitn(2, |byte| *byte == b'=').nth(1);
        value.is_some_and(|value| {
            value.len() >= MIN_SESSION && !value.contains(&b' ') && look::is_random(value)
        })
    });
    match is_session {
        true => look::accept(run, Class::Header, "cookie"),
        false => Answer::No,
    }
}

/// The password, or else the user that is a token, in `scheme://user:password@host`.
fn userinfo(buffer: &[u8], behind: usize, end: End) -> Answer {
    /// Longest user information in bytes.
    const MAX_USERINFO: usize = 1024;
    /// Fewest bytes of a user without password that is taken for a token.
    const MIN_USER_TOKEN: usize = 16;
    let rest = buffer.get(behind..).unwrap_or_default();
    let ends = |byte: &u8| {
        *byte <= b' '
            || matches!(
                byte,
                b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\' | 0x7f
            )
    };
    let length = match rest.iter().take(MAX_USERINFO).position(ends) {
        Some(length) => length,
        None if rest.len() >= MAX_USERINFO => return Answer::No,
        None if end == End::Open => return Answer::More,
        None => rest.len(),
    };
    let Some(info) = rest.get(..length).and_then(|authority| {
        authority
            .iter()
            .rposition(|byte| *byte == b'@')
            .and_then(|at| authority.get(..at))
    }) else {
        return Answer::No;
    };
    let secret = match info.iter().position(|byte| *byte == b':') {
        Some(colon) => info.get(colon + 1..).unwrap_or_default(),
        None if info.len() >= MIN_USER_TOKEN && look::is_random(info) => info,
        None => return Answer::No,
    };
    if secret.is_empty() || named::is_placeholder(secret) {
        return Answer::No;
    }
    let stop = behind + info.len();
    let hit = look::Run {
        start: stop - secret.len(),
        end: stop,
        open: false,
    };
    look::accept(hit, Class::Credential, "url-password")
}
