//! Connections break, commands and their output do not: the Rust client against the real
//! server, through a proxy that cuts.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use execgate_client::{
    Channel, Client, Command, Error, ErrorReason, Event, ExecStream, Resume, Session,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_stream::StreamExt;

use crate::support::Server;

/// How often a connection is cut in the midst of one command.
const CUTS: u32 = 50;

/// A TCP proxy that cuts connections, as networks do: in the midst of anything.
struct CuttingProxy {
    address: String,
    plan: Arc<Plan>,
}

/// When to cut.
#[derive(Default)]
struct Plan {
    left: AtomicU32,
    cuts: AtomicU32,
    most_bytes: AtomicU64,
    /// A simple generator: always the same course, as far as the scheduler allows.
    chance: AtomicU64,
}

impl CuttingProxy {
    async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let plan = Arc::new(Plan::default());
        let (accepting, target) = (Arc::clone(&plan), target.to_owned());
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let plan = Arc::clone(&accepting);
                if let Ok(server) = TcpStream::connect(&target).await {
                    tokio::spawn(carry_both(caller, server, plan));
                }
            }
        });
        Self { address, plan }
    }

    /// Cuts that often, each time after up to so many bytes of either direction.
    fn cut(&self, times: u32, most_bytes: u64) {
        self.plan.most_bytes.store(most_bytes, Ordering::SeqCst);
        self.plan.left.store(times, Ordering::SeqCst);
    }

    fn cuts(&self) -> u32 {
        self.plan.cuts.load(Ordering::SeqCst)
    }

    async fn client(&self, server: &Server, resume: Resume) -> Client {
        let builder = Client::builder().address(self.address.clone());
        let builder = builder.token(server.token()).resume(resume);
        builder.connect().await.unwrap()
    }

    async fn session(&self, server: &Server) -> Session {
        let client = self.client(server, Resume::default()).await;
        client.session().await.unwrap()
    }
}

impl Plan {
    /// After how many bytes the present connection is cut, if at all.
    fn budget(&self) -> Option<u64> {
        let less = |left: u32| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .ok()?;
        self.cuts.fetch_add(1, Ordering::SeqCst);
        let step = |chance: u64| {
            let next = chance.wrapping_mul(6_364_136_223_846_793_005);
            Some(next.wrapping_add(1_442_695_040_888_963_407))
        };
        let chance = self
            .chance
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
        let most = self.most_bytes.load(Ordering::SeqCst);
        Some((chance.unwrap() >> 33) % (most + 1))
    }
}

/// What a connection may still carry.
#[derive(Default)]
struct Left {
    bytes: std::sync::Mutex<Option<u64>>,
    cut: Notify,
}

async fn carry_both(caller: TcpStream, server: TcpStream, plan: Arc<Plan>) {
    for end in [&caller, &server] {
        end.set_nodelay(true).unwrap();
        // Ends with a reset, as a crash does.
        end.set_zero_linger().unwrap();
    }
    let left = Left::default();
    let (caller_in, caller_out) = caller.into_split();
    let (server_in, server_out) = server.into_split();
    tokio::select! {
        () = carry(caller_in, server_out, &plan, &left) => {}
        () = carry(server_in, caller_out, &plan, &left) => {}
        () = left.cut.notified() => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, plan: &Plan, left: &Left) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let allowed = {
            let mut bytes = left.bytes.lock().unwrap();
            if bytes.is_none() {
                *bytes = plan.budget();
            }
            match bytes.as_mut() {
                None => count,
                Some(bytes) => {
                    let allowed = usize::try_from(*bytes).unwrap().min(count);
                    *bytes -= allowed as u64;
                    allowed
                }
            }
        };
        if to.write_all(buffer.get(..allowed).unwrap()).await.is_err() || allowed < count {
            left.cut.notify_one();
            return;
        }
    }
}

/// What `seq 1 3000000` writes.
fn numbers() -> Vec<u8> {
    use std::io::Write;
    let mut whole = Vec::new();
    for number in 1..=3_000_000 {
        writeln!(whole, "{number}").unwrap();
    }
    whole
}

#[tokio::test]
async fn fifty_cuts_change_nothing() {
    let server = Server::start();
    let proxy = CuttingProxy::before(&server.address).await;
    let session = proxy.session(&server).await;
    proxy.cut(CUTS, 500_000);
    let mut stream = session.exec("seq 1 3000000; echo done >&2").await.unwrap();
    let (mut out, mut err, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            Event::Output(output) => {
                let whole = if output.channel == Channel::Stdout {
                    &mut out
                } else {
                    &mut err
                };
                assert_eq!(output.offset, whole.len() as u64);
                whole.extend_from_slice(&output.data);
            }
            other => rest.push(other),
        }
    }
    assert_eq!(proxy.cuts(), CUTS);
    let [Event::Started(started), Event::Finished(finished)] = rest.as_slice() else {
        panic!("{rest:?}");
    };
    assert!(!started.deduplicated);
    assert_eq!(Sha256::digest(&out), Sha256::digest(numbers()));
    assert_eq!(err, b"done\n");
    assert_eq!(finished.channels[0].sha256, Sha256::digest(&out).as_slice());
    assert_eq!(
        stream.offsets(),
        [(Channel::Stdout, out.len() as u64), (Channel::Stderr, 5)]
    );
}

#[tokio::test]
async fn run_whose_answer_is_lost_runs_once() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let counter = folder.path().join("runs");
    let proxy = CuttingProxy::before(&server.address).await;
    let session = proxy.session(&server).await;
    for round in 0_u64..5 {
        // First nothing comes back, then ever more of it.
        proxy.cut(4, round * 100);
        let script = format!(
            "echo run >>{}; sleep 0.1; echo done {round}",
            counter.display()
        );
        let result = session.run(script).await.unwrap();
        assert_eq!(result.stdout_text(), format!("done {round}\n"));
        assert!(!result.deduplicated);
        let runs = std::fs::read_to_string(&counter).unwrap();
        assert_eq!(runs, "run\n".repeat(usize::try_from(round).unwrap() + 1));
    }
    assert!(proxy.cuts() >= 5, "{}", proxy.cuts());
}

#[tokio::test]
async fn input_is_not_doubled() {
    let server = Server::start();
    let proxy = CuttingProxy::before(&server.address).await;
    let session = proxy.session(&server).await;
    let stream = session
        .exec(Command::argv(["sha256sum"]).open_stdin())
        .await
        .unwrap();
    proxy.cut(CUTS, 500_000);
    let stdin = stream.stdin();
    let whole = numbers();
    let mut written = 0;
    for piece in whole.chunks(100_000) {
        written += piece.len() as u64;
        assert_eq!(stdin.write(piece.to_vec()).await.unwrap(), written);
    }
    stdin.close().await.unwrap();
    let said = stream.result().await.unwrap().stdout_text().into_owned();
    let digest: String = Sha256::digest(&whole)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(said.split(' ').next().unwrap(), digest);
    assert_eq!(proxy.cuts(), CUTS);
}

/// A stream that has said something, whose command goes on.
async fn begun(session: &Session) -> ExecStream {
    let command = Command::script("echo begun; sleep 60").execution_id("long");
    let mut stream = session.exec(command).await.unwrap();
    while stream.next().await.unwrap().unwrap().stdout().is_none() {}
    stream
}

#[tokio::test]
async fn server_away_for_good_is_told_in_time() {
    let server = Server::start();
    let proxy = CuttingProxy::before(&server.address).await;
    let patience = Duration::from_secs(1);
    let client = proxy.client(&server, Resume::For(patience)).await;
    let session = client.session().await.unwrap();
    let mut stream = begun(&session).await;
    server.kill();
    let since = Instant::now();
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(
        matches!(&error, Error::Disconnected { execution_id: Some(id), .. } if id == "long"),
        "{error:?}"
    );
    assert!(since.elapsed() >= patience);
    assert!(since.elapsed() < patience * 20);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn restarted_server_has_forgotten() {
    let mut server = Server::start();
    // A socket that the next server listens on, too.
    let builder = Client::builder().address(format!("unix:{}", server.socket.display()));
    let session = builder.connect().await.unwrap().session().await.unwrap();
    let mut stream = begun(&session).await;
    server.kill_and_restart();
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(
        matches!(&error, Error::Forgotten { execution_id, .. } if execution_id == "long"),
        "{error:?}"
    );
    assert!(
        matches!(
            error.reason(),
            Some(ErrorReason::SessionNotFound | ErrorReason::SessionExpired)
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("no longer knows"), "{error}");
}

#[tokio::test]
async fn text_of_a_stream_splits_no_character() {
    let server = Server::start();
    let builder = Client::builder().address(server.address.clone());
    let client = builder.token(server.token()).connect().await.unwrap();
    let session = client.session().await.unwrap();
    let script = r"printf 'na\303'; sleep 0.2; printf '\257ve \377'; printf 'e\342' >&2; exit 3";
    let mut stream = session.exec(script).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let mut pieces = stream.text();
    while let Some(piece) = pieces.next().await {
        match piece.unwrap() {
            (Channel::Stdout, text) => out += &text,
            (_, text) => err += &text,
        }
    }
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("naïve \u{fffd}", "e\u{fffd}")
    );
    assert!(stream.finished().is_some());
}
