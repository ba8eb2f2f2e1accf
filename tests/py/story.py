"""Stories that every client tells (tests/scenarios), taken step by step through this one.

tests/scenarios/README.md says what a story may say, and which defaults stand for what it
leaves out. What it does not know is an error here, too.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import pytest

from execgate import (
    OPEN,
    Budget,
    BudgetReport,
    Channel,
    Client,
    Event,
    ExecgateError,
    ExecStream,
    Exited,
    Gap,
    LaunchFailed,
    Lost,
    Notice,
    OnDisconnect,
    OnShellExit,
    Output,
    Result,
    Session,
    Signaled,
    SignalKind,
    Started,
)

ANY = "@any@"

#: A table of a story.
Table = Mapping[str, Any]

Given = Union[str, "list[str]"]

_STEP_KEYS = {
    "run": {"with"},
    "exec": {"with"},
    "start": {"with"},
    "attach": set(),
    "read": {"until"},
    "finish": set(),
    "drop": set(),
    "write": {"data", "eof"},
    "signal": {"name"},
    "evaluate": set(),
    "put": {"data", "mode"},
    "get": set(),
    "close": set(),
}
_SESSION_KEYS = {
    *("shell", "cwd", "env", "terminal", "timeout", "on_shell_exit", "allow", "deny", "budget")
}
_WITH_KEYS = {
    *("id", "timeout", "env", "cwd", "stdin", "queue", "generation", "on_disconnect", "budget")
}
_RESULT_KEYS = {
    *("stdout", "stderr", "terminal", "exit_code", "possible_signal", "signal"),
    *("launch_failure", "lost", "cause", "observed_by", "timed_out", "truncated"),
    *("deduplicated", "command", "cwd", "generation", "notices", "totals", "budgets", "events"),
}
_VERDICT_KEYS = {"decision", "rule", "layer", "reason", "suggestion", "excerpt"}
_EXPECT_KEYS = {
    **dict.fromkeys(("run", "exec", "attach", "finish"), _RESULT_KEYS),
    "evaluate": _VERDICT_KEYS,
    "write": {"next_offset"},
    "put": {"size"},
    "get": {"data", "mode"},
    "close": {"ended"},
}
_ERROR_KEYS = {"code", "reason", "metadata", "fields", "retry"}
_UNITS = {"ms": 0.001, "s": 1, "m": 60}


def only(table: Table, keys: set[str]) -> Table:
    """The table, which may have no other keys."""
    assert set(table) <= keys, f"a story cannot say {sorted(set(table) - keys)} here"
    return table


@dataclass
class Kept:
    """A stream that was begun, and what it said so far."""

    stream: ExecStream
    given: Given
    cwd: str
    events: list[Event] = field(default_factory=list)


class Teller:
    """A session, and what is known of it."""

    def __init__(self, client: Client, story: Table, folder: Path) -> None:
        only(story, {"about", "session", "step"})
        self._folder = folder
        self._dir = str(folder / "session")
        # Sessions may run as another user.
        Path(self._dir).mkdir()
        Path(self._dir).chmod(0o777)
        settings = only(story.get("session", {}), _SESSION_KEYS)
        self._cwd = self._at(settings.get("cwd", "@dir@"))
        self._terminal = "terminal" in settings
        self._generation = 1
        self._closed = False
        self._kept: dict[str, Kept] = {}
        self._session = self._open(client, settings)

    def _open(self, client: Client, settings: Table) -> Session:
        action = settings.get("on_shell_exit")
        return client.session(
            shell=settings.get("shell", ""),
            cwd=self._cwd,
            env={name: self._at(value) for name, value in settings.get("env", {}).items()},
            terminal=tuple(settings["terminal"]) if self._terminal else False,
            timeout=seconds(settings.get("timeout")),
            on_shell_exit=OnShellExit(action) if action else OnShellExit.UNSPECIFIED,
            allow=settings.get("allow", ()),
            deny=settings.get("deny", ()),
            budget=budget(settings.get("budget")),
        )

    def tell(self, steps: Sequence[Table]) -> None:
        """Takes the steps in order, and closes the session."""
        for number, step in enumerate(steps, 1):
            print(f"step {number}: {step}")  # noqa: T201 - shown with a failure
            self.take(step)
        if not self._closed:
            self._session.close()

    def take(self, step: Table) -> None:
        """Takes one step, and compares what came of it with what is expected."""
        verbs = set(step) & set(_STEP_KEYS)
        assert len(verbs) == 1, f"a step has one verb: {step}"
        verb = verbs.pop()
        only(step, {verb, "expect", *_STEP_KEYS[verb]})
        expect = only(step.get("expect", {}), {"error", *_EXPECT_KEYS.get(verb, ())})
        act: Callable[[Table, Table], None] = getattr(self, f"_{verb}")
        if "error" not in expect:
            act(step, expect)
            return
        assert set(expect) == {"error"}
        with pytest.raises(ExecgateError) as caught:
            act(step, {})
        self._compare_error(caught.value, only(expect["error"], _ERROR_KEYS))

    def _run(self, step: Table, expect: Table) -> None:
        options = self._options(step, {*_WITH_KEYS})
        chosen = budget(step.get("with", {}).get("budget"))
        result = self._session.run(self._command(step["run"]), budget=chosen, **options)
        self._compare(result, expect, step["run"], budgets=True)

    def _exec(self, step: Table, expect: Table) -> None:
        options = self._options(step, _WITH_KEYS - {"budget"})
        stream = self._session.exec(self._command(step["exec"]), **options)
        self._follow(stream, list(stream), expect, step["exec"])

    def _attach(self, step: Table, expect: Table) -> None:
        stream = self._session.attach(step["attach"])
        self._follow(stream, list(stream), expect, None)

    def _start(self, step: Table, expect: Table) -> None:
        options = self._options(step, _WITH_KEYS - {"budget"})
        stream = self._session.exec(self._command(step["start"]), **options)
        assert stream.execution_id == step["with"]["id"]
        self._kept[stream.execution_id] = Kept(stream, step["start"], self._cwd, [next(stream)])

    def _read(self, step: Table, expect: Table) -> None:
        kept, until = self._kept[step["read"]], self._bytes(step["until"])
        while not b"".join(e.stdout + e.terminal for e in kept.events).endswith(until):
            kept.events.append(next(kept.stream))

    def _finish(self, step: Table, expect: Table) -> None:
        kept = self._kept.pop(step["finish"])
        # What ran meanwhile may have changed it.
        now, self._cwd = self._cwd, kept.cwd
        kept.events.extend(kept.stream)
        self._follow(kept.stream, kept.events, expect, kept.given)
        if "cwd" not in expect:
            self._cwd = now

    def _drop(self, step: Table, expect: Table) -> None:
        self._kept.pop(step["drop"]).stream.close()

    def _write(self, step: Table, expect: Table) -> None:
        data = self._bytes(step.get("data", ""))
        stream = self._kept[step["write"]].stream
        next_offset = stream.write_stdin(data, eof=step.get("eof", False))
        assert next_offset == expect.get("next_offset", next_offset)

    def _signal(self, step: Table, expect: Table) -> None:
        self._session.signal(step["signal"], SignalKind(step["name"]))

    def _evaluate(self, step: Table, expect: Table) -> None:
        verdict = self._session.evaluate(self._command(step["evaluate"]))
        assert verdict.allowed is (expect.get("decision", "ALLOW") == "ALLOW")
        if not verdict.allowed:
            seen = {
                "decision": "DENY",
                "rule": verdict.rule,
                "layer": verdict.layer,
                "reason": verdict.justification,
                "suggestion": verdict.suggestion,
                "excerpt": verdict.excerpt,
            }
            assert seen == {key: self._text(expect[key], seen[key]) for key in seen}

    def _put(self, step: Table, expect: Table) -> None:
        local, data = self._folder / "local", self._bytes(step.get("data", ""))
        local.write_bytes(data)
        local.chmod(int(step.get("mode", "0644"), 8))
        written = self._session.put(local, self._at(step["put"]))
        assert (written.size, written.verified) == (expect.get("size", len(data)), True)

    def _get(self, step: Table, expect: Table) -> None:
        local = self._folder / "gotten"
        read = self._session.get(self._at(step["get"]), local)
        data, mode = self._bytes(expect.get("data", "")), int(expect["mode"], 8)
        assert local.read_bytes() == data
        assert stat.S_IMODE(local.stat().st_mode) == mode
        assert (read.size, read.mode, read.verified) == (len(data), mode, True)

    def _close(self, step: Table, expect: Table) -> None:
        self._closed = True
        assert self._session.close().ended_process_count == expect.get("ended", 1)

    def _command(self, given: Given) -> Given:
        return self._at(given) if isinstance(given, str) else [self._at(word) for word in given]

    def _options(self, step: Table, keys: set[str]) -> dict[str, Any]:
        said = only(step.get("with", {}), keys)
        options: dict[str, Any] = {
            "execution_id": said.get("id", ""),
            "timeout": seconds(said.get("timeout")),
            "env": {name: self._at(value) for name, value in said.get("env", {}).items()},
            "cwd": self._at(said.get("cwd", "")),
            "queue_if_busy": said.get("queue", False),
            "expected_generation": said.get("generation"),
            "on_disconnect": OnDisconnect(said.get("on_disconnect", "UNSPECIFIED")),
        }
        if said.get("stdin") == {"open": True}:
            options["stdin"] = OPEN
        elif "stdin" in said:
            options["stdin"] = self._bytes(said["stdin"])
        return options

    def _follow(
        self, stream: ExecStream, events: list[Event], expect: Table, given: Given | None
    ) -> None:
        started = events[0]
        assert isinstance(started, Started)
        assert (started.cwd, started.generation) == (self._cwd, self._generation)
        assert [type(e).__name__ for e in events[1:]].count("Finished") == 1
        ends: dict[Channel, int] = {}
        for event in events:
            if isinstance(event, Output):
                assert event.offset == ends.get(event.channel, 0), "offsets join"
                ends[event.channel] = event.offset + len(event.data)
        if "events" in expect:
            wanted = [self._event(event) for event in expect["events"]]
            assert joined(events[1:-1]) == wanted
        self._compare(stream.result(), expect, given, budgets=False)

    def _event(self, event: Table) -> tuple[str, bytes]:
        ((kind, value),) = event.items()
        if kind == "notice":
            return f"notice {value}", b""
        only(event, {"stdout", "stderr", "terminal"})
        return kind, self._bytes(value)

    def _compare(
        self, result: Result, expect: Table, given: Given | None, *, budgets: bool
    ) -> None:
        seen = self._seen(result)
        assert seen == self._expected(seen, expect, given, budgets=budgets)
        self._cwd, self._generation = result.cwd, result.ending.generation

    def _seen(self, result: Result) -> dict[str, Any]:
        ending = result.ending
        known = {"stdout": result.stdout_bytes, "stderr": result.stderr_bytes}
        if self._terminal:
            known = {"terminal": result.terminal_bytes}
        return {
            **known,
            "command": result.command,
            "outcome": outcome(result),
            "cause": str(ending.cause),
            "observed_by": str(ending.observed_by),
            "timed_out": result.timed_out,
            "truncated": result.truncated,
            "deduplicated": result.deduplicated,
            "cwd": ending.cwd,
            "generation": ending.generation,
            "notices": [f"{notice.topic}: {notice.message}" for notice in result.notices],
            "totals": {
                str(totals.channel).lower(): {
                    "bytes": totals.total_bytes,
                    "lines": totals.lines,
                    "redactions": totals.redactions,
                    "sha256": totals.sha256.hex(),
                }
                for totals in ending.channels
            },
            "budgets": {
                str(report.channel).lower(): report_table(report) for report in result.budgets
            },
        }

    def _expected(
        self, seen: Table, expect: Table, given: Given | None, *, budgets: bool
    ) -> dict[str, Any]:
        program = isinstance(given, list)
        words = self._command(given or "")
        cause = self._text(expect.get("cause", "EXITED"), seen["cause"])
        defaults = {
            "command": " ".join(words) if isinstance(words, list) else words,
            "observed_by": "KERNEL" if program else "SHELL",
            "cwd": self._cwd,
        }
        channels = ["terminal"] if self._terminal else ["stdout", "stderr"]
        bodies = {name: self._body(expect.get(name, ""), seen[name]) for name in channels}
        notices = expect.get("notices", [])
        return {
            **bodies,
            **{k: self._text(expect.get(k, v), seen[k]) for k, v in defaults.items()},
            "outcome": expected_outcome(expect),
            "cause": cause,
            "timed_out": expect.get("timed_out", cause == "TIMEOUT"),
            "truncated": expect.get("truncated", False),
            "deduplicated": expect.get("deduplicated", False),
            "generation": expect.get("generation", self._generation),
            "notices": [
                self._text(wanted, found)
                for wanted, found in zip(notices, seen["notices"] + [""] * len(notices))
            ],
            "totals": {
                name: {**totals_of(body), **expect.get("totals", {}).get(name, {})}
                for name, body in bodies.items()
            },
            "budgets": {
                name: expect.get("budgets", {}).get(name) or untouched(body)
                for name, body in bodies.items()
                if budgets
            },
        }

    def _compare_error(self, error: ExecgateError, expect: Table) -> None:
        metadata = {
            key: self._text(value, error.metadata.get(key, ""))
            for key, value in expect.get("metadata", {}).items()
        }
        seen = {
            "code": error.code,
            "reason": error.reason,
            "metadata": dict(error.metadata),
            "fields": [violation.field for violation in error.field_violations],
            "retry": error.retry_after is not None,
        }
        assert seen == {
            "code": expect["code"],
            "reason": expect["reason"],
            "metadata": metadata,
            "fields": expect.get("fields", []),
            "retry": expect.get("retry", False),
        }

    def _at(self, text: str) -> str:
        return text.replace("@dir@", self._dir)

    def _text(self, wanted: str, seen: str) -> str:
        return seen if wanted == ANY and seen else tagged(self._at(wanted), seen)

    def _body(self, wanted: object, seen: bytes) -> bytes:
        if wanted == ANY and seen:
            return seen
        expected = self._bytes(wanted)
        if b"@tag@" not in expected:
            return expected
        return tagged(expected.decode(), seen.decode()).encode()

    def _bytes(self, value: object) -> bytes:
        if isinstance(value, str):
            return self._at(value).encode()
        if isinstance(value, list):
            return b"".join(map(self._bytes, value))
        assert isinstance(value, dict)
        if "hex" in value:
            return bytes.fromhex(only(value, {"hex"})["hex"])
        only(value, {"repeat", "times"})
        return self._bytes(value["repeat"]) * int(value["times"])


def tagged(wanted: str, seen: str) -> str:
    """`wanted`, each `@tag@` replaced by the tag of `seen`: a server's key makes them."""
    for tag in re.findall(r"\[REDACTED:[^]#]+#([0-9a-f]{4})\]", seen):
        wanted = wanted.replace("@tag@", tag, 1)
    return wanted


def seconds(text: str | None) -> float | None:
    """A span of time."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(ms|s|m)", text)
    assert found, f"{text!r} is no duration"
    return int(found.group(1)) * _UNITS[found.group(2)]


def budget(table: Table | None) -> Budget | None:
    """A budget, whose keys are those of the class."""
    return None if table is None else Budget(**table)


def joined(events: Sequence[Event]) -> list[tuple[str, bytes]]:
    """What happened, neighbours of the same channel joined."""
    together: list[tuple[str, bytes]] = []
    for event in events:
        assert not isinstance(event, Gap)
        if isinstance(event, Notice):
            together.append((f"notice {event.topic}", b""))
        elif isinstance(event, Output):
            name = str(event.channel).lower()
            before = together.pop()[1] if together and together[-1][0] == name else b""
            together.append((name, before + event.data))
    return together


def outcome(result: Result) -> str:
    """How it ended, as a story says it."""
    seen = result.outcome
    if isinstance(seen, Exited):
        return f"exited {seen.code} {seen.possible_signal or ''}"
    if isinstance(seen, Signaled):
        return f"signaled {seen.signal}"
    if isinstance(seen, LaunchFailed):
        return f"launch failed {seen.failure}"
    assert isinstance(seen, Lost)
    return "lost"


def expected_outcome(expect: Table) -> str:
    """The same, expected."""
    if "signal" in expect:
        return f"signaled {expect['signal']}"
    if "launch_failure" in expect:
        return f"launch failed {expect['launch_failure']}"
    if expect.get("lost"):
        return "lost"
    return f"exited {expect.get('exit_code', 0)} {expect.get('possible_signal', '')}"


def lines(data: bytes) -> int:
    """How many lines, also one that has no end."""
    return data.count(b"\n") + (data[-1:] not in (b"", b"\n"))


def totals_of(data: bytes) -> dict[str, Any]:
    """What a channel carried that carried just this."""
    return {
        "bytes": len(data),
        "lines": lines(data),
        "redactions": 0,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def untouched(data: bytes) -> dict[str, Any]:
    """The report of a budget that left nothing out."""
    return {
        "total_bytes": len(data),
        "total_lines": lines(data),
        "kept_bytes": len(data),
        "kept_lines": lines(data),
        "omitted_bytes": 0,
        "matched_lines": lines(data),
        "truncated": False,
    }


def report_table(report: BudgetReport) -> dict[str, Any]:
    """What a budget did."""
    table = dict(vars(report))
    del table["channel"]
    return table
