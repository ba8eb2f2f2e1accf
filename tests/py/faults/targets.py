"""What sessions run on goes away: an SSH server, a container's memory, an engine."""

from __future__ import annotations

import time
import uuid

import pytest
from container import docker
from engine import BUSYBOX, Engine, images_are_there
from running_server import LIMIT_SECONDS
from sshd import Sshd

from execgate import Cause, Client, ExecgateError, Lost, Result, Session
from execgate.v1 import session_pb2, target_pb2

from .world import LOST, World, only_root, row

RECONNECT = session_pb2.ON_TRANSPORT_LOSS_RECONNECT
FAR = target_pb2.SshTarget(profile="build")


def until_state(client: Client, session: Session, state: str) -> None:
    """Waits until a session is in it."""
    end = time.monotonic() + LIMIT_SECONDS
    while (now := client.get_session(session.id).info().state.name) != state:
        assert time.monotonic() < end, now
        time.sleep(0.05)


def is_lost(result: Result, *causes: Cause) -> None:
    """Its outcome is that nobody knows, for one of these reasons."""
    assert isinstance(result.outcome, Lost), result
    assert result.cause in causes, result


@row(
    "SIGKILL of an SSH server and its connections while two sessions run a command; it is "
    "started again",
    "both commands are lost with TRANSPORT_LOST; one session is LOST and says so, the one that "
    "asked for it comes back under a higher generation; nothing runs on",
)
def sshd_killed(world: World) -> str:
    sshd = world.own(Sshd(world.folder / "sshd"))
    world.config = sshd.profile()
    rounds, slowest = world.many(1, 5), 0.0
    for _ in range(rounds):
        with world.server.client() as client:
            lost = world.created(client, ssh=FAR)
            again = world.created(client, ssh=FAR, on_transport_loss=RECONNECT)
            streams = [session.exec("echo begun; sleep 600") for session in (lost, again)]
            for stream in streams:
                assert next(event.stdout for event in stream if event.stdout) == b"begun\n"
            sshd.kill()
            sshd.start()
            begun = time.monotonic()
            for stream in streams:
                is_lost(stream.result(), Cause.TRANSPORT_LOST)
            assert again.run("echo on").generation == 2
            slowest = max(slowest, time.monotonic() - begun)
            until_state(client, lost, "LOST")
            with pytest.raises(ExecgateError) as refused:
                lost.run("true")
            assert refused.value.reason in LOST, refused.value
            again.close()
    return f"{rounds} kills; generation 2 after at most {slowest:.2f} s"


@row(
    "a container of 48 MiB whose own program takes more, while a session in it runs a command",
    "the command is lost with the cause OOM, the session is LOST; a session beside it goes on",
)
def container_out_of_memory(world: World) -> str:
    images_are_there()
    world.config = '[docker.profiles.default]\ncontainers = ["execgate-test-*"]\n'
    name = f"execgate-test-{uuid.uuid4().hex[:12]}"
    eats = "while ! [ -e /tmp/go ]; do sleep 0.1; done; exec dd if=/dev/zero of=/dev/null bs=512M"
    memory = ("--memory", "48m", "--memory-swap", "48m", "--network", "none")
    docker("run", "--detach", "--name", name, *memory, BUSYBOX, "sh", "-c", eats)
    try:
        inside = target_pb2.DockerTarget(container=target_pb2.DockerContainer(name=name))
        beside = target_pb2.DockerTarget(image=target_pb2.DockerImage(reference=BUSYBOX))
        with world.server.client() as client, world.session(target=beside) as other:
            session = world.created(client, docker=inside)
            begun = time.monotonic()
            is_lost(session.run("touch /tmp/go; sleep 600", timeout=60), Cause.OOM)
            took = time.monotonic() - begun
            until_state(client, session, "LOST")
            assert other.run("echo here").stdout == "here\n"
    finally:
        docker("rm", "--force", name)
    return f"lost with OOM after {took:.1f} s"


@row(
    "a Docker engine that is killed, and started again over living containers, while two "
    "sessions run a command",
    "both commands are lost with TRANSPORT_LOST; one session is LOST, the other goes on in the "
    "same container under generation 2; what was running is ended, and nothing runs twice",
    waits=True,
)
def dockerd_restarted(world: World) -> str:
    only_root()
    engine = world.own(Engine(world.folder / "engine", "--live-restore"))
    world.config = (
        f'[docker]\nhost = "{engine.host}"\n[docker.profiles.default]\ncontainers=["*"]\n'
    )
    name = engine.container("there")
    there = target_pb2.DockerTarget(container=target_pb2.DockerContainer(name=name))
    with world.server.client() as client:
        lost = world.created(client, docker=there)
        again = world.created(client, docker=there, on_transport_loss=RECONNECT)
        again.run("cd /home")
        streams = [
            session.exec(f"echo run >>/tmp/{session.id}; echo begun; sleep 600")
            for session in (lost, again)
        ]
        for stream in streams:
            assert next(event.stdout for event in stream if event.stdout) == b"begun\n"
        engine.kill()
        engine.start()
        begun = time.monotonic()
        for stream in streams:
            is_lost(stream.result(), Cause.TRANSPORT_LOST)
        after = again.run(f"cat /tmp/{again.id}; pwd", timeout=60)
        took = time.monotonic() - begun
        assert (after.stdout, after.generation) == ("run\n/home\n", 2), after
        until_state(client, lost, "LOST")
        # What the lost one left is ended beside it.
        end = time.monotonic() + LIMIT_SECONDS
        while again.run("ps -o args | grep -c '[s]leep 600'").stdout != "0\n":
            assert time.monotonic() < end, "the lost session's command runs on"
            time.sleep(0.1)
        again.close()
    return f"generation 2 after {took:.1f} s"
