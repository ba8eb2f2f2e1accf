"""The server's image and containers of it, made by the real Docker engine."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from running_server import REPOSITORY

from execgate import Client

#: The image that tests build, and where the server has its data in it.
IMAGE = "execgate-test-server"
#: Its dependencies, compiled: named, so that they stay when older images go.
DEPENDENCIES = "execgate-test-dependencies"
DATA_DIR = "/var/lib/execgate/data"
#: The user that the image names.
IMAGE_UID = 10001

#: Time for the image, in seconds: the first build on a machine compiles the dependencies.
BUILD_LIMIT_SECONDS = 1200
#: Time for everything else that is asked of Docker; far above what it needs.
LIMIT_SECONDS = 60


def run(command: Sequence[str], limit: float = LIMIT_SECONDS) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, whatever that is."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
        cwd=REPOSITORY,
        # The classic builder: BuildKit is a package of its own.
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )


def docker(*arguments: str, limit: float = LIMIT_SECONDS) -> str:
    """What `docker` printed; a failure of it is the test's."""
    done = run(["docker", *arguments], limit)
    if done.returncode != 0:
        pytest.fail(f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def find_engine() -> None:
    """Sets `DOCKER_HOST` to an engine that answers, started if need be."""
    found = run([str(REPOSITORY / "scripts/docker-engine")])
    if found.returncode != 0:
        missing(f"there is no Docker engine: {found.stderr}")
    os.environ["DOCKER_HOST"] = found.stdout.strip()


def build_image() -> None:
    """Builds the repository's Dockerfile from bases made here, without any network."""
    bases = run([str(REPOSITORY / "scripts/docker-images"), "runtime", "builder"])
    if bases.returncode != 0:
        missing(f"there are no base images: {bases.stderr}")
    arguments = {
        "BUILDER_IMAGE": "execgate-test-builder",
        "RUNTIME_IMAGE": "execgate-test-runtime",
        "PROFILE": "dev",
    }
    given = [part for item in arguments.items() for part in ("--build-arg", "=".join(item))]
    build = ("build", "--force-rm", "--network", "none", *given, "--tag")
    docker(*build, DEPENDENCIES, "--target", "dependencies", ".", limit=BUILD_LIMIT_SECONDS)
    docker(*build, IMAGE, ".", limit=BUILD_LIMIT_SECONDS)
    # Stages of earlier builds, by the label of the bases: hundreds of megabytes each.
    old = ("--filter", "label=execgate.test.stamp", "--filter", "until=24h")
    docker("image", "prune", "--force", *old)


def missing(what: str) -> NoReturn:
    """Skips at a developer's; in CI it is a failure."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


class Container:
    """A server in a container; its socket is in a directory of the host."""

    def __init__(self, folder: Path, *options: str, uid: int = IMAGE_UID) -> None:
        self.name = f"execgate-test-{uuid.uuid4().hex[:12]}"
        folder.mkdir(mode=0o700)
        os.chown(folder, uid, uid)
        self.socket = folder / "execgate.sock"
        docker(
            *("run", "--detach", "--name", self.name, "--network", "none"),
            *("--volume", f"{folder}:{DATA_DIR}", "--health-interval", "1s"),
            *options,
            IMAGE,
        )

    def client(self) -> Client:
        """A client on the host, through the socket."""
        client = Client(f"unix:{self.socket}")
        client.wait_ready(LIMIT_SECONDS)
        return client

    def execute(self, *command: str) -> str:
        """What a program printed that runs beside the server."""
        return docker("exec", self.name, *command)

    def inspect(self, template: str) -> str:
        """What Docker knows of it."""
        return docker("inspect", "--format", template, self.name)

    def stop(self) -> None:
        """Ends it as `docker stop` does."""
        docker("stop", "--time", str(LIMIT_SECONDS // 2), self.name)

    def logs(self) -> str:
        """What the server said."""
        done = run(["docker", "logs", self.name])
        return done.stdout + done.stderr

    def remove(self) -> None:
        """Leaves nothing of it."""
        docker("rm", "--force", "--volumes", self.name)
