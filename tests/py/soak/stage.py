"""What the soak plays on: one server, a host, an engine, a network that breaks."""

from __future__ import annotations

import contextlib
import random
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from container import docker
from engine import BUSYBOX, images_are_there
from running_server import LIMIT_SECONDS, Server
from sshd import Sshd
from watching import Mark

from execgate import Client, ExecgateError, Result, Session
from execgate.v1 import session_pb2, target_pb2
from execgate.v1.session_pb2_grpc import SessionServiceStub

#: What `[secrets.soak]` holds, which nobody may see.
SECRET = "swordfish-of-the-soak-7391"  # noqa: S105 - made up

#: What a session of the host, of an image and of a container runs on.
FAR = target_pb2.SshTarget(profile="build")
IMAGE = target_pb2.DockerTarget(image=target_pb2.DockerImage(reference=BUSYBOX))

#: What the server may forget within a soak, so that what it remembers does not grow.
CONFIG = """
[sessions]
max = 200
[executions]
keep = 16
keep_for = "20s"
[audit]
segment_bytes = 1048576
[docker.profiles.default]
containers = ["execgate-test-*"]
[secrets.soak]
file = "{folder}/secret"
"""


class Stage:
    """All that acts need; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        images_are_there()
        self.folder = folder
        folder.chmod(0o755)
        self.mark = Mark("soak")
        secret = folder / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        self.sshd = Sshd(folder / "sshd")
        self.server = Server(folder, CONFIG.format(folder=folder) + self.sshd.profile())
        self.answered: set[tuple[str, str]] = set()
        """The commands that were answered: their session and id."""
        self._lock = threading.Lock()
        self._containers: set[str] = set()

    def client(self) -> Client:
        """A client, straight to the server."""
        return self.server.client()

    @contextlib.contextmanager
    def session(self, client: Client, **options: Any) -> Iterator[Session]:
        """A session that carries the mark."""
        with client.session(env=self.mark.env, **options) as opened:
            yield opened

    @contextlib.contextmanager
    def created(self, client: Client, **fields: Any) -> Iterator[Session]:
        """The same with the fields of CreateSessionRequest."""
        request = session_pb2.CreateSessionRequest(env=self.mark.env, **fields)
        metadata = (("authorization", f"Bearer {self.server.token}"),)
        with grpc.insecure_channel(self.server.address) as channel:
            create = SessionServiceStub(channel).CreateSession
            try:
                answer = create(request, metadata=metadata, timeout=LIMIT_SECONDS)
            except grpc.RpcError as error:
                # Its host is another act's to kill.
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                raise ExecgateError(str(error.details()), reason="TARGET_UNAVAILABLE") from error
        with client.get_session(answer.session.session_id) as opened:
            yield opened

    def answer(self, result: Result) -> Result:
        """Remembers that a command was answered, and returns its result."""
        with self._lock:
            self.answered.add((result.session_id, result.execution_id))
        return result

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A directory that sessions may write in."""
        with tempfile.TemporaryDirectory(prefix="execgate-soak-", dir="/tmp") as made:
            Path(made).chmod(0o777)
            yield Path(made)

    @contextlib.contextmanager
    def container(self, dice: random.Random) -> Iterator[str]:
        """A container that waits, by its name."""
        name = f"execgate-test-soak-{dice.getrandbits(48):012x}"
        docker("run", "--detach", "--name", name, "--network", "none", BUSYBOX, "sleep", "1000")
        with self._lock:
            self._containers.add(name)
        try:
            yield name
        finally:
            docker("rm", "--force", name)
            with self._lock:
                self._containers.discard(name)

    def close(self) -> None:
        """Ends all of it."""
        if self.server.process.poll() is None:
            self.server.kill()
        self.sshd.close()
        for name in self._containers:
            subprocess.run(["docker", "rm", "--force", name], check=False, capture_output=True)  # noqa: S607
