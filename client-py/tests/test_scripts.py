"""The scripts that put and get files, run as plain processes by every shell there is."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from execgate.files.transfer import script

HERE = Path(__file__).resolve().parents[1]
SCRIPTS = HERE / "src/execgate/files"
RUST_SCRIPTS = HERE.parent / "client-rs/src/files"

#: Far above what a script needs, in seconds.
LIMIT_SECONDS = 20

SHELLS = [["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]]

#: More than a pipe holds, and every byte.
DATA = bytes(range(256)) * 1000


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param
    if shutil.which(words[0]) is None:
        pytest.fail(f"{words[0]} is not installed")
    return words


def put(
    shell: list[str],
    folder: Path,
    path: str,
    data: bytes = DATA,
    *,
    size: int | None = None,
    sha256: str | None = None,
    mode: str = "",
    if_new: str = "",
    parents: str = "parents",
    env: dict[str, str] | None = None,
    text: Callable[[str], str] = script,
) -> subprocess.CompletedProcess[bytes]:
    wanted = str(len(data) if size is None else size)
    digest = sha256 or hashlib.sha256(data).hexdigest()
    return subprocess.run(
        [
            *(*shell, "-c", text("put.sh"), "execgate-put"),
            *(path, wanted, digest, mode, if_new, parents, "n0nce"),
        ],
        input=data,
        capture_output=True,
        cwd=folder,
        timeout=LIMIT_SECONDS,
        check=False,
        umask=0o027,
        env=env,
    )


def get(
    shell: list[str],
    folder: Path,
    path: str,
    env: dict[str, str] | None = None,
    text: Callable[[str], str] = script,
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*shell, "-c", text("get.sh"), "execgate-get", path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=folder,
        timeout=LIMIT_SECONDS,
        check=False,
        env=env,
    )


def everything(folder: Path) -> dict[str, str]:
    """All that is below a folder, by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = f"{stat.S_IMODE(path.lstat().st_mode):o}"
        if path.is_symlink():
            kind = f"-> {os.readlink(path)}"
        elif path.is_dir():
            kind = "directory"
        found[str(path.relative_to(folder))] = kind
    return found


@pytest.mark.parametrize("name", ["put.sh", "get.sh"])
def test_both_clients_have_the_same_scripts(name: str) -> None:
    if not RUST_SCRIPTS.parent.is_dir():
        pytest.skip("the Rust client is not beside this one")
    assert (RUST_SCRIPTS / name).read_bytes() == (SCRIPTS / name).read_bytes()


def test_comments_are_not_sent() -> None:
    for name in ("put.sh", "get.sh"):
        assert "#" not in {line.lstrip()[:1] for line in script(name).splitlines()}
        assert len(script(name)) < 3000


@pytest.mark.parametrize(
    "path",
    [
        "plain",
        "-rf",
        "a b",
        "line\nfeed\n",
        "naïve ☃",
        "new/directories/file",
        "./x/../y",
        "$(x)'\"",
    ],
)
def test_any_path_comes_back_as_it_was(shell: list[str], tmp_path: Path, path: str) -> None:
    (tmp_path / "x").mkdir()
    written = put(shell, tmp_path, path)
    assert (written.returncode, written.stdout, written.stderr) == (
        0,
        b"execgate-put 256000 640 sha256\n",
        b"",
    )
    assert (tmp_path / path).read_bytes() == DATA
    gotten = get(shell, tmp_path, path)
    digest = hashlib.sha256(DATA).hexdigest().encode()
    assert (gotten.returncode, gotten.stdout) == (0, DATA)
    assert gotten.stderr == b"execgate-get 256000 640 " + digest + b"\n"


def test_empty_file_is_a_file(shell: list[str], tmp_path: Path) -> None:
    assert put(shell, tmp_path, "empty", b"").stdout == b"execgate-put 0 640 sha256\n"
    gotten = get(shell, tmp_path, "empty")
    assert (gotten.stdout, gotten.stderr.split()[1]) == (b"", b"0")


def test_mode_is_the_given_one_or_the_old_one_or_the_new_one(
    shell: list[str], tmp_path: Path
) -> None:
    cases = [
        # path, MODE, MODE_IF_NEW, what it has then
        ("new", "", "", 0o640),
        ("new", "755", "", 0o755),
        ("new", "", "", 0o755),
        ("new", "", "600", 0o755),
        ("other", "", "604", 0o604),
        ("other", "1", "", 0o001),
    ]
    for path, mode, if_new, expected in cases:
        written = put(shell, tmp_path, path, b"x", mode=mode, if_new=if_new)
        assert written.stdout.split()[2] == b"%o" % expected
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == expected


def test_set_id_bits_are_not_inherited(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"old")
    (tmp_path / "tool").chmod(0o4755)
    put(shell, tmp_path, "tool", b"new")
    assert stat.S_IMODE((tmp_path / "tool").stat().st_mode) == 0o755


def test_symbolic_links_are_written_through(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/two").symlink_to("../real\n")
    (tmp_path / "one").symlink_to("sub/two")
    (tmp_path / "absolute").symlink_to(tmp_path / "sub/new")
    assert put(shell, tmp_path, "one").returncode == 0
    assert put(shell, tmp_path, "absolute").returncode == 0
    assert everything(tmp_path) == {
        "absolute": f"-> {tmp_path}/sub/new",
        "one": "-> sub/two",
        "real\n": "640",
        "sub": "directory",
        "sub/new": "640",
        "sub/two": "-> ../real\n",
    }


@pytest.mark.parametrize(
    ("path", "change", "code"),
    [
        ("old", {"size": len(DATA) + 1}, 68),
        ("old", {"size": len(DATA) - 1}, 68),
        ("old", {"sha256": "0" * 64}, 69),
        ("old", {"mode": "rubbish"}, 71),
        ("new/deep/er", {"sha256": "0" * 64}, 69),
        ("new/deep/er", {"parents": ""}, 66),
        ("old/below", {}, 66),
        ("directory", {}, 65),
        ("old/", {}, 65),
        ("pipe", {}, 65),
        ("loop", {}, 72),
        ("", {}, 65),
    ],
)
def test_failure_leaves_everything_as_it_was(
    shell: list[str], tmp_path: Path, path: str, change: dict[str, str], code: int
) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    before = everything(tmp_path)
    failed = put(shell, tmp_path, path, **change)  # type: ignore[arg-type]
    assert (failed.returncode, failed.stdout) == (code, b"")
    assert failed.stderr.splitlines()[-1].startswith(b"execgate-put: ")
    assert everything(tmp_path) == before
    assert (tmp_path / "old").read_bytes() == b"old"


def test_full_disk_leaves_everything_as_it_was(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    # In blocks of 512 bytes, or of 1024 in bash: less than DATA in both.
    command = ["bash", "-c", 'ulimit -f 100; exec "$@"', "bash", *shell]
    failed = put(command, tmp_path, "old")
    assert failed.returncode in (70, 128 + signal.SIGXFSZ)
    assert everything(tmp_path) == {"old": "644"}
    assert (tmp_path / "old").read_bytes() == b"old"


# Runs its arguments as `nobody`: no permission stops root.
AS_NOBODY = (
    "import os, shutil, sys; program = shutil.which(sys.argv[1]); "
    "os.setgroups([]); os.setgid(65534); os.setuid(65534); os.execv(program, sys.argv[1:])"
)


def test_directory_without_permission_is_told(shell: list[str]) -> None:
    words = shell
    if os.geteuid() == 0:
        words = [sys.executable, "-c", AS_NOBODY, *shell]
    # Not pytest's folder: another user may not enter that.
    with tempfile.TemporaryDirectory(prefix="execgate-") as name:
        folder = Path(name)
        (folder / "secret").write_bytes(b"x")
        (folder / "secret").chmod(0)
        folder.chmod(0o555)
        assert put(words, folder, "new").returncode == 67
        assert put(words, folder, "a/b").returncode == 66
        assert get(words, folder, "secret").returncode == 67
        assert everything(folder) == {"secret": "0"}
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
def test_signal_leaves_nothing_behind(shell: list[str], tmp_path: Path, name: str) -> None:
    process = subprocess.Popen(
        [
            *(*shell, "-c", script("put.sh"), "execgate-put"),
            *("new/file", "10", "0" * 64, "", "", "parents", "n0nce"),
        ],
        stdin=subprocess.PIPE,
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(b"half")
    process.stdin.flush()
    temporary = tmp_path / "new/.execgate-put-n0nce"
    deadline = LIMIT_SECONDS * 100
    while not (temporary.exists() and temporary.stat().st_size == 4) and deadline:
        deadline -= 1
        # What is awaited has no event; the file is the only sign.
        signal.sigtimedwait([], 0.01)
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    os.killpg(process.pid, getattr(signal, name))
    assert process.wait(LIMIT_SECONDS) == 128 + getattr(signal, name)
    process.stdin.close()
    assert everything(tmp_path) == {}


def test_planted_temporary_file_is_not_followed(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"safe")
    (tmp_path / ".execgate-put-n0nce").symlink_to("victim")
    assert put(shell, tmp_path, "file").returncode != 0
    assert (tmp_path / "victim").read_bytes() == b"safe"
    assert not (tmp_path / "file").exists()


def test_wrong_arguments_are_told(shell: list[str], tmp_path: Path) -> None:
    for name in ("put", "get"):
        words = [*shell, "-c", script(f"{name}.sh"), f"execgate-{name}"]
        assert (
            subprocess.run(
                words, cwd=tmp_path, check=False, stdin=subprocess.DEVNULL, capture_output=True
            ).returncode
            == 64
        )


@pytest.mark.parametrize(
    ("path", "code"), [("nothing", 66), ("directory", 65), ("pipe", 65), ("", 66), ("broken", 66)]
)
def test_what_cannot_be_gotten_is_told(
    shell: list[str], tmp_path: Path, path: str, code: int
) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "broken").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    failed = get(shell, tmp_path, path)
    assert (failed.returncode, failed.stdout) == (code, b"")
    assert failed.stderr.startswith(b"execgate-get: ")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment with nothing in it but the busybox applets that the scripts need."""
    tools = tmp_path / "tools"
    tools.mkdir()
    busybox = shutil.which("busybox")
    assert busybox is not None
    for name in ("cat", "chmod", "mkdir", "mv", "readlink", "rmdir", "stat", "unlink", "wc"):
        (tools / name).symlink_to(busybox)
    return {"PATH": str(tools)}


def without_system(name: str) -> str:
    """A script that finds tools in PATH alone, as on a target that has no others."""
    first, rest = script(name).split("\n", 1)
    assert first.startswith("PATH=/usr/bin")
    return rest


def test_busybox_tools_without_sha256sum_check_the_size(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for shell in (["/usr/bin/dash"], ["/usr/bin/bash"]):
        written = put(shell, folder, "sub/file", env=bare, text=without_system)
        assert (written.stdout, written.stderr) == (b"execgate-put 256000 640 size\n", b"")
        assert (
            put(shell, folder, "sub/file", size=5, env=bare, text=without_system).returncode == 68
        )
        gotten = get(shell, folder, "sub/file", env=bare, text=without_system)
        assert (gotten.stdout, gotten.stderr) == (DATA, b"execgate-get 256000 640 -\n")
        assert everything(folder) == {"sub": "directory", "sub/file": "640"}


def test_tools_of_the_session_come_last(shell: list[str], tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "cat").write_text("#!/bin/sh\necho not a cat\n")
    (tools / "cat").chmod(0o755)
    put(shell, tmp_path, "file", b"data", env={"PATH": f"{tools}:/usr/bin"})
    assert (tmp_path / "file").read_bytes() == b"data"
