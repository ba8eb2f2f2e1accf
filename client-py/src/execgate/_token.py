"""The bearer token: where it is found, and how it is kept out of sight.

A token found in the local server's data directory is never sent to another machine, which is
not its issuer; none at all goes to another machine in plain text, unless the caller says so.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Protocol, Union

from ._address import Address
from .errors import ConfigurationError
from .tls import FilePath

#: Variable that holds the token itself.
TOKEN_VARIABLE = "EXECGATE_TOKEN"  # noqa: S105 - the name of a variable

#: Variable that holds the path of a file with the token.
TOKEN_FILE_VARIABLE = "EXECGATE_TOKEN_FILE"  # noqa: S105 - the name of a variable

#: Variable that holds the server's data directory.
DATA_DIR_VARIABLE = "EXECGATE_DATA_DIR"

#: The token's file in the data directory.
TOKEN_FILE = "token"  # noqa: S105 - the name of a file

#: A token (the server's own, an API key, a JSON Web Token), or a function that is asked for
#: it at each call. `AsyncClient` waits for what an asynchronous one answers.
TokenSource = Union[str, Callable[[], str], Callable[[], Awaitable[str]]]

_Metadata = tuple[tuple[str, str], ...]


class Bearer(Protocol):
    """What is shown with each call."""

    def metadata(self) -> _Metadata:
        """The gRPC metadata that proves who the caller is."""
        ...

    async def awaited(self) -> _Metadata:
        """The same for who may wait for it."""
        ...


class Token:
    """A bearer token, ready to be sent. Its text shows in no `repr`."""

    def __init__(self, text: str) -> None:
        """Takes a token as text; surrounding white space does not belong to it."""
        if not isinstance(text, str):
            raise ConfigurationError(f"the token is a {type(text).__name__} and no text")
        text = text.strip()
        if not text or not (text.isascii() and text.isprintable()):
            raise ConfigurationError("the token is empty or holds characters that no token has")
        self._text = text

    def metadata(self) -> _Metadata:
        """The gRPC metadata that proves who the caller is."""
        return (("authorization", f"Bearer {self._text}"),)

    async def awaited(self) -> _Metadata:
        """The same for who may wait for it."""
        return self.metadata()

    def __repr__(self) -> str:
        return "Token(<secret>)"


class TokenInFile:
    """A token in a file, which is read again when it is another one."""

    def __init__(self, path: FilePath) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._seen = self._look()
        self._token = self._read()

    def metadata(self) -> _Metadata:
        """The gRPC metadata that proves who the caller is."""
        with self._lock:
            try:
                seen = self._look()
                if seen != self._seen:
                    self._token, self._seen = self._read(), seen
            except ConfigurationError:
                # It is being replaced: the last good one holds until the server says no.
                pass
            return self._token.metadata()

    async def awaited(self) -> _Metadata:
        """The same for who may wait for it."""
        return self.metadata()

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)

    def _read(self) -> Token:
        try:
            return Token(self._path.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"cannot read the token in {self._path}: {error.strerror or error}"
        )


class TokenOnDemand:
    """A function that is asked for the token at each call."""

    def __init__(self, ask: Callable[[], str] | Callable[[], Awaitable[str]]) -> None:
        self._ask = ask

    def metadata(self) -> _Metadata:
        """The gRPC metadata that proves who the caller is."""
        answer = self._ask()
        if isinstance(answer, str):
            return Token(answer).metadata()
        if isinstance(answer, Coroutine):
            answer.close()
        raise ConfigurationError(
            "the token's function answers no text; AsyncClient waits for an asynchronous one"
        )

    async def awaited(self) -> _Metadata:
        """The same for who may wait for it."""
        answer = self._ask()
        return Token(await answer if inspect.isawaitable(answer) else answer).metadata()


def find_token(
    given: TokenSource | None,
    address: Address,
    environment: Mapping[str, str],
    *,
    file: FilePath | None = None,
    has_certificate: bool = False,
    plaintext_allowed: bool = False,
) -> Bearer | None:
    """The token to use: the given one, the environment's, or the local server's.

    A Unix socket knows its peer and needs none, so there no file is looked for; nor beside a
    certificate, which the token would stand in front of. A missing file is no error, an
    unreadable one is.
    """
    found = _asked_for(given, file, environment)
    if found is None:
        return None if has_certificate else _local_servers(address, environment)
    if not (address.local or address.tls or plaintext_allowed):
        raise ConfigurationError(
            f"the token would go to {address.target} in plain text, for everybody on the way to "
            f"read: use https://{address.target}, or say insecure_plaintext_token=True"
        )
    return found


def _asked_for(
    given: TokenSource | None, file: FilePath | None, environment: Mapping[str, str]
) -> Bearer | None:
    if given and file:
        raise ConfigurationError("there can be a token or a token_file, not both")
    if callable(given):
        return TokenOnDemand(given)
    if given:
        return Token(given)
    if file:
        return TokenInFile(file)
    if given is None and environment.get(TOKEN_VARIABLE):
        return Token(environment[TOKEN_VARIABLE])
    if given is None and environment.get(TOKEN_FILE_VARIABLE):
        return TokenInFile(environment[TOKEN_FILE_VARIABLE])
    return None


def _local_servers(address: Address, environment: Mapping[str, str]) -> Token | None:
    directory = _data_dir(environment)
    if address.unix or not address.local or directory is None:
        return None
    path = directory / TOKEN_FILE
    try:
        return Token(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the token in {path}: {error.strerror or error}"
        ) from error


def _data_dir(environment: Mapping[str, str]) -> Path | None:
    given = environment.get(DATA_DIR_VARIABLE)
    if given:
        return Path(given)
    # The XDG specification has relative paths ignored.
    state = environment.get("XDG_STATE_HOME", "")
    if state.startswith("/"):
        return Path(state, "execgate")
    home = environment.get("HOME", "")
    return Path(home, ".local/state/execgate") if home.startswith("/") else None
