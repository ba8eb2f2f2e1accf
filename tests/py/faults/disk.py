"""What is beneath the audit log fails."""

from __future__ import annotations

import contextlib
import signal
import subprocess

from running_server import LIMIT_SECONDS

from execgate import ExecgateError

from .world import World, only_root, records, row


@row(
    "the data directory on a file system of 8 MiB, filled up while a command runs",
    "AUDIT_UNAVAILABLE, and nothing runs; with room again a new server goes on with a whole log",
)
def disk_full(world: World) -> str:
    only_root()
    world.config = "[audit]\nsegment_bytes = 65536\n"
    data = world.folder / "data"
    data.mkdir(mode=0o700)
    subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", str(data)], check=True
    )
    try:
        with world.server.client() as client:
            session = client.session(env=world.mark.env)
            session.run("true")
            filler = data / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            refused = None
            marker = world.folder / "ran"
            for _ in range(20_000):
                try:
                    session.run("true", resume=False)
                except ExecgateError as error:
                    refused = error
                    break
            assert refused is not None, "it never said that the log is full"
            assert refused.reason == "AUDIT_UNAVAILABLE", refused
            with contextlib.suppress(ExecgateError):
                session.run(f"touch {marker}", resume=False)
            assert not marker.exists()
        filler.unlink()
        world.server.process.send_signal(signal.SIGTERM)
        world.server.process.wait(LIMIT_SECONDS)
        started = world.restart()
        with world.session() as session:
            assert session.run("echo again").stdout == "again\n"
        world.finish()
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(data)], check=True)
    return f"{refused.reason}; after that nothing ran; a new server after {started:.2f} s"


@row(
    "the audit log's fdatasync fails with EIO, from some record on, under strace",
    "AUDIT_UNAVAILABLE, and nothing runs; a new server goes on with a whole log, in which all "
    "that ran has an intent and all that was answered an outcome",
)
def fsync_errors(world: World) -> str:
    world.wrapper = (
        # It traces from beside, so that the child is the server itself.
        *("strace", "--daemonize", "--follow-forks", "--quiet=all", "--output=/dev/null"),
        # Each thread counts for itself, and may not be the one that begins.
        *("--trace=fdatasync", f"--inject=fdatasync:error=EIO:when={world.many(8, 40)}+"),
    )
    ran = world.folder / "ran"
    ran.touch()
    ran.chmod(0o666)
    world.folder.chmod(0o755)
    answered, refused = [], 0
    with world.server.client() as client:
        session = client.session(env=world.mark.env)
        for number in range(1000):
            try:
                session.run(f"echo e{number} >>{ran}", execution_id=f"e{number}", resume=False)
                answered.append(f"e{number}")
            except ExecgateError as error:
                if error.reason != "AUDIT_UNAVAILABLE":
                    raise
                refused += 1
                if refused == 10:
                    break
        assert refused == 10, "it never said that the log fails"
        assert answered, "it never worked"
    world.server.kill()
    world.wrapper = ()
    started = world.restart()
    with world.server.client() as client:
        log = records(client)
    intents = {r.execution_id for r in log if r.WhichOneof("body") == "execution_intent"}
    ended = {r.execution_id for r in log if r.WhichOneof("body") == "execution_outcome"}
    did_run = set(ran.read_text().split())
    assert did_run <= intents, f"ran unrecorded: {did_run - intents}"
    assert set(answered) <= ended, f"answered, without an outcome: {set(answered) - ended}"
    with world.session() as session:
        assert session.run("echo again").stdout == "again\n"
    return (
        f"{len(did_run)} ran, then AUDIT_UNAVAILABLE {refused} times and nothing ran; a new "
        f"server after {started:.2f} s"
    )
