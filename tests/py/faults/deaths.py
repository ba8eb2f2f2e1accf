"""The server dies, or a client does."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from execgate import Cause, ExecgateError, OnDisconnect, Session

from .world import CHANCE, LOST, World, ended, records, row


@row(
    "SIGKILL at random moments while four sessions run commands; a new server on the same data",
    "every command that ran has an intent; every answer is in the record; sessions are LOST "
    "with a reason; nothing runs on; start ≤ 2 s",
)
def server_killed(world: World) -> str:
    ran = world.folder / "ran"
    ran.touch(mode=0o666)
    ran.chmod(0o666)
    world.folder.chmod(0o755)
    answered: list[str] = []
    starts = []
    rounds = world.many(4, 50)
    for _ in range(rounds):
        client = world.server.client()
        opened = [client.session(env=world.mark.env) for _ in range(4)]

        def work(session: Session) -> None:
            with contextlib.suppress(ExecgateError):
                while True:
                    name = f"e{os.urandom(8).hex()}"
                    session.run(f"echo {name} >>{ran}", execution_id=name, resume=False)
                    answered.append(name)

        workers = [threading.Thread(target=work, args=(session,)) for session in opened]
        for worker in workers:
            worker.start()
        time.sleep(CHANCE.uniform(0.05, 0.4))
        world.server.kill()
        for worker in workers:
            worker.join()
        starts.append(world.restart())
        with world.server.client() as again:
            for session in opened:
                with pytest.raises(ExecgateError) as error:
                    again.get_session(session.id).run("true")
                assert error.value.reason in LOST, error.value
        client.close()
        assert not world.mark.until_gone()
    with world.server.client() as client:
        log = records(client)
    intents = {r.execution_id for r in log if r.WhichOneof("body") == "execution_intent"}
    outcomes = {r.execution_id for r in log if r.WhichOneof("body") == "execution_outcome"}
    did_run = set(ran.read_text().split())
    assert did_run <= intents, f"ran unrecorded: {did_run - intents}"
    assert set(answered) <= outcomes, "an answer is not in the record"
    assert max(starts) < 2, starts
    return (
        f"{rounds} kills, {len(did_run)} commands ran, {len(answered)} answered, 0 unrecorded; "
        f"start {statistics.median(starts):.2f} s, slowest {max(starts):.2f} s"
    )


CLIENT = """\
import sys
from execgate import Client, OnDisconnect
with Client(sys.argv[1], token=sys.argv[2], insecure_plaintext_token=True) as client:
    session = client.get_session(sys.argv[3])
    with session.exec("echo begun; sleep 300", on_disconnect=OnDisconnect[sys.argv[4]],
                      execution_id=sys.argv[4].lower() + "-1") as stream:
        for event in stream:
            if event.stdout:
                print("begun", flush=True)
"""


def follower(
    address: str, token: str, session: str, action: OnDisconnect, *, prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """A client that follows a command, which has begun; its name is that of the action."""
    client = subprocess.Popen(
        [*prefix, sys.executable, "-c", CLIENT, address, token, session, action.name],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"begun\n"
    return client


@row(
    "SIGKILL of a client that follows a command, with each `on_disconnect`",
    "CANCEL ends the command, DETACH lets it run and others attach; the shell survives both",
)
def client_killed(world: World) -> str:
    took = 0.0
    with world.session() as session:
        for action in (OnDisconnect.CANCEL, OnDisconnect.DETACH):
            server = world.server
            client = follower(server.address, server.token, session.id, action)
            assert client.stdout is not None
            client.kill()
            client.wait()
            client.stdout.close()
            begun = time.monotonic()
            if action is OnDisconnect.CANCEL:
                ending = ended(session, "cancel-1")
                took = time.monotonic() - begun
                assert ending.cause is Cause.CANCELLED, ending
            else:
                with session.attach("detach-1") as stream:
                    assert next(event.stdout for event in stream if event.stdout) == b"begun\n"
                    stream.signal("TERM")
                    stream.result()
            assert session.run("echo here", queue_if_busy=True).stdout == "here\n"
    return f"cancelled command over {took:.2f} s after its client died; detached one attached"
