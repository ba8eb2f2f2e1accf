"""The API as `buf` describes it, with its comments. Reads; writes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "execgate.v1"

#: Time that buf may take, its download included, in seconds.
BUF_LIMIT_SECONDS = 300

# Numbers of fields in descriptor.proto: the steps of a path to an element.
FILE_SYNTAX, FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 12, 4, 5, 6
MESSAGE_FIELD, MESSAGE_ONEOF = 2, 8
ENUM_VALUE = 2
SERVICE_METHOD = 2


class File:
    """One .proto file of the API."""

    def __init__(self, proto: FileDescriptorProto) -> None:
        self.proto = proto
        self.stem = Path(proto.name).stem
        self._comments = {
            tuple(place.path): place.leading_comments for place in proto.source_code_info.location
        }

    def comment(self, *path: int) -> str:
        """The comment before an element, without the space after `//`."""
        lines = self._comments.get(path, "").splitlines()
        return "\n".join(line.removeprefix(" ").rstrip() for line in lines).strip("\n")

    def headline(self) -> str:
        """The comment at the top of the file."""
        return self.comment(FILE_SYNTAX)

    def types(self) -> Iterator[str]:
        """Names of the messages and enums it defines."""
        yield from (message.name for message in self.proto.message_type)
        yield from (enum.name for enum in self.proto.enum_type)


def load() -> list[File]:
    """The files of the API, services first, as proto/README.md orders them."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "api.binpb")
        subprocess.run(
            ["npx", "--yes", buf_version(), "build", "--as-file-descriptor-set", "-o", str(image)],
            cwd=REPOSITORY / "proto",
            env=os.environ | {"npm_config_loglevel": "error"},
            check=True,
            timeout=BUF_LIMIT_SECONDS,
        )
        described = FileDescriptorSet.FromString(image.read_bytes())
    files = [File(proto) for proto in described.file if proto.package == PACKAGE]
    reading_order = (REPOSITORY / "proto" / "README.md").read_text(encoding="utf-8")
    return sorted(files, key=lambda file: reading_order.index(f"`{file.stem}.proto`"))


def buf_version() -> str:
    """The pinned package of scripts/versions.sh."""
    versions = (REPOSITORY / "scripts" / "versions.sh").read_text(encoding="utf-8")
    found = re.search(r"^BUF='([^']+)'", versions, re.MULTILINE)
    if found is None:
        raise SystemExit("scripts/versions.sh does not say which buf")
    return found.group(1)
