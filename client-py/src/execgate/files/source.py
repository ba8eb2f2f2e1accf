"""What is put: bytes, a local file, or a file object, with size and hash known beforehand."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Union

#: Something to put: bytes, the path of a local file, or an open binary file.
Source = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]", IO[bytes]]

#: Bytes that are read at a time to hash them.
_HASH_BYTES = 1024 * 1024

#: Bytes of a file object without random access that are held in memory; beyond that they
#: go to a temporary file.
_MAX_SPOOLED_BYTES = 4 * 1024 * 1024


class OpenSource:
    """A source that can be read at any place. To be closed, or used as a context manager."""

    def __init__(self, source: Source) -> None:
        """Opens and hashes it; reads all of it once."""
        self._own: IO[bytes] | None = None
        self.mode: int | None = None
        """Permissions of a local file. None: it is none."""
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._file: IO[bytes] = io.BytesIO(source)
        elif isinstance(source, (str, os.PathLike)):
            self._file = self._own = Path(source).open("rb")  # noqa: SIM115 - see close()
            self.mode = os.fstat(self._file.fileno()).st_mode & 0o777
        elif source.seekable():
            self._file = source
        else:
            self._file = self._own = _spooled(source)
        try:
            self._measure()
        except BaseException:
            self.close()
            raise

    def _measure(self) -> None:
        self._start = self._file.tell()
        self.size = 0
        """How many bytes there are."""
        digest = hashlib.sha256()
        while piece := self._file.read(_HASH_BYTES):
            if not isinstance(piece, bytes):
                raise TypeError("the file must be opened in binary mode")
            digest.update(piece)
            self.size += len(piece)
        self.sha256 = digest.hexdigest()
        """Their SHA-256, in hexadecimal."""

    def read(self, offset: int, count: int) -> bytes:
        """The bytes at `offset`; fewer if the file became shorter meanwhile."""
        self._file.seek(self._start + offset)
        return self._file.read(count)

    def close(self) -> None:
        """Closes what it opened itself."""
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> OpenSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _spooled(source: IO[bytes]) -> IO[bytes]:
    file = tempfile.SpooledTemporaryFile(_MAX_SPOOLED_BYTES)  # noqa: SIM115 - see close()
    shutil.copyfileobj(source, file, _HASH_BYTES)
    file.seek(0)
    return file
