"""Too much of something."""

from __future__ import annotations

import resource
import statistics
import time

from running_server import Server
from watching import descriptors, resident_bytes, threads

from execgate import ExecgateError, Session

from .world import MEGABYTE, World, row


@row(
    "a fork bomb in a session, others work beside it",
    "the session's limit on processes holds; commands of another session answer; all is gone "
    "when it is closed",
)
def fork_bomb(world: World) -> str:
    world.config = "[policy]\nname = 'open'\n[fence.profiles.default]\nprocesses = 200\n"
    with world.session() as bomb, world.session() as other:
        stream = bomb.exec("b() { b | b & }; b; sleep 30", timeout=world.many(3, 20))
        times = []
        end = time.monotonic() + world.many(3, 20)
        while time.monotonic() < end:
            begun = time.monotonic()
            assert other.run("echo fine").stdout == "fine\n"
            times.append(time.monotonic() - begun)
        most = len(world.mark.alive())
        stream.close()
    left = world.mark.until_gone()
    assert not left, f"{len(left)} left"
    assert most <= 450, most
    return (
        f"up to {most} processes; {len(times)} commands beside it, median "
        f"{statistics.median(times) * 1000:.1f} ms, slowest {max(times) * 1000:.0f} ms"
    )


@row(
    "a command that takes memory without end, in a profile of 64 MiB",
    "it is ended, or refused memory; the server's own memory does not grow; the session says so",
)
def memory_hog(world: World) -> str:
    world.config = "[fence.profiles.default]\nmemory_bytes = 67108864\n"
    with world.session() as session:
        pid = world.server.process.pid
        before = resident_bytes(pid)
        result = session.run(
            "head -c 2000000000 /dev/zero | tail; echo ${PIPESTATUS[*]}", timeout=60
        )
        grown = resident_bytes(pid) - before
        assert result.stdout.split()[-1:] != ["0"], result.stdout[-100:]
        assert session.run("echo here", queue_if_busy=True).stdout == "here\n"
        assert grown < 32 * MEGABYTE, grown
    return f"{result.stdout.strip() or result.outcome}; the server grew by {grown // 1024} KiB"


@row(
    "`yes` for a minute that nobody reads, and one that is read",
    "the server's memory stays bounded; other sessions answer; cancelling ends it",
)
def flood(world: World) -> str:
    seconds = world.many(3, 60)
    with world.session() as session, world.session() as other:
        pid = world.server.process.pid
        other.run("true")
        before = resident_bytes(pid)
        unread = session.exec("yes", timeout=seconds, resume=False)
        times, most = [], 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.monotonic()
            other.run("true")
            times.append(time.monotonic() - begun)
            most = max(most, resident_bytes(pid) - before)
            time.sleep(0.05)
        unread.close()
        total = 0
        with session.exec("yes", timeout=seconds, queue_if_busy=True) as stream:
            for event in stream:
                total += len(event.stdout)
        assert session.run("echo here", queue_if_busy=True).stdout == "here\n"
    assert most < 96 * MEGABYTE, most
    return (
        f"{seconds} s each; memory +{most // MEGABYTE} MiB; read {total / 1e6 / seconds:.0f} MB/s; "
        f"beside it median {statistics.median(times) * 1000:.1f} ms"
    )


@row(
    "one line of a gigabyte, through Run and its budget",
    "counted to the byte; the answer is as large as the budget; memory stays bounded",
)
def long_line(world: World) -> str:
    size = world.many(100, 1000) * 1_000_000
    with world.session() as session:
        pid = world.server.process.pid
        before = resident_bytes(pid)
        begun = time.monotonic()
        result = session.run(f"head -c {size} /dev/zero | tr '\\0' x", timeout=300)
        took = time.monotonic() - begun
        grown = resident_bytes(pid) - before
        assert result.exit_code == 0
        assert result.truncated
        assert len(result.stdout) < 200_000
        last = session.run("echo here").stdout
    assert last == "here\n"
    assert grown < 96 * MEGABYTE, grown
    return f"{size // 1_000_000} MB in {took:.1f} s; memory +{grown // MEGABYTE} MiB"


@row(
    "a limit of 256 descriptors for the server, and sessions until it refuses",
    "the refusal is typed; sessions that are open work on; when some are closed others open",
)
def descriptors_exhausted(world: World) -> str:
    world.config = "[sessions]\nmax = 4000\n[quotas]\nsessions = 4000\n"
    # Inherited by the server; its own binary may raise the soft limit up to the hard one.
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    world_server = _with_descriptors(world, 256)
    with world_server.client() as client:
        opened: list[Session] = []
        refusal = None
        while refusal is None and len(opened) < 1000:
            try:
                opened.append(client.session(env=world.mark.env))
            except ExecgateError as error:
                refusal = error
        assert refusal is not None
        works = sum(session.run("echo $((6 * 7))").stdout == "42\n" for session in opened[:20])
        assert works == min(20, len(opened))
        for session in opened[: len(opened) // 2]:
            session.close()
        again = client.session(env=world.mark.env)
        assert again.run("echo again").stdout == "again\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    return f"{len(opened)} sessions, then {refusal.reason}; half closed, the next one opened"


def _with_descriptors(world: World, most: int) -> Server:
    server = world.server
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (most, most))
    return server


@row(
    "ten thousand commands in one session",
    "each answers; memory, descriptors and threads stay as they were; the last are as fast as "
    "the first",
)
def many_commands(world: World) -> str:
    count = world.many(1000, 10_000)
    with world.session() as session:
        pid = world.server.process.pid
        for _ in range(200):
            session.run("true")
        before = (descriptors(pid), threads(pid), resident_bytes(pid))
        times = []
        for number in range(count):
            begun = time.monotonic()
            result = session.run(f"echo {number}")
            times.append(time.monotonic() - begun)
            assert result.stdout == f"{number}\n"
        after = (descriptors(pid), threads(pid), resident_bytes(pid))
    tenth = count // 10
    first, last = statistics.median(times[:tenth]), statistics.median(times[-tenth:])
    assert after[0] <= before[0] + 2, (before, after)
    assert after[1] <= before[1] + 2, (before, after)
    grown = after[2] - before[2]
    assert grown < 24 * MEGABYTE, grown
    return (
        f"{count} commands; memory +{grown // 1024} KiB, descriptors {before[0]} -> {after[0]}, "
        f"threads {before[1]} -> {after[1]}; last tenth {last / first:.2f} x the first"
    )


@row(
    "a reader that takes a piece and sleeps, of 200 MB",
    "the command waits for it, nothing is lost, and other sessions answer",
)
def slow_reader(world: World) -> str:
    size = world.many(20, 200) * 1_000_000
    with world.session() as session, world.session() as other:
        total, times, pieces = 0, [], 0
        with session.exec(f"head -c {size} /dev/zero", timeout=300) as stream:
            for event in stream:
                total += len(event.stdout)
                pieces += 1
                if pieces % 50 == 0:
                    begun = time.monotonic()
                    other.run("true")
                    times.append(time.monotonic() - begun)
                    time.sleep(0.02)
            result = stream.result()
    assert (total, result.exit_code) == (size, 0)
    return f"{size // 1_000_000} MB whole; beside it slowest {max(times) * 1000:.0f} ms"
