"""What goes along with each call: who calls, whose things are meant, and in which trace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ._token import Bearer
from ._trace import Metadata, Trace, trace_source
from .errors import ConfigurationError

#: Whose things a call is about, if not the caller's own.
OWNER_HEADER = "execgate-principal"


def call_metadata(token: Bearer | None, trace: Trace, owner: str = "") -> Callable[[], Metadata]:
    """What to ask for the metadata of each call."""
    rest = _besides(trace, owner)
    if token is None:
        return rest
    return lambda: token.metadata() + rest()


def awaited_metadata(
    token: Bearer | None, trace: Trace, owner: str = ""
) -> Callable[[], Awaitable[Metadata]]:
    """The same for who may wait for the token."""
    rest = _besides(trace, owner)

    async def metadata() -> Metadata:
        own = await token.awaited() if token else ()
        return own + rest()

    return metadata


def _besides(trace: Trace, owner: str) -> Callable[[], Metadata]:
    if not (owner.isascii() and owner.isprintable()):
        raise ConfigurationError(f"{owner!r} is no name of a principal")
    fixed: Metadata = ((OWNER_HEADER, owner),) if owner else ()
    source = trace_source(trace)
    if source is None:
        return lambda: fixed
    return lambda: fixed + source()
