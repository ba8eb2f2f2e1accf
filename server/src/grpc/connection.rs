//! Connections of either kind as one type, so that one server serves them all.

mod crowd;
mod span;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

pub(crate) use self::crowd::{Crowd, Place};
use self::span::Span;
use super::peer::Peer;
use crate::tls::{HandshakeError, Tls};

/// An accepted connection and who is at its other end.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    peer: Peer,
    span: Span,
    /// Given back when the connection is dropped.
    _place: Place,
}

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionTimes {
    /// For TLS, and then for the first bytes.
    pub(crate) handshake: Duration,
    /// After this it is cut, whatever runs on it.
    pub(crate) life: Option<Duration>,
}

impl ConnectionTimes {
    fn begin(self) -> Span {
        Span::new(self.handshake, self.life)
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    /// On the heap: it is many times larger than the others.
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Connection {
    /// A connection over TCP, in plaintext.
    pub(crate) fn tcp(
        stream: TcpStream,
        peer: SocketAddr,
        (times, place): (ConnectionTimes, Place),
    ) -> Self {
        hurry(&stream);
        Self {
            stream: Stream::Tcp(stream),
            peer: Peer::Tcp(peer, None),
            span: times.begin(),
            _place: place,
        }
    }

    /// A connection over TCP, protected, once hands have been shaken.
    pub(crate) async fn tls(
        stream: TcpStream,
        peer: SocketAddr,
        tls: &Tls,
        (times, place): (ConnectionTimes, Place),
    ) -> Result<Self, HandshakeError> {
        hurry(&stream);
        let (stream, holder) = tls.accept(stream, times.handshake).await?;
        Ok(Self {
            stream: Stream::Tls(Box::new(stream)),
            peer: Peer::Tcp(peer, holder),
            span: times.begin(),
            _place: place,
        })
    }

    /// A connection over a Unix socket.
    pub(crate) fn unix(stream: UnixStream, (times, place): (ConnectionTimes, Place)) -> Self {
        let peer = Peer::of_unix(&stream);
        Self {
            stream: Stream::Unix(stream),
            peer,
            span: times.begin(),
            _place: place,
        }
    }
}

/// Without it small answers wait for the client's acknowledgement. A socket that refuses it
/// works all the same.
fn hurry(stream: &TcpStream) {
    let _slower = stream.set_nodelay(true);
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, span, .. } = self.get_mut();
        let before = buf.filled().len();
        let read = match stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        span.came(buf.filled().len().saturating_sub(before));
        match read {
            // HTTP/2 always has a read waiting, so this is looked at whenever it is time.
            Poll::Pending => span.poll_over(cx).map(Err),
            Poll::Ready(read) => Poll::Ready(read),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }
}
