"""The bearer token: where it is found, and how it is kept out of sight.

A token found in the local server's data directory is never sent to another
machine: the connection is plain text and that server is not its issuer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ._address import Address
from .errors import ConfigurationError

#: Variable that holds the token itself.
TOKEN_VARIABLE = "EXECGATE_TOKEN"  # noqa: S105 - the name of a variable

#: Variable that holds the server's data directory.
DATA_DIR_VARIABLE = "EXECGATE_DATA_DIR"

#: The token's file in the data directory.
TOKEN_FILE = "token"  # noqa: S105 - the name of a file


class Token:
    """A bearer token, ready to be sent. Its text shows in no `repr`."""

    def __init__(self, text: str) -> None:
        """Takes a token as text; surrounding white space does not belong to it."""
        text = text.strip()
        if not text or not (text.isascii() and text.isprintable()):
            raise ConfigurationError("the token is empty or holds characters that no token has")
        self._text = text

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The gRPC metadata that proves who the caller is."""
        return (("authorization", f"Bearer {self._text}"),)

    def __repr__(self) -> str:
        return "Token(<secret>)"


def find_token(given: str | None, address: Address, environment: Mapping[str, str]) -> Token | None:
    """The token to use: the given one, the environment's, or the local server's.

    A Unix socket knows its peer and needs none, so there no file is looked for. A
    missing file is no error, an unreadable one is.
    """
    text = given if given is not None else environment.get(TOKEN_VARIABLE)
    if text:
        return Token(text)
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
