"""The client: a connection to one server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from . import _calls, _checkpoint_calls
from ._connection import Connection
from ._requests import SessionOptions
from ._resume import Resume
from ._settings import find_settings
from ._time import Seconds
from ._token import TokenSource
from ._trace import Trace
from .checkpoints import Checkpoint, FileChange
from .enums import SessionState
from .info import Capabilities, SessionInfo
from .retry import RetryPolicy
from .session import Session
from .tls import FilePath, Tls
from .v1 import audit_record_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import MoreSessionOptions


class Client:
    r"""A connection to one server. Threads may share it.

    Opens at the first call and needs no `with`, but is closed by one.

    >>> with Client(address, token=token) as c, c.session() as s:
    ...     r = s.run("echo $((6 * 7))", timeout=60)
    >>> r.stdout, r.exit_code
    ('42\n', 0)

    Args:
        address: `HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`. Default:
            `$EXECGATE_ADDR`, else `127.0.0.1:7443`.
        token: The bearer token (the server's own, an API key, a JSON Web Token), or a
            function that is asked for it at each call. Default: `$EXECGATE_TOKEN`, else the
            file that `$EXECGATE_TOKEN_FILE` names, else for a server on this machine the
            file `token` in `$EXECGATE_DATA_DIR`, else in `$XDG_STATE_HOME/execgate` or
            `~/.local/state/execgate`. A Unix socket and a certificate need none.
        token_file: A file with the token instead, which is read again when it changes.
        tls: Whom to believe and what to show, where the address is `https://` or has no
            scheme. Default: `$EXECGATE_CA_FILE`, `$EXECGATE_CERTIFICATE_FILE`,
            `$EXECGATE_KEY_FILE` and `$EXECGATE_SERVER_NAME`, else the system's authorities
            and no certificate.
        resume: What its commands do when the connection breaks, where they do not say it
            themselves. Default: they go on by themselves, for a minute without progress;
            a time: for so long; False: not at all.
        retry: How calls are repeated that failed in a way that passes, where a repeat is
            harmless. `RetryPolicy.none()`: not at all.
        trace: In which trace its calls are. Default: that of OpenTelemetry's current span,
            where `opentelemetry-api` is installed; False: none; a text: this `traceparent`;
            a function: the `traceparent`, or the headers, that it answers at each call.
        owner: Whose sessions and checkpoints are meant, by the name of their principal, for
            observers and operators; `*` in `sessions()`: everybody's. Default: one's own.
        insecure_plaintext_token: Lets a token go to another machine without TLS, for
            everybody on the way to read.

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
        self._connection = Connection(
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
        return f"<execgate.Client {self.address}>"

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
    ) -> Session:
        r"""Opens a session and returns when its shell is ready.

        >>> with c.session(cwd="/tmp", env={"CI": "1"}) as s:
        ...     s.run("pwd; echo $CI").stdout
        '/tmp\n1\n'

        Args:
            shell: A path, or one of `bash`, `dash`, `ash`, `sh`. Default: the best there is.
            cwd: Where it begins.
            env: Variables added to its environment.
            terminal: True or `(rows, columns)` puts the shell on a terminal: stdout and
                stderr become one `terminal` channel.
            labels: Labels to find it by.
            timeout: Time limit of commands that name none. Default: 30 minutes.
            idle_ttl: Idle time after which it is closed. Default: 30 minutes.
            session_id: An id of the caller's own, 1 to 64 of `[a-z0-9_-]`: a retry with
                the same id finds the session that exists.
            deny: Programs that may not run, by bare name.
            allow: If not empty, the only programs that may run, by bare name.
            more: See `MoreSessionOptions`.
        """
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
        return Session(self._connection, self._connection.call(_calls.create_session(options)))

    def get_session(self, session_id: str) -> Session:
        """Finds a session that was opened before, here or elsewhere."""
        return Session(self._connection, self._connection.call(_calls.get_session(session_id)))

    def sessions(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        states: Iterable[SessionState] = (),
    ) -> Iterator[SessionInfo]:
        """The caller's sessions, newest first.

        Args:
            labels: Only those that carry all of these.
            states: Only those in one of these states. Default: any.
        """
        return self._connection.listing(_calls.list_sessions(labels, states))

    def audit_records(
        self,
        *,
        session_id: str = "",
        execution_id: str = "",
        newest_first: bool = False,
    ) -> Iterator[audit_record_pb2.AuditRecord]:
        """The audit log as far as the caller may read it, in order.

        Args:
            session_id: Only records of this session. Default: of any.
            execution_id: Only records of this execution. Default: of any.
            newest_first: The other way round.
        """
        return self._connection.listing(
            _calls.list_audit_records(session_id, execution_id, newest_first)
        )

    def checkpoints(
        self,
        *,
        session_id: str = "",
        workspace: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Checkpoint]:
        """The caller's checkpoints, newest first; they outlive session and server.

        Args:
            session_id: Only those made by this session. Default: by any.
            workspace: Only those of this directory. Default: of any.
            labels: Only those that carry all of these.
        """
        return self._connection.listing(
            _checkpoint_calls.list_checkpoints(session_id, workspace, labels)
        )

    def get_checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Finds a checkpoint."""
        call = _checkpoint_calls.get_checkpoint(checkpoint_id)
        return self._connection.call(call)

    def delete_checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Forgets a checkpoint, and returns what it was."""
        call = _checkpoint_calls.delete_checkpoint(checkpoint_id)
        return self._connection.call(call)

    def diff_checkpoints(
        self,
        checkpoint_id: str,
        other: str,
        *,
        paths: Iterable[str] = (),
        max_patch_bytes: int = 0,
    ) -> Iterator[FileChange]:
        """What differs between two checkpoints of a workspace.

        Args:
            checkpoint_id: The checkpoint to compare from.
            other: The checkpoint to compare to.
            paths: Only these, relative to the workspace. Default: all.
            max_patch_bytes: As for `Session.diff`.
        """
        return self._connection.answers(
            _checkpoint_calls.diff_checkpoint(checkpoint_id, other, "", paths, max_patch_bytes)
        )

    def capabilities(self) -> Capabilities:
        """What the server can do, and where its limits are."""
        return self._connection.call(_calls.capabilities())

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Waits until the server answers, e.g. while it starts.

        Raises:
            ConnectFailed: It does not within `timeout` seconds.
        """
        self._connection.wait_ready(timeout)

    def close(self) -> None:
        """Ends the connection and all calls on it. Sessions and commands live on."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
