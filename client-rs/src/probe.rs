//! Whether a server that does not understand a plain client speaks TLS: it is asked once more.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for the answer, which comes at once if ever.
const LIMIT: Duration = Duration::from_secs(3);

/// What a client says first in HTTP/2, with no settings: whoever speaks it answers with its own.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How a TLS alert begins: what a server that speaks TLS answers to anything else.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// Whether whoever listens at `HOST:PORT` speaks TLS. Nobody there: no.
pub(crate) async fn speaks_tls(authority: &str) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(authority).await?;
        stream.write_all(HTTP2_PREFACE).await?;
        let mut first = [0; TLS_ALERT.len()];
        stream.read_exact(&mut first).await?;
        Ok::<_, std::io::Error>(first == TLS_ALERT)
    };
    matches!(timeout(LIMIT, asking).await, Ok(Ok(true)))
}
