//! Pages of listings: their size, and the tokens that say where the next one begins.
//!
//! A token is opaque to clients: base64url of the listing's tag and a position. It holds
//! no secret and no node, so any server with the same data can read it.

use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;

use crate::grpc::refusal::Refusal;

/// Entries of a page when the request does not say, as the API says.
const DEFAULT_PAGE_SIZE: usize = 100;
/// Entries of a page at most, as the API says.
const MAX_PAGE_SIZE: u32 = 1000;
/// Bytes of a token at most: a position is far shorter.
const MAX_TOKEN_BYTES: usize = 256;

/// One page of a listing, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// Entries at most.
    pub(crate) size: usize,
    /// Only entries older than this.
    pub(crate) before: Option<Position>,
}

/// A place in a listing by time of creation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    created: Duration,
    id: String,
}

impl Position {
    /// The place of a thing created then, of this id.
    pub(crate) fn new(created: SystemTime, id: &str) -> Self {
        let created = created
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            created,
            id: id.to_owned(),
        }
    }
}

impl Page {
    /// The page that a request asks for.
    pub(super) fn parse(listing: &str, size: u32, token: &str) -> Result<Self, Refusal> {
        let before = match token {
            "" => None,
            token => Some(position(&open(listing, token)?)?),
        };
        Ok(Self {
            size: page_size(size)?,
            before,
        })
    }

    /// Takes a page out of all entries, in any order; answers it and the next token.
    pub(crate) fn cut<T>(
        &self,
        listing: &str,
        entries: impl IntoIterator<Item = (Position, T)>,
    ) -> (Vec<T>, String) {
        let older = |position: &Position| self.before.as_ref().is_none_or(|end| position < end);
        let mut entries: Vec<_> = entries.into_iter().filter(|(at, _)| older(at)).collect();
        entries.sort_by(|(a, _), (b, _)| b.cmp(a));
        let more = entries.len() > self.size;
        entries.truncate(self.size);
        let next = match entries.last() {
            Some((last, _)) if more => {
                seal(listing, &format!("{} {}", last.created.as_nanos(), last.id))
            }
            _ => String::new(),
        };
        (entries.into_iter().map(|(_, entry)| entry).collect(), next)
    }
}

/// Entries of a page.
pub(super) fn page_size(size: u32) -> Result<usize, Refusal> {
    match size {
        0 => Ok(DEFAULT_PAGE_SIZE),
        1..=MAX_PAGE_SIZE => usize::try_from(size).map_err(|_| Refusal::PageToken),
        _ => Err(Refusal::field(
            "page_size",
            format!("is {size}, at most {MAX_PAGE_SIZE}"),
        )),
    }
}

/// Makes a token.
pub(crate) fn seal(listing: &str, place: &str) -> String {
    BASE64URL_NOPAD.encode(format!("{listing} {place}").as_bytes())
}

/// Reads a token of this listing.
pub(super) fn open(listing: &str, token: &str) -> Result<String, Refusal> {
    let text = (token.len() <= MAX_TOKEN_BYTES)
        .then(|| BASE64URL_NOPAD.decode(token.as_bytes()).ok())
        .flatten()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let place = text.as_deref().and_then(|text| text.split_once(' '));
    match place {
        Some((of, place)) if of == listing => Ok(place.to_owned()),
        _ => Err(Refusal::PageToken),
    }
}

fn position(place: &str) -> Result<Position, Refusal> {
    let (nanos, id) = place.split_once(' ').ok_or(Refusal::PageToken)?;
    let nanos: u64 = nanos.parse().map_err(|_| Refusal::PageToken)?;
    Ok(Position {
        created: Duration::from_nanos(nanos),
        id: id.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<(Position, u64)> {
        let at = |n: u64| SystemTime::UNIX_EPOCH + Duration::from_nanos(n);
        (1..=5)
            .map(|n| (Position::new(at(n), &format!("s{n}")), n))
            .collect()
    }

    #[test]
    fn pages_join_without_holes_newest_first() {
        let mut token = String::new();
        let mut seen = Vec::new();
        loop {
            let page = Page::parse("sessions", 2, &token).unwrap();
            let (cut, next) = page.cut("sessions", entries());
            seen.extend(cut);
            match next.is_empty() {
                true => break,
                false => token = next,
            }
        }
        assert_eq!(seen, [5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_token_of_another_listing_is_refused() {
        let token = seal("sessions", "5 s5");
        assert!(Page::parse("sessions", 0, &token).is_ok());
        for (listing, token) in [
            ("executions", token.as_str()),
            ("sessions", "!"),
            ("sessions", "AAAA"),
        ] {
            assert!(
                matches!(Page::parse(listing, 0, token), Err(Refusal::PageToken)),
                "{token}"
            );
        }
        assert!(matches!(
            Page::parse("sessions", 1001, ""),
            Err(Refusal::InvalidField { .. })
        ));
    }
}
