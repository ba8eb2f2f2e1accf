"""What a client was asked to do, with what the environment adds: the same for either kind."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ._address import Address, find_address
from ._credentials import Credentials
from ._resume import Patience, Resume
from ._retry import Acquaintance
from ._token import Bearer, TokenSource, find_token
from ._trace import Trace
from .errors import Disconnected, ExecgateError
from .retry import RetryPolicy
from .tls import FilePath, Tls, find_tls


@dataclass(frozen=True)
class Settings:
    """How to connect, and how to behave then."""

    address: Address
    credentials: Credentials | None
    """TLS. None: without."""
    token: Bearer | None
    resume: Resume
    retry: RetryPolicy
    trace: Trace
    owner: str

    def patience(self) -> Patience:
        """What the client does about calls that fail."""
        return Patience(self.resume, self.retry)

    def is_puzzling(self, failure: ExecgateError, acquaintance: Acquaintance) -> bool:
        """Whether a connection that failed is worth asking why."""
        if "Connection refused" in failure.message:
            return False
        # Who was let in before is not refused by a handshake in the middle of a call.
        return not acquaintance.made or not isinstance(failure, Disconnected)


def find_settings(
    address: str | None,
    token: TokenSource | None,
    *,
    token_file: FilePath | None,
    tls: Tls | None,
    insecure_plaintext_token: bool,
    resume: Resume,
    retry: RetryPolicy | None,
    trace: Trace,
    owner: str,
) -> Settings:
    """What is given, else what the environment says, else the defaults.

    Raises:
        ConfigurationError: They cannot be used.
    """
    environment = os.environ
    found = find_address(address, environment, protected=tls is not None)
    credentials = Credentials(find_tls(tls, environment)) if found.tls else None
    bearer = find_token(
        token,
        found,
        environment,
        file=token_file,
        has_certificate=credentials is not None and credentials.has_certificate,
        plaintext_allowed=insecure_plaintext_token,
    )
    return Settings(found, credentials, bearer, resume, retry or RetryPolicy(), trace, owner)
