"""A Docker engine of a test's own, which it may stop, with the image of busybox."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from container import LIMIT_SECONDS, docker, find_engine, missing, run
from running_server import REPOSITORY

BUSYBOX = "execgate-test-busybox"


def images_are_there() -> None:
    """Makes sure of the machine's engine and of the image in it."""
    find_engine()
    made = run([str(REPOSITORY / "scripts/docker-images"), "busybox"])
    if made.returncode != 0:
        missing(f"there is no image: {made.stderr}")


class Engine:
    """One that answers; nobody else's containers are in it."""

    def __init__(self, folder: Path, *options: str) -> None:
        images_are_there()
        self.folder = folder
        folder.mkdir(mode=0o700)
        self.host = f"unix://{folder}/docker.sock"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        archive = f"{folder}/image.tar"
        docker("save", "--output", archive, BUSYBOX)
        self.docker("load", "--input", archive)

    def start(self) -> None:
        """Starts it, the first time or again."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [  # noqa: S607
                    "dockerd",
                    *("--host", self.host, "--data-root", f"{self.folder}/data"),
                    *("--exec-root", f"{self.folder}/exec", "--pidfile", f"{self.folder}/pid"),
                    *("--bridge=none", "--iptables=false", "--ip6tables=false"),
                    *("--ip-forward=false", "--ip-masq=false", "--log-level=warn"),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + LIMIT_SECONDS
        while run(["docker", "--host", self.host, "version"]).returncode != 0:
            said = (self.folder / "log").read_text(errors="replace")
            assert self._process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.05)

    def stop(self) -> None:
        """Asks it to stop, and waits until it has."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(LIMIT_SECONDS)
            self._process = None

    def kill(self) -> None:
        """Ends it and its containerd as a crash would; containers live on."""
        containerd = self.folder / "exec" / "containerd"
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        pid = int((containerd / "containerd.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        # What they left, which the next one would wait for.
        for name in ("containerd.pid", "containerd.sock", "containerd.sock.ttrpc"):
            (containerd / name).unlink(missing_ok=True)
        (self.folder / "pid").unlink(missing_ok=True)

    def docker(self, *arguments: str) -> str:
        """What `docker` printed, asking this engine."""
        return docker("--host", self.host, *arguments)

    def container(self, name: str) -> str:
        """A container that waits until it is told to end, by its name."""
        waits = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"
        start = ("run", "--detach", "--network", "none", "--name", name)
        self.docker(*start, BUSYBOX, "sh", "-c", waits)
        return name

    def close(self) -> None:
        """Ends it and all that is in it."""
        if self._process is not None:
            left = self.docker("ps", "--all", "--quiet").split()
            if left:
                self.docker("rm", "--force", *left)
            self.stop()
        # Its root is a mount, which one that was killed leaves.
        subprocess.run(
            ["umount", "--quiet", "--lazy", f"{self.folder}/data"],  # noqa: S607
            check=False,
            capture_output=True,
        )
