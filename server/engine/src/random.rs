//! Randomness from the kernel; the core draws none.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::transport::TransportError;

/// `N` random bytes.
///
/// # Errors
/// Where the kernel gives none, which no supported kernel does.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], TransportError> {
    let mut bytes = [0; N];
    // Up to 256 bytes come whole or not at all.
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(got) if got == N => Ok(bytes),
        Ok(_) => Err(error(io::ErrorKind::UnexpectedEof.into())),
        Err(errno) => Err(error(errno.into())),
    }
}

fn error(source: io::Error) -> TransportError {
    TransportError::Io {
        action: "draw random bytes",
        source,
    }
}
