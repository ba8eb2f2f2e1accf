"""A TCP proxy that cuts connections, as networks do: in the midst of anything."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable

#: Most bytes of one step from one side to the other.
STEP_BYTES = 64 * 1024

#: Closing a socket with it sends a reset, as a crash or a firewall does.
RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Between clients and one server. `cut` says how often it cuts, and after how much."""

    def __init__(self, target: str) -> None:
        self.target = target
        """Where new connections go."""
        self.cuts = 0
        self._left = 0
        self._most_bytes = 0
        # Always the same course, as far as threads allow.
        self._chance = random.Random(20261122)  # noqa: S311 - no secret
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, times: int, most_bytes: int) -> None:
        """Cuts that often: each time after up to so many bytes of either direction."""
        with self._lock:
            self._left = times
            self._most_bytes = most_bytes

    def budget(self) -> int | None:
        """After how many bytes the next connection is cut. None: not at all."""
        with self._lock:
            if not self._left:
                return None
            self._left -= 1
            self.cuts += 1
            return self._chance.randrange(self._most_bytes + 1)

    def close(self) -> None:
        """Ends it and every connection."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._pairs:
            pair.reset()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed:
                caller, _ = self._listener.accept()
                host, _, port = self.target.rpartition(":")
                try:
                    server = socket.create_connection((host, int(port)))
                except OSError:
                    caller.close()
                    continue
                pair = _Pair(caller, server, self.budget)
                self._pairs.append(pair)
                pair.start()


class _Pair:
    """One connection on both sides."""

    def __init__(
        self, caller: socket.socket, server: socket.socket, budget: Callable[[], int | None]
    ) -> None:
        self._caller = caller
        self._server = server
        self._ask = budget
        self._lock = threading.Lock()
        self._left: int | None = None
        for end in (caller, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for source, target in ((self._caller, self._server), (self._server, self._caller)):
            threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def reset(self) -> None:
        for end in (self._caller, self._server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(STEP_BYTES):
                allowed = self._allowed(len(data))
                target.sendall(data[:allowed])
                if allowed < len(data):
                    break
        self.reset()

    def _allowed(self, wanted: int) -> int:
        with self._lock:
            if self._left is None:
                self._left = self._ask()
            if self._left is None:
                return wanted
            allowed = min(wanted, self._left)
            self._left -= allowed
            return allowed
