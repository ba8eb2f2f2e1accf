//! One channel of a connection as a process: its streams, its input, its end.
//!
//! Each channel is drained by a task of its own, since russh gives a channel new room
//! whether it is read or not, and stands still with all channels of the connection when one
//! is full. So connections are not shared between sessions: see `pool`.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};

use crate::transport::remote::{Orders, Preface};
use crate::transport::{ProcessEnd, Writer};

/// Messages of one stream that wait for their reader; with 32 KiB each, as much as a local
/// pipe holds.
const STREAM_MESSAGES: usize = 32;

/// How long a program that has ended may leave its streams open before it counts as ended:
/// what it left in the background may hold them, and its last bytes may come late.
const LATE_BYTES: Duration = Duration::from_secs(1);

/// How long the answer of a loader that has ended may take to come; long, since a channel
/// without one is closed by the host at once.
const LATE_ANSWER: Duration = Duration::from_secs(5);

/// Messages taken together in one read.
const READ_MESSAGES: usize = 8;

/// Longest text of a refusal that is kept, in bytes.
const MAX_REFUSAL_BYTES: usize = 1024;

/// Extended data of this kind is stderr.
const STDERR: u32 = 1;

/// A channel whose loader has answered.
pub(super) struct Begun {
    pub(super) preface: Preface,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    pub(super) end: watch::Receiver<Option<ProcessEnd>>,
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
}

/// Why a channel did not begin.
#[derive(Debug)]
pub(super) enum NotBegun {
    /// The connection broke.
    Broken,
    /// The host said no, in these words.
    Refused(String),
}

/// Gives a loader its orders and waits for its answer.
pub(super) async fn begin(channel: Channel<Msg>, orders: &Orders) -> Result<Begun, NotBegun> {
    let (mut read, write) = channel.split();
    let text = Bytes::from(orders.text.clone());
    write
        .data_bytes(text)
        .await
        .map_err(|_gone| NotBegun::Broken)?;
    let mut opening = Opening::default();
    let preface = loop {
        let late = async {
            match opening.status {
                Some(_) => tokio::time::sleep(LATE_ANSWER).await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            message = read.wait() => message,
            () = late => None,
        };
        if let Some(preface) = opening.take(message, orders)? {
            break preface;
        }
    };
    let (to_stdout, stdout) = mpsc::channel(STREAM_MESSAGES);
    let (to_stderr, stderr) = mpsc::channel(STREAM_MESSAGES);
    let (ended, end) = watch::channel(None);
    let seen = opening.seen.freeze();
    let first = Some(seen).filter(|seen| !seen.is_empty());
    let outputs = Outputs {
        stdout: Some(to_stdout),
        stderr: Some(to_stderr),
    };
    tokio::spawn(drain(read, (first, opening.status), outputs, ended));
    Ok(Begun {
        preface,
        stdout: Stream::new(stdout),
        stderr: Stream::new(stderr),
        end,
        write: Arc::new(write),
    })
}

/// What has come of a channel before its loader's answer. A program that is quick may end
/// before its first byte comes: the two take different ways through the host.
#[derive(Default)]
struct Opening {
    seen: BytesMut,
    refusal: Vec<u8>,
    status: Option<ProcessEnd>,
}

impl Opening {
    /// Takes the next message, or that none comes any more; the answer, once it is there.
    fn take(
        &mut self,
        message: Option<ChannelMsg>,
        orders: &Orders,
    ) -> Result<Option<Preface>, NotBegun> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                self.seen.extend_from_slice(&data);
                if let Some((preface, end)) = orders.answer(&self.seen) {
                    self.seen.advance(end);
                    return Ok(Some(preface));
                }
                if self.seen.len() > crate::transport::remote::MAX_NOISE_BYTES {
                    return Err(NotBegun::Refused("its login prints without end".to_owned()));
                }
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => keep_refusal(&mut self.refusal, &data),
            Some(ChannelMsg::Failure) => {
                return Err(NotBegun::Refused("it lets nothing be run".to_owned()));
            }
            Some(message) => self.status = self.status.or(end_of(&message)),
            None if self.status.is_some() => {
                return Err(NotBegun::Refused(said(&self.refusal, &self.seen)));
            }
            None => return Err(NotBegun::Broken),
        }
        Ok(None)
    }
}

/// How a program ended, where a message says so.
fn end_of(message: &ChannelMsg) -> Option<ProcessEnd> {
    match message {
        ChannelMsg::ExitStatus { exit_status } => Some(ProcessEnd::Code(
            i32::try_from(*exit_status).unwrap_or(i32::MAX),
        )),
        ChannelMsg::ExitSignal { signal_name, .. } => {
            Some(signal_number(signal_name).map_or(ProcessEnd::Unknown, ProcessEnd::Signal))
        }
        _ => None,
    }
}

fn keep_refusal(refusal: &mut Vec<u8>, data: &[u8]) {
    let room = MAX_REFUSAL_BYTES.saturating_sub(refusal.len());
    refusal.extend(data.iter().take(room));
}

/// What a host printed instead of an answer.
fn said(stderr: &[u8], stdout: &[u8]) -> String {
    let text = match stderr {
        [] => stdout,
        stderr => stderr,
    };
    let text = String::from_utf8_lossy(text);
    match text.trim() {
        "" => "it has no /bin/sh and env, or runs nothing for this user".to_owned(),
        text => format!("it says: {}", text.chars().take(200).collect::<String>()),
    }
}

struct Outputs {
    stdout: Option<mpsc::Sender<Bytes>>,
    stderr: Option<mpsc::Sender<Bytes>>,
}

impl Outputs {
    /// Hands bytes on; where nobody reads any more they are thrown away.
    async fn put(&mut self, stderr: bool, data: Bytes) {
        let output = match stderr {
            true => &mut self.stderr,
            false => &mut self.stdout,
        };
        if let Some(sender) = output
            && sender.send(data).await.is_err()
        {
            *output = None;
        }
    }

    fn close(&mut self) {
        (self.stdout, self.stderr) = (None, None);
    }
}

/// Takes everything off a channel until it closes.
async fn drain(
    mut read: ChannelReadHalf,
    (first, mut status): (Option<Bytes>, Option<ProcessEnd>),
    mut outputs: Outputs,
    ended: watch::Sender<Option<ProcessEnd>>,
) {
    if let Some(first) = first {
        outputs.put(false, first).await;
    }
    let mut eof = false;
    loop {
        // Its end is told when its last bytes have come, or none come any more.
        let late = async {
            match status {
                Some(_) if ended.borrow().is_none() => tokio::time::sleep(LATE_BYTES).await,
                _ => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            message = read.wait() => message,
            () = late => {
                ended.send_replace(status);
                continue;
            }
        };
        match message {
            Some(ChannelMsg::Data { data }) => outputs.put(false, data).await,
            Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => outputs.put(true, data).await,
            Some(ChannelMsg::Eof) => {
                eof = true;
                outputs.close();
            }
            Some(ChannelMsg::Close) | None => break,
            Some(message) => status = end_of(&message).or(status),
        }
        if eof && status.is_some() {
            ended.send_replace(status);
        }
    }
    outputs.close();
    if ended.borrow().is_none() {
        ended.send_replace(Some(status.unwrap_or(ProcessEnd::Unknown)));
    }
}

/// The number of a signal by its name in the protocol.
fn signal_number(signal: &Sig) -> Option<i32> {
    Some(match signal {
        Sig::HUP => libc::SIGHUP,
        Sig::INT => libc::SIGINT,
        Sig::QUIT => libc::SIGQUIT,
        Sig::ILL => libc::SIGILL,
        Sig::ABRT => libc::SIGABRT,
        Sig::FPE => libc::SIGFPE,
        Sig::KILL => libc::SIGKILL,
        Sig::USR1 => libc::SIGUSR1,
        Sig::SEGV => libc::SIGSEGV,
        Sig::PIPE => libc::SIGPIPE,
        Sig::ALRM => libc::SIGALRM,
        Sig::TERM => libc::SIGTERM,
        Sig::Custom(name) => match name.split('@').next().unwrap_or_default() {
            "USR2" => libc::SIGUSR2,
            "BUS" => libc::SIGBUS,
            "TRAP" => libc::SIGTRAP,
            "SYS" => libc::SIGSYS,
            "XCPU" => libc::SIGXCPU,
            "XFSZ" => libc::SIGXFSZ,
            "VTALRM" => libc::SIGVTALRM,
            "PROF" => libc::SIGPROF,
            _ => return None,
        },
    })
}

/// One stream of a channel.
#[derive(Debug)]
pub(super) struct Stream {
    messages: mpsc::Receiver<Bytes>,
    waiting: VecDeque<Bytes>,
}

impl Stream {
    fn new(messages: mpsc::Receiver<Bytes>) -> Self {
        Self {
            messages,
            waiting: VecDeque::with_capacity(READ_MESSAGES),
        }
    }

    /// Waits until there is something to read, or nothing will come.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.waiting.len() < READ_MESSAGES {
            match self.messages.poll_recv(cx) {
                Poll::Ready(Some(bytes)) => self.waiting.push_back(bytes),
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if self.waiting.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx));
        while let Some(bytes) = self.waiting.front_mut()
            && buffer.remaining() > 0
        {
            let taken = bytes.split_to(bytes.len().min(buffer.remaining()));
            buffer.put_slice(&taken);
            if bytes.is_empty() {
                self.waiting.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A channel's input; dropping it is the end of the input.
pub(super) struct Input {
    writer: Writer,
    write: Arc<ChannelWriteHalf<Msg>>,
}

impl Input {
    pub(super) fn new(write: &Arc<ChannelWriteHalf<Msg>>) -> Self {
        Self {
            writer: writer(write),
            write: Arc::clone(write),
        }
    }
}

/// A way to write to a channel; dropping it ends nothing.
pub(super) fn writer(write: &ChannelWriteHalf<Msg>) -> Writer {
    Box::new(Box::pin(write.make_writer()))
}

impl Drop for Input {
    fn drop(&mut self) {
        let write = Arc::clone(&self.write);
        tokio::spawn(async move {
            // A channel that is gone needs no end.
            let _gone = write.eof().await;
        });
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Option<ChannelMsg> {
        let data = Bytes::copy_from_slice(text.as_bytes());
        Some(ChannelMsg::Data { data })
    }

    const ENDED: Option<ChannelMsg> = Some(ChannelMsg::ExitStatus { exit_status: 3 });

    #[test]
    fn an_answer_that_comes_after_the_end_is_taken() {
        let orders = Orders::script("", "n0123".to_owned());
        let mut opening = Opening::default();
        let mut take = |message| {
            opening
                .take(message, &orders)
                .map_err(|not| format!("{not:?}"))
        };
        assert_eq!(take(ENDED).map(|found| found.is_some()), Ok(false));
        assert_eq!(
            take(data("n0123 42\n")).map(|found| found.is_some()),
            Ok(true)
        );
        assert_eq!(opening.status, Some(ProcessEnd::Code(3)));
    }

    #[test]
    fn an_end_without_an_answer_is_a_refusal_in_the_hosts_words() {
        let orders = Orders::script("", "n0123".to_owned());
        let refused = |messages: Vec<Option<ChannelMsg>>| {
            let mut opening = Opening::default();
            let taken = messages
                .into_iter()
                .map(|message| opening.take(message, &orders));
            match taken.last() {
                Some(Err(NotBegun::Refused(words))) => words,
                other => format!("{other:?}"),
            }
        };
        let words = refused(vec![data("not today\n"), ENDED, None]);
        assert_eq!(words, "it says: not today");
        let silent = refused(vec![ENDED, None]);
        assert!(silent.starts_with("it has no /bin/sh"), "{silent}");
        assert_eq!(refused(vec![None]), "Some(Err(Broken))");
    }
}
