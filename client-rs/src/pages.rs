//! A listing as a stream, whatever its pages.

use std::collections::VecDeque;
use std::future::Future;

use futures::stream::{Stream, StreamExt as _, try_unfold};

use crate::error::Error;

/// One page of a listing.
pub(crate) struct Page<T> {
    items: VecDeque<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn new(items: Vec<T>, next_page_token: String) -> Self {
        Self {
            items: items.into(),
            next: Some(next_page_token).filter(|token| !token.is_empty()),
        }
    }
}

/// The items of all pages from `first` on. A page is fetched when its first item is
/// asked for; after an error the stream ends.
pub(crate) fn pages<T, F>(
    first: String,
    fetch: impl Fn(String) -> F + Send + 'static,
) -> impl Stream<Item = Result<T, Error>> + Send + Unpin
where
    T: Send + 'static,
    F: Future<Output = Result<Page<T>, Error>> + Send + 'static,
{
    let start = Page {
        items: VecDeque::new(),
        next: Some(first),
    };
    try_unfold((start, fetch), |(mut page, fetch)| async move {
        loop {
            if let Some(item) = page.items.pop_front() {
                return Ok(Some((item, (page, fetch))));
            }
            let Some(token) = page.next.take() else {
                return Ok(None);
            };
            page = fetch(token).await?;
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use futures::executor::block_on;

    use super::*;

    async fn listing(token: String) -> Result<Page<u8>, Error> {
        match token.as_str() {
            "" => Ok(Page::new(vec![1, 2], "a".into())),
            "a" => Ok(Page::new(Vec::new(), "b".into())),
            "b" => Ok(Page::new(vec![3], String::new())),
            _ => Err(Error::InvalidToken),
        }
    }

    #[test]
    fn all_pages_are_read_also_after_an_empty_one() {
        let all = pages(String::new(), listing).try_collect::<Vec<_>>();
        assert_eq!(block_on(all).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn an_error_ends_the_listing() {
        let mut all = pages("bad".into(), listing);
        assert!(block_on(all.next()).unwrap().is_err());
        assert!(block_on(all.next()).is_none());
    }
}
