"""Where what is gotten goes: a local file, replaced as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Union

#: The path of a local file, or an open binary file.
Target = Union[str, "os.PathLike[str]", IO[bytes]]


class OpenTarget:
    """A target being written. Until `commit` a local file is what it was."""

    def __init__(self, target: Target) -> None:
        self._path: Path | None = None
        if isinstance(target, (str, os.PathLike)):
            # A symbolic link is written through.
            self._path = Path(os.path.realpath(target))
            descriptor, name = tempfile.mkstemp(prefix=".execgate-get-", dir=self._path.parent)
            self.file: IO[bytes] = os.fdopen(descriptor, "wb")
            self._temporary = Path(name)
        else:
            self.file = target

    def commit(self, mode: int | None) -> None:
        """Keeps what was written, with these permissions if they are known."""
        if self._path is None:
            return
        if mode is not None:
            # What comes out of a session gives nobody another's rights here.
            os.fchmod(self.file.fileno(), mode & 0o777)
        self.file.close()
        self._temporary.replace(self._path)

    def abort(self) -> None:
        """Leaves a local file as it was; after `commit` does nothing."""
        if self._path is not None:
            self.file.close()
            with suppress(FileNotFoundError):
                self._temporary.unlink()
