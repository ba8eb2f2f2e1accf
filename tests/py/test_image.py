"""The image that the Dockerfile makes: it serves, without root, and ends in good order."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from container import (
    DATA_DIR,
    IMAGE,
    IMAGE_UID,
    LIMIT_SECONDS,
    Container,
    build_image,
    docker,
    find_engine,
    missing,
    run,
)
from running_server import find_binary

from execgate import Client, Session
from execgate.v1 import fence_pb2

#: Longest that a server with running commands may take to stop, in seconds: its grace is
#: five, and the machine may have much else to do.
STOP_SECONDS = 25.0

#: Where a program that calls the server is put into its container.
PROBE = "/opt/probe"
#: Root in the container with no more than it needs to make sessions another user's.
HARDENED_ROOT = (
    *("--user", "0", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *(part for name in ("SETUID", "SETGID", "CHOWN", "KILL") for part in ("--cap-add", name)),
)


@pytest.fixture(scope="module")
def image() -> str:
    """The image, built."""
    if os.getuid() != 0:
        missing("only root can give the image's user a directory of this machine")
    find_engine()
    build_image()
    return IMAGE


@pytest.fixture
def own(image: str, folder: Path) -> Iterator[Container]:
    """A server in a container of the test's own, which it may end."""
    assert image
    container = Container(folder)
    yield container
    container.remove()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory for the data; its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        yield Path(folder, "data")


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Container]:
    """A server in a container, for all tests that leave it running."""
    assert image
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        container = Container(Path(folder, "data"), "--volume", f"{find_probe()}:{PROBE}:ro")
        yield container
        container.remove()


@pytest.fixture
def client(container: Container) -> Iterator[Client]:
    """A client of it, on the host."""
    with container.client() as client:
        yield client


@pytest.fixture
def session(client: Client) -> Iterator[Session]:
    """A session in it."""
    with client.session() as session:
        yield session


def find_probe() -> Path:
    """A client as one program, an example of the Rust client's; `cargo build` makes it."""
    probe = Path(find_binary()).parent / "examples/first_session"
    if not probe.exists():
        pytest.fail(f"there is no {probe}: run `cargo build --workspace --all-targets`")
    return probe


def levels(client: Client) -> dict[str, str]:
    """The fence of a session: each control and what it is worth."""
    with client.session() as session:
        controls = session.info().message.fence.controls
    return {
        fence_pb2.Control.Name(control.control): fence_pb2.EnforcementLevel.Name(control.level)
        for control in controls
    }


def test_a_host_calls_through_the_socket_and_state_persists(session: Session) -> None:
    session.run("cd /tmp; export GREETING=hello")
    result = session.run("echo $GREETING from $PWD")
    assert (result.exit_code, result.cwd, result.stdout) == (0, "/tmp", "hello from /tmp\n")


def test_server_and_sessions_are_the_image_s_user(container: Container, session: Session) -> None:
    assert container.inspect("{{.Config.User}}") == f"{IMAGE_UID}:{IMAGE_UID}"
    assert session.run("id -u; id -un; id -gn; echo $HOME").stdout == (
        f"{IMAGE_UID}\nexecgate\nexecgate\n/home/execgate\n"
    )
    assert session.run("ps -o uid= -p 1").stdout.split() == [str(IMAGE_UID)]


def test_sessions_have_git(session: Session) -> None:
    commands = (
        "git init --quiet repository && cd repository && echo 1 > file && git add file",
        "git -c user.name=a -c user.email=a@b commit --quiet --message first",
        "git log --format=%s",
    )
    results = [session.run(command) for command in commands]
    assert [(result.exit_code, result.stdout) for result in results] == [
        (0, ""),
        (0, ""),
        (0, "first\n"),
    ]


def test_only_what_belongs_to_it_is_in_the_image(image: str) -> None:
    kept = docker("inspect", "--format", "{{json .Config.Volumes}} {{.Config.StopSignal}}", image)
    assert kept == f'{{"{DATA_DIR}":{{}}}} SIGTERM'
    searched = docker(
        *("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c"),
        "ls -d /src /usr/local/cargo /usr/local/rust 2>/dev/null; ls /usr/local/bin",
    )
    assert searched == "execgate"


def test_sessions_can_write_where_programs_do(session: Session) -> None:
    written = session.run(
        "touch ~/a /tmp/b /var/tmp/c && stat -c %a /tmp && rm ~/a /tmp/b /var/tmp/c"
    )
    assert (written.stdout, written.stderr) == ("1777\n", "")


def test_a_session_cannot_call_its_own_server(session: Session, container: Container) -> None:
    """The same program may that came in beside the server, with `docker exec`."""
    address = f"unix:{DATA_DIR}/execgate.sock"
    inside = session.run(f"{PROBE}; setsid {PROBE}", env={"EXECGATE_ADDR": address})
    assert inside.stderr.count("CALLED_FROM_SESSION") == 2, inside.stderr
    first_line = f"{PROBE} 2>/dev/null | head -n 1"
    beside = container.execute("env", f"EXECGATE_ADDR={address}", "sh", "-c", first_line)
    assert beside == "hello from /tmp"


def test_its_health_check_says_healthy(container: Container) -> None:
    status = wait_for_health(container)
    assert status == "healthy", container.logs()
    assert container.execute("execgate", "health") == ""


def test_health_says_no_where_nobody_serves(image: str) -> None:
    asked = run(["docker", "run", "--rm", "--network", "none", image, "health"])
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "failed to reach the server at unix:" in asked.stderr


def test_nothing_is_left_of_what_ended(container: Container, client: Client) -> None:
    """Orphans of sessions and of `docker exec` are the first process's to bury."""
    orphan = "(setsid sleep 0.1 &) ; (sleep 0.1 &)"
    with client.session() as session:
        session.run(f"{orphan}; setsid sleep 987 >/dev/null 2>&1 </dev/null &")
    container.execute("sh", "-c", orphan)
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        listed = container.execute("ps", "axo", "stat=,args=")
        left = [line for line in listed.splitlines() if line.startswith("Z") or "sleep" in line]
        if not left or time.monotonic() > deadline:
            break
    assert left == [], listed


def test_it_stops_in_good_order_while_a_command_runs(own: Container) -> None:
    with own.client() as client:
        stream = client.session().exec("trap '' INT; echo running; sleep 60")
        assert next(event.stdout for event in stream if event.stdout) == b"running\n"
        begin = time.monotonic()
        own.stop()
        took = time.monotonic() - begin
    assert own.inspect("{{.State.ExitCode}} {{.State.OOMKilled}}") == "0 false"
    assert "stopped" in own.logs()
    assert not own.socket.exists()
    assert took < STOP_SECONDS


def test_its_health_check_says_unhealthy_while_it_drains(image: str, folder: Path) -> None:
    assert image
    config = folder.parent / "drain.toml"
    config.write_text("[drain]\ngrace = '10m'\n")
    given = ("--env", "EXECGATE_CONFIG=/drain.toml", "--volume", f"{config}:/drain.toml:ro")
    container = Container(folder, *given, "--health-retries", "1")
    try:
        with container.client() as client:
            assert wait_for_health(container) == "healthy", container.logs()
            stream = client.session().exec("echo running; sleep 600")
            assert next(event.stdout for event in stream if event.stdout) == b"running\n"
            docker("kill", "--signal", "TERM", container.name)
            deadline = time.monotonic() + LIMIT_SECONDS
            while container.inspect("{{.State.Health.Status}}") != "unhealthy":
                assert time.monotonic() < deadline, container.logs()
                time.sleep(0.1)
            asked = run(["docker", "exec", container.name, "execgate", "health"])
            assert asked.returncode == 1
            assert "NOT_SERVING" in asked.stderr
            # A second one hurries.
            docker("kill", "--signal", "TERM", container.name)
            assert docker("wait", container.name) == "0"
    finally:
        container.remove()


def test_it_can_be_killed_and_started_again(own: Container) -> None:
    tokens = []
    for command in ("kill", "stop"):
        with own.client() as client, client.session() as session:
            assert session.run("echo on").stdout == "on\n"
        tokens.append((own.socket.parent / "token").read_text())
        docker(command, own.name)
        docker("start", own.name)
    assert tokens[0] == tokens[1]


def test_it_ends_as_its_server_does(own: Container) -> None:
    with own.client():
        own.execute("sh", "-c", "kill -KILL $(pgrep -P 1)")
    assert docker("wait", own.name) == "137"


def test_its_server_can_be_root_and_sessions_are_not(image: str, folder: Path) -> None:
    """With another user for sessions the kernel keeps them from the gate."""
    assert image
    container = Container(folder, *HARDENED_ROOT, uid=0)
    try:
        with container.client() as client:
            with client.session() as session:
                assert session.run("id -un").stdout == "nobody\n"
            found = levels(client)
        assert found["CONTROL_GATE"] == "ENFORCEMENT_LEVEL_ENFORCED", container.logs()
    finally:
        container.remove()


def wait_for_health(container: Container) -> str:
    """Docker's verdict, once it has one."""
    events = subprocess.Popen(
        [
            *("timeout", str(LIMIT_SECONDS), "docker", "events"),
            *("--since", container.inspect("{{.Created}}")),
            *("--filter", f"container={container.name}", "--filter", "event=health_status"),
            *("--format", "{{.Status}}"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert events.stdout is not None
        events.stdout.readline()
        return container.inspect("{{.State.Health.Status}}")
    finally:
        events.kill()
        events.wait()
        if events.stdout is not None:
            events.stdout.close()
