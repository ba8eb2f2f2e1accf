"""The audit log's format is what docs/audit.md says: its verifier, plain Python, reads it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_stubs import Gate
from running_server import LIMIT_SECONDS, REPOSITORY, Server, find_binary

from execgate.v1 import audit_pb2, audit_pb2_grpc

VERIFIER = REPOSITORY / "docs" / "audit_verifier.py"


def said(*words: str | Path) -> tuple[int, str]:
    """Exit code and output of a program."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


def second_opinion(log: Path, key: str) -> tuple[int, str]:
    """What the documented verifier says of a log."""
    return said(sys.executable, VERIFIER, log, key)


def key_of(server: Server) -> str:
    """The key that signs a server's heads."""
    code, text = said(find_binary(), "audit", "key", "--data-dir", server.data_dir)
    assert code == 0, text
    return text.strip()


@pytest.fixture
def stopped() -> Iterator[tuple[Path, str]]:
    """The log of a server that has worked and ended, and its key."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        server = Server(Path(folder))
        gate = Gate(server)
        for number in range(300):
            gate.run(f"echo {number}")
        gate.channel.close()
        key = key_of(server)
        server.stop()
        yield server.data_dir / "audit", key


def test_the_documented_verifier_agrees(stopped: tuple[Path, str]) -> None:
    """It finds a server's log valid, and each change at its record."""
    log, key = stopped
    code, text = second_opinion(log, key)
    assert (code, text.endswith("valid\n")) == (0, True), text
    assert int(text.split()[0]) > 600, text
    assert int(text.split()[2]) >= 3, text
    segment = log / f"{1:020}.log"
    whole = segment.read_bytes().rstrip(b"\0")
    lines = whole.splitlines(keepends=True)
    lines[9] = lines[9].replace(b"local", b"agent")
    segment.write_bytes(b"".join(lines))
    code, text = second_opinion(log, key)
    assert code == 1, text
    assert text.startswith("record 10: "), text
    ours, says = said(find_binary(), "audit", "verify", log, "--key", key)
    assert ours == 1, says
    assert "record 10: changed" in says, says
    segment.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    code, text = second_opinion(log, key)
    assert code == 1, text
    assert "ends before its head" in text, text


def test_another_key_verifies_nothing(stopped: tuple[Path, str]) -> None:
    """Neither for us nor for the documented verifier."""
    log, _key = stopped
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        code, other = said(find_binary(), "audit", "key", "--data-dir", folder)
    assert code == 0, other
    code, text = second_opinion(log, other.strip())
    assert (code, "signed by another key" in text) == (1, True), text
    code, text = said(find_binary(), "audit", "verify", log, "--key", other.strip())
    assert (code, "bad signature" in text) == (1, True), text


def test_a_recording_is_an_asciicast(server: Server) -> None:
    """A header, then events with their distance in time; and JSON Lines and OCSF are JSON."""
    gate = Gate(server)
    gate.run("echo one; sleep 0.2; echo two")
    gate.run("printf 'gr\\303\\274n\\n'; false")
    audits = audit_pb2_grpc.AuditServiceStub(gate.channel)

    def export(form: audit_pb2.RecordingFormat.ValueType) -> list[object]:
        request = audit_pb2.ExportRecordingRequest(session_id=gate.session_id, format=form)
        pieces = gate.call(audits.ExportRecording, request)
        data = b"".join(piece.data for piece in pieces).decode()
        return [json.loads(line) for line in data.splitlines()]

    header, *events = export(audit_pb2.RECORDING_FORMAT_ASCIICAST_V3)
    assert isinstance(header, dict)
    assert header["version"] == 3
    assert header["term"] == {"cols": 80, "rows": 24}
    shown = ""
    total = 0.0
    for event in events:
        assert isinstance(event, list)
        interval, code, data = event
        assert interval >= 0
        assert code in {"o", "m", "x"}
        total += interval
        if code == "o":
            shown += data
    assert 0.2 <= total < LIMIT_SECONDS
    assert "one\r\ntwo\r\n" in shown
    assert "grün\r\n" in shown
    assert events[-1][1:] == ["x", "1"]  # type: ignore[index]
    assert len(export(audit_pb2.RECORDING_FORMAT_JSONL)) >= 7
    for event in export(audit_pb2.RECORDING_FORMAT_OCSF):
        assert isinstance(event, dict)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
