//! Work on a thread of its own: it goes on when whoever asked for it goes away, and what it
//! computes and waits for disks stays away from the sessions.

use tokio::runtime::Handle;
use tokio::task::JoinError;

use crate::error::Error;

/// Does something on a thread of its own, to its end whoever waits for it.
pub(super) async fn apart<T: FromPanic + Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let handle = Handle::current();
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || {
        let _in = span.enter();
        handle.block_on(work)
    });
    match done.await {
        Ok(done) => done,
        Err(error) => T::from_panic(&error),
    }
}

/// What is answered where the work came to no end.
pub(super) trait FromPanic {
    fn from_panic(error: &JoinError) -> Self;
}

impl FromPanic for () {
    fn from_panic(_error: &JoinError) {}
}

impl<T> FromPanic for Result<T, Error> {
    fn from_panic(error: &JoinError) -> Self {
        Err(Error::CheckpointFailed {
            reason: format!("its work ended: {error}"),
        })
    }
}
