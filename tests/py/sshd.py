"""A real OpenSSH server for a test: its own port, keys and configuration, this user."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from network import Network
from running_server import LIMIT_SECONDS


def free_port(address: str = "127.0.0.1") -> int:
    """One that nobody listened on a moment ago."""
    with socket.create_server((address, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Sshd:
    """One that listens, on this machine or at the end of a cable."""

    def __init__(self, folder: Path, network: Network | None = None) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755)
        self._network = network
        self._address = network.there if network else "127.0.0.1"
        # Where it is alone, any is free.
        self.port = 2222 if network else free_port()
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],  # noqa: S607
                check=True,
            )
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress {self._address}\nHostKey {folder}/host\n"
            f"PidFile none\nAuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin yes\nUseDNS no\nMaxStartups 100\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        """Starts it, the first time or again."""
        command = ["/usr/sbin/sshd", "-D", "-f", f"{self.folder}/config"]
        command += ["-E", f"{self.folder}/log"]
        if self._network:
            command = self._network.inside(*command)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        end = time.monotonic() + LIMIT_SECONDS
        while True:
            try:
                socket.create_connection((self._address, self.port), LIMIT_SECONDS).close()
                return
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """Ends it and every connection of it at once, as a crash would."""
        for pid in [self._process.pid, *self._connections()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Ends it for good."""
        if self._process.poll() is None:
            self.kill()

    def profile(self, name: str = "build", lines: str = "") -> str:
        """A profile of it for the server's configuration."""
        known = self.folder / "known"
        host_key = (self.folder / "host.pub").read_text()
        known.write_text(f"[{self._address}]:{self.port} {host_key}")
        return (
            f'[ssh.hosts.{name}]\nhost = "{self._address}"\nport = {self.port}\n'
            f'user = "{getpass.getuser()}"\nkey = "{self.folder}/user"\n'
            f'known_hosts = ["{known}"]\n{lines}\n'
        )

    def _connections(self) -> list[int]:
        """The processes that serve connections."""
        found: list[int] = []
        queue = [self._process.pid]
        while queue:
            parent = queue.pop()
            try:
                children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            except OSError:
                continue
            for child in map(int, children):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text().startswith("sshd"):
                        found.append(child)
                        queue.append(child)
        return found
