"""The client: a connection to one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import _calls, _checkpoint_calls
from .._requests import SessionOptions
from .._resume import Resume
from .._settings import find_settings
from .._time import Seconds
from .._token import TokenSource
from .._trace import Trace
from ..checkpoints import Checkpoint, FileChange
from ..enums import SessionState
from ..info import Capabilities, SessionInfo
from ..retry import RetryPolicy
from ..tls import FilePath, Tls
from ..v1 import audit_record_pb2
from .connection import AsyncConnection
from .opening import Opening
from .session import AsyncSession

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..options import MoreSessionOptions


class AsyncClient:
    """A connection to one server, for the tasks of one event loop.

    The methods and their arguments are those of `execgate.Client`, which explains them.
    One client is enough for hundreds of sessions.

    Args:
        address: As for `execgate.Client`.
        token: As for `execgate.Client`; the function may be asynchronous.
        token_file: As for `execgate.Client`.
        tls: As for `execgate.Client`.
        resume: As for `execgate.Client`.
        retry: As for `execgate.Client`.
        trace: As for `execgate.Client`.
        owner: As for `execgate.Client`.
        insecure_plaintext_token: As for `execgate.Client`.

    Raises:
        ConfigurationError: The address, the token or a certificate cannot be used.
    """

    def __init__(
        self,
        address: str | None = None,
        token: TokenSource | None = None,
        *,
        token_file: FilePath | None = None,
        tls: Tls | None = None,
        resume: Resume = True,
        retry: RetryPolicy | None = None,
        trace: Trace = True,
        owner: str = "",
        insecure_plaintext_token: bool = False,
    ) -> None:
        self._connection = AsyncConnection(
            find_settings(
                address,
                token,
                token_file=token_file,
                tls=tls,
                insecure_plaintext_token=insecure_plaintext_token,
                resume=resume,
                retry=retry,
                trace=trace,
                owner=owner,
            )
        )

    @property
    def address(self) -> str:
        """Where the server is."""
        return self._connection.address

    def __repr__(self) -> str:
        return f"<execgate.AsyncClient {self.address}>"

    def session(
        self,
        *,
        shell: str = "",
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        terminal: bool | tuple[int, int] = False,
        labels: Mapping[str, str] | None = None,
        timeout: Seconds | None = None,
        idle_ttl: Seconds | None = None,
        session_id: str = "",
        deny: Iterable[str] = (),
        allow: Iterable[str] = (),
        **more: Unpack[MoreSessionOptions],
    ) -> Opening[AsyncSession]:
        """Opens a session: `async with c.session() as s`, or `s = await c.session()`."""
        options = SessionOptions(
            shell=shell,
            cwd=cwd,
            env=env,
            terminal=terminal,
            labels=labels,
            timeout=timeout,
            idle_ttl=idle_ttl,
            session_id=session_id,
            deny=deny,
            allow=allow,
            **more,
        )
        return Opening(self._session(self._connection.call(_calls.create_session(options))))

    def get_session(self, session_id: str) -> Opening[AsyncSession]:
        """Finds a session that was opened before, here or elsewhere."""
        return Opening(self._session(self._connection.call(_calls.get_session(session_id))))

    def sessions(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        states: Iterable[SessionState] = (),
    ) -> AsyncIterator[SessionInfo]:
        """The caller's sessions, newest first."""
        return self._connection.listing(_calls.list_sessions(labels, states))

    def audit_records(
        self,
        *,
        session_id: str = "",
        execution_id: str = "",
        newest_first: bool = False,
    ) -> AsyncIterator[audit_record_pb2.AuditRecord]:
        """The audit log as far as the caller may read it, in order."""
        return self._connection.listing(
            _calls.list_audit_records(session_id, execution_id, newest_first)
        )

    def checkpoints(
        self,
        *,
        session_id: str = "",
        workspace: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Checkpoint]:
        """The caller's checkpoints, newest first; they outlive session and server."""
        return self._connection.listing(
            _checkpoint_calls.list_checkpoints(session_id, workspace, labels)
        )

    async def get_checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Finds a checkpoint."""
        call = _checkpoint_calls.get_checkpoint(checkpoint_id)
        return await self._connection.call(call)

    async def delete_checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Forgets a checkpoint, and returns what it was."""
        call = _checkpoint_calls.delete_checkpoint(checkpoint_id)
        return await self._connection.call(call)

    def diff_checkpoints(
        self,
        checkpoint_id: str,
        other: str,
        *,
        paths: Iterable[str] = (),
        max_patch_bytes: int = 0,
    ) -> AsyncIterator[FileChange]:
        """What differs between two checkpoints of a workspace."""
        return self._connection.answers(
            _checkpoint_calls.diff_checkpoint(checkpoint_id, other, "", paths, max_patch_bytes)
        )

    async def capabilities(self) -> Capabilities:
        """What the server can do, and where its limits are."""
        return await self._connection.call(_calls.capabilities())

    async def wait_ready(self, timeout: float = 10.0) -> None:
        """Waits until the server answers, e.g. while it starts."""
        await self._connection.wait_ready(timeout)

    async def close(self) -> None:
        """Ends the connection and all calls on it. Sessions and commands live on."""
        await self._connection.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _session(self, found: Coroutine[Any, Any, SessionInfo]) -> AsyncSession:
        return AsyncSession(self._connection, await found)
