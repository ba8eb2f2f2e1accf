"""Files in and out of a session.

Each transfer is one execution of a small shell script beside the session's shell
(`put.sh`, `get.sh`), so it is judged, recorded and redacted as any command is, works while
another command runs, and leaves no state behind. These modules plan it and read its result;
who waits for it, and how, is the clients'.
"""

from .transfer import FileRead, FileWritten

__all__ = ["FileRead", "FileWritten"]
