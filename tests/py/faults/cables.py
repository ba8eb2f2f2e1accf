"""The network fails beneath a connection: nothing gets through, and nobody is told."""

from __future__ import annotations

import subprocess
import time

from network import Network, connections_to
from running_server import LIMIT_SECONDS
from sshd import Sshd, free_port

from execgate import Cause, Client, Lost, OnDisconnect
from execgate.v1 import session_pb2, target_pb2

from .deaths import follower
from .world import GIVEN_UP_SECONDS, World, ended, only_root, row

#: What the server allows a silent host with the default keep-alives of 5 s, and what a busy
#: machine may add.
NOTICED_SECONDS = 25 + 10

#: How long an answer may take when a network is mended: its retries have become rare.
MENDED_SECONDS = 120

FAR = target_pb2.SshTarget(profile="build")


@row(
    "the link of two clients' network is taken down while each follows a silent command, with "
    "either `on_disconnect`",
    "the server gives the connections up within its keep-alives (30 s and 20 s); CANCEL ends "
    "the command, DETACH lets it run and others attach",
    waits=True,
)
def half_open_client(world: World) -> str:
    only_root()
    network = world.own(Network())
    port = free_port(network.here)
    address = f"{network.here}:{port}"
    world.arguments = ("--listen", address, "--insecure-plaintext-listeners")
    if not world.full:
        world.config = "[connections]\nkeep_alive = '3s'\nkeep_alive_timeout = '3s'\n"
    key = world.key("far")
    actions = (OnDisconnect.CANCEL, OnDisconnect.DETACH)
    followers: list[subprocess.Popen[bytes]] = []
    try:
        with Client(world.server.address, token=key) as client:
            sessions = [client.session(env=world.mark.env) for _ in actions]
            for session, action in zip(sessions, actions):
                follow = follower(address, key, session.id, action, prefix=network.inside())
                followers.append(follow)
            assert connections_to(network.there) == len(actions)
            network.cut()
            begun = time.monotonic()
            cancelled = ended(sessions[0], "cancel-1")
            took = time.monotonic() - begun
            assert cancelled.cause is Cause.CANCELLED, cancelled
            while connections_to(network.there):
                assert time.monotonic() - begun < GIVEN_UP_SECONDS, "a connection is kept"
                time.sleep(0.1)
            with sessions[1].attach("detach-1") as stream:
                assert next(event.stdout for event in stream if event.stdout) == b"begun\n"
                stream.signal("TERM")
                stream.result()
            for session in sessions:
                assert session.run("echo here", queue_if_busy=True).stdout == "here\n"
                session.close()
    finally:
        for follow in followers:
            follow.kill()
            follow.wait()
            assert follow.stdout is not None
            follow.stdout.close()
    return (
        f"cancelled command over {took:.1f} s after the cut; no connection kept; detached attached"
    )


@row(
    "the link to an SSH host is down for 5 s while a command prints, with the default keep-alives",
    "nothing is lost: every line comes, the session's shell is the same one",
    waits=True,
)
def ssh_partition_of_5_s(world: World) -> str:
    only_root()
    network = world.own(Network())
    sshd = world.own(Sshd(world.folder / "sshd", network))
    world.config = sshd.profile()
    count = 40
    with world.session(target=FAR) as session:
        session.run("x=kept")
        script = f"for i in $(seq {count}); do echo $i; sleep 0.2; done"
        seen = b""
        with session.exec(script, timeout=MENDED_SECONDS) as stream:
            for event in stream:
                seen += event.stdout
                if seen == event.stdout != b"":
                    network.cut()
                    time.sleep(5)
                    network.mend()
                    begun = time.monotonic()
            result = stream.result()
        took = time.monotonic() - begun
        assert (result.exit_code, seen.split()) == (0, [b"%d" % n for n in range(1, count + 1)])
        after = session.run("echo $x")
        assert (after.stdout, after.generation) == ("kept\n", 1)
    return f"{count} of {count} lines; over {took:.1f} s after the link was back; same shell"


@row(
    "the link to an SSH host is down for 60 s while two sessions run a command, with the "
    "default keep-alives; one session asks to connect again",
    "both commands are lost with TRANSPORT_LOST within 35 s; one session is LOST, the other "
    "goes on under generation 2; what both left running is ended",
    waits=True,
)
def ssh_partition_of_60_s(world: World) -> str:
    only_root()
    network = world.own(Network())
    sshd = world.own(Sshd(world.folder / "sshd", network))
    # In the short form all goes faster.
    keepalive, down = world.many(1, 5), world.many(8, 60)
    world.config = sshd.profile(lines=f'keepalive = "{keepalive}s"')
    with world.server.client() as client:
        lost = world.created(client, ssh=FAR)
        again = world.created(
            client, ssh=FAR, on_transport_loss=session_pb2.ON_TRANSPORT_LOSS_RECONNECT
        )
        streams = [session.exec("echo begun; sleep 600") for session in (lost, again)]
        for stream in streams:
            assert next(event.stdout for event in stream if event.stdout) == b"begun\n"
        network.cut()
        cut = time.monotonic()
        for stream in streams:
            result = stream.result()
            assert isinstance(result.outcome, Lost), result
            assert result.cause is Cause.TRANSPORT_LOST, result
        noticed = time.monotonic() - cut
        assert noticed < NOTICED_SECONDS, noticed
        time.sleep(max(0, down - (time.monotonic() - cut)))
        network.mend()
        begun = time.monotonic()
        after = again.run("ps -eo args | grep -c '^sleep 600'", timeout=LIMIT_SECONDS)
        took = time.monotonic() - begun
        assert after.generation == 2, after
        state = client.get_session(lost.id).info().state.name
        assert state == "LOST", state
    return f"noticed after {noticed:.1f} s; generation 2 {took:.1f} s after the link was back"
