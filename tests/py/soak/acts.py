"""What clients do in a soak, and what is broken. Each act raises where a promise is broken."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from container import docker
from cutting_proxy import CuttingProxy

from execgate import (
    Cause,
    Client,
    ExecgateError,
    InvalidArgument,
    Lost,
    NotFound,
    OnDisconnect,
    PolicyDenied,
    ResourceExhausted,
    Stdin,
    Unauthenticated,
)
from execgate.v1 import session_pb2, target_pb2

from .stage import FAR, IMAGE, SECRET, Stage

RECONNECT = session_pb2.ON_TRANSPORT_LOSS_RECONNECT

#: What an act is told whose host was killed meanwhile by another one.
BROKEN = {
    "SESSION_ENDED",
    "SESSION_EXPIRED",
    "SESSION_LOST",
    "TARGET_UNAVAILABLE",
    "TRANSPORT_LOST",
}

Perform = Callable[[Stage, Client, random.Random], None]


@dataclass(frozen=True)
class Act:
    """One thing that happens."""

    name: str
    weight: int
    perform: Perform


ACTS: list[Act] = []


def act(weight: int) -> Callable[[Perform], Perform]:
    """Enters an act; it happens as often as its weight says."""

    def enter(perform: Perform) -> Perform:
        ACTS.append(Act(perform.__name__.replace("_", " "), weight, perform))
        return perform

    return enter


@act(20)
def local_session(stage: Stage, client: Client, dice: random.Random) -> None:
    """State persists in sessions of every shell."""
    with stage.session(client, shell=dice.choice(("", "bash", "dash", "busybox"))) as session:
        session.run("x=0")
        for number in range(1, dice.randrange(2, 30)):
            result = stage.answer(session.run("x=$((x + 1)); echo $x"))
            assert result.stdout == f"{number}\n", result
        stage.answer(session.run(["true"]))


@act(3)
def terminal_session(stage: Stage, client: Client, dice: random.Random) -> None:
    """A terminal changes its size."""
    with stage.session(client, terminal=(24, 80)) as session:
        columns = dice.randrange(20, 200)
        session.resize(30, columns)
        result = stage.answer(session.run("stty size"))
        assert result.terminal.split() == ["30", str(columns)], result


@act(5)
def far_session(stage: Stage, client: Client, dice: random.Random) -> None:
    """A session on a host, which may be killed meanwhile."""
    loss = dice.choice((0, RECONNECT))
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(stage.created(client, ssh=FAR, on_transport_loss=loss))
        for _ in range(dice.randrange(1, 10)):
            result = stage.answer(session.run("echo far", timeout=30))
            if isinstance(result.outcome, Lost):
                assert result.cause is Cause.TRANSPORT_LOST, result
            else:
                assert result.stdout == "far\n", result


@act(2)
def session_of_an_image(stage: Stage, client: Client, dice: random.Random) -> None:
    """A session in a container that is made for it."""
    with stage.session(client, target=IMAGE) as session:
        for _ in range(dice.randrange(1, 6)):
            assert stage.answer(session.run("echo in")).stdout == "in\n"


@act(1)
def killed_container(stage: Stage, client: Client, dice: random.Random) -> None:
    """A session's container is killed under a command."""
    with stage.container(dice) as name:
        there = target_pb2.DockerTarget(container=target_pb2.DockerContainer(name=name))
        with stage.session(client, target=there) as session:
            assert stage.answer(session.run("echo in")).stdout == "in\n"
            stream = session.exec("echo begun; sleep 600")
            assert next(event.stdout for event in stream if event.stdout) == b"begun\n"
            docker("kill", name)
            result = stage.answer(stream.result())
            assert isinstance(result.outcome, Lost), result
            assert result.cause is Cause.TARGET_STOPPED, result


@act(1)
def killed_host(stage: Stage, client: Client, dice: random.Random) -> None:
    """The SSH server and all its connections are killed, and it is started again."""
    with HOST:
        stage.sshd.kill()
        stage.sshd.start()


#: It is killed by one at a time.
HOST = threading.Lock()


@act(8)
def streams(stage: Stage, client: Client, dice: random.Random) -> None:
    """What is followed comes whole."""
    count = dice.randrange(1, 20_000)
    with stage.session(client) as session, session.exec(f"seq {count}") as stream:
        text = b"".join(event.stdout for event in stream)
        assert text.split() == [b"%d" % number for number in range(1, count + 1)]
        stage.answer(stream.result())


@act(4)
def flood(stage: Stage, client: Client, dice: random.Random) -> None:
    """More than anybody reads, for a moment."""
    with stage.session(client) as session:
        stream = session.exec("yes", timeout=dice.uniform(0.2, 1.5), resume=False)
        if dice.random() < 0.5:
            stage.answer(stream.result())
        stream.close()
        assert stage.answer(session.run("echo on", queue_if_busy=True)).stdout == "on\n"


@act(5)
def standard_input(stage: Stage, client: Client, dice: random.Random) -> None:
    """What is written comes back."""
    data = dice.randbytes(dice.randrange(1, 200_000))
    with stage.session(client) as session:
        assert stage.answer(session.run("cksum", stdin=data)).stdout.split()[1] == str(len(data))
        with session.exec("cat", stdin=Stdin.OPEN) as stream:
            for piece in (b"one\n", b"two\n", b"three\n"):
                stream.write_stdin(piece)
            stream.write_stdin(eof=True)
            assert stage.answer(stream.result()).stdout == "one\ntwo\nthree\n"


@act(5)
def signals(stage: Stage, client: Client, dice: random.Random) -> None:
    """A command is ended by a signal, or by its time limit; its shell lives on."""
    with stage.session(client) as session:
        session.run("x=kept")
        if dice.random() < 0.5:
            # A program: a shell between two of its own takes no TERM.
            stream = session.exec(["sleep", "600"])
            stream.signal(dice.choice(("TERM", "INT", "KILL")))
            stage.answer(stream.result())
        else:
            assert stage.answer(session.run("sleep 600", timeout=0.3)).timed_out
        assert stage.answer(session.run("echo $x", queue_if_busy=True)).stdout == "kept\n"


@act(5)
def cancelled(stage: Stage, client: Client, dice: random.Random) -> None:
    """A follower goes away; the command goes with it."""
    with stage.session(client) as session:
        stream = session.exec("echo begun; sleep 600", on_disconnect=OnDisconnect.CANCEL)
        name = stream.execution_id
        assert next(event.stdout for event in stream if event.stdout) == b"begun\n"
        stream.close()
        stage.answer(session.run("true", queue_if_busy=True, timeout=30))
        ending = session.execution(name).ending
        assert ending is not None
        assert ending.cause is Cause.CANCELLED, ending


@act(5)
def attached(stage: Stage, client: Client, dice: random.Random) -> None:
    """Somebody else follows from the beginning."""
    with stage.session(client) as session, stage.client() as second:
        stream = session.exec("for i in 1 2 3 4 5; do echo $i; sleep 0.05; done")
        other = second.get_session(session.id).attach(stream.execution_id)
        stream.close()
        assert stage.answer(other.result()).stdout == "1\n2\n3\n4\n5\n"


@act(4)
def undone(stage: Stage, client: Client, dice: random.Random) -> None:
    """What a command did to files is undone."""
    with stage.workspace() as folder, stage.session(client, workspace=str(folder)) as session:
        stage.answer(session.run("for i in 1 2 3 4 5; do echo $i >$i; done"))
        saved = session.checkpoint()
        stage.answer(session.run("rm 1 2; echo x >3; mkdir d"))
        restored = session.restore(saved.checkpoint_id)
        assert (restored.added, restored.modified, restored.deleted) == (2, 1, 1), restored
        assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3", "4", "5"]


@act(6)
def refused(stage: Stage, client: Client, dice: random.Random) -> None:
    """What may not run does not, and what is nobody's is not there."""
    with stage.session(client, deny=["whoami"]) as session:
        with pytest.raises(PolicyDenied):
            session.run(dice.choice(("whoami", "x=1; whoami", "sh -c whoami", "env whoami")))
        with pytest.raises(InvalidArgument):
            session.run("true", execution_id="No Such Id")
        with pytest.raises(NotFound):
            session.attach("nothing").result()
    with pytest.raises(NotFound):
        client.get_session(f"ses_{dice.getrandbits(60):x}")
    # Told again and again, it is the peer that is refused.
    turned_away = (Unauthenticated, ResourceExhausted)
    with stage.server.client("no-token") as stranger, pytest.raises(turned_away):
        list(stranger.sessions())


@act(4)
def secrets(stage: Stage, client: Client, dice: random.Random) -> None:
    """A secret is used and not seen."""
    with stage.session(client, secrets=["soak"]) as session:
        result = stage.answer(session.run("env | grep -i soak; set | grep -i swordfish"))
        assert SECRET not in result.stdout + result.stderr, "a secret came out"
        assert "[REDACTED" in result.stdout, result


@act(4)
def audit(stage: Stage, client: Client, dice: random.Random) -> None:
    """The log is read, from its end and for one session."""
    with stage.session(client) as session:
        stage.answer(session.run("echo recorded"))
        kinds = [
            record.WhichOneof("body") for record in client.audit_records(session_id=session.id)
        ]
        assert kinds[:2] == ["session_created", "execution_intent"], kinds
        newest = client.audit_records(newest_first=True)
        for _ in range(50):
            if next(newest, None) is None:
                break


@act(6)
def cut_connections(stage: Stage, client: Client, dice: random.Random) -> None:
    """Connections break at random bytes; every byte comes once."""
    count = dice.randrange(100, 3000)
    with (
        stage.session(client) as opened,
        CuttingProxy(stage.server.address) as proxy,
        Client(proxy.address, token=stage.server.token) as far,
    ):
        session = far.get_session(opened.id)
        proxy.cut(2, 4000)
        with session.exec(f"for i in $(seq {count}); do echo $i; done") as stream:
            text = b"".join(event.stdout for event in stream)
            assert text.split() == [b"%d" % number for number in range(1, count + 1)]
            stage.answer(stream.result())


@act(3)
def sabotage(stage: Stage, client: Client, dice: random.Random) -> None:
    """The shell is broken by what runs in it; another one takes its place."""
    script = dice.choice(("kill -9 $$", "exit 3", "exec true", "exec 8>&- 9>&-"))
    with stage.session(client) as session:
        stage.answer(session.run(script, timeout=20))
        assert stage.answer(session.run("echo on", queue_if_busy=True)).stdout == "on\n"


@act(3)
def background(stage: Stage, client: Client, dice: random.Random) -> None:
    """What is left behind is ended with its session."""
    with stage.session(client) as session:
        stage.answer(
            session.run("sleep 600 & (setsid sleep 600 &) ; nohup sleep 600 >/dev/null 2>&1 &")
        )
        assert session.close().ended_process_count >= 3


@act(2)
def garbage(stage: Stage, client: Client, dice: random.Random) -> None:
    """Somebody speaks something else."""
    host, port = stage.server.address.rsplit(":", 1)
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 10) as raw:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + dice.randbytes(dice.randrange(500)))
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(10)
        while raw.recv(4096):
            pass


def is_allowed(name: str, error: ExecgateError) -> bool:
    """Whether an act may be told this: its host is another act's to kill."""
    return name == "far session" and error.reason in BROKEN
