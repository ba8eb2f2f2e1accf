"""Files of a fake server: what `put` and `get` would do, on a dict."""

from __future__ import annotations

import hashlib
import posixpath

from ..files.transfer import SHELL, script
from .answer import Answer, Command

#: Permissions of files that were put without any.
_DEFAULT_MODE = 0o644


class FakeFiles:
    """Files by absolute path, and their permissions."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.modes: dict[str, int] = {}

    def concern(self, command: Command) -> bool:
        """Whether a command puts or gets a file."""
        scripts = (script("put.sh"), script("get.sh"))
        return command.argv[:2] == (SHELL, "-c") and command.argv[2] in scripts

    def answer(self, command: Command, cwd: str) -> Answer:
        """What a transfer does."""
        path = posixpath.normpath(posixpath.join(cwd, command.argv[4]))
        if command.argv[3] == "execgate-put":
            return self._put(path, command)
        return self._get(path)

    def _put(self, path: str, command: Command) -> Answer:
        given, if_new = command.argv[7:9]
        mode = int(given, 8) if given else self.modes.get(path)
        if mode is None:
            mode = int(if_new, 8) if if_new else _DEFAULT_MODE
        self.contents[path] = command.stdin
        self.modes[path] = mode
        return Answer(stdout=f"execgate-put {len(command.stdin)} {mode:o} sha256\n")

    def _get(self, path: str) -> Answer:
        content = self.contents.get(path)
        if content is None:
            return Answer(stderr="execgate-get: there is no such file\n", exit_code=66)
        mode = self.modes.get(path, _DEFAULT_MODE)
        digest = hashlib.sha256(content).hexdigest()
        return Answer(stdout=content, stderr=f"execgate-get {len(content)} {mode:o} {digest}\n")
