"""A real collector: rotel, an OTLP receiver, which prints what it is sent."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from running_server import LIMIT_SECONDS

PACKAGE = importlib.util.find_spec("rotel")
assert PACKAGE is not None

#: Where the package has its binary.
AGENT = Path(PACKAGE.origin or "").parent / "rotel-agent"

#: Time between two looks at what has arrived, in seconds.
LOOK_SECONDS = 0.05


@dataclass
class Span:
    """A span as it arrived."""

    service: str
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    status: str
    attributes: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


class Collector:
    """Takes spans and metrics on a port of its own until it is stopped."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._folder = folder
        self.port = port or free_port()
        self.http_port = free_port()
        self._log = (folder / f"collector-{self.http_port}.log").open("w+b")
        self._process = subprocess.Popen(
            [
                str(AGENT),
                "start",
                *("--otlp-grpc-endpoint", f"127.0.0.1:{self.port}"),
                *("--otlp-http-endpoint", f"127.0.0.1:{self.http_port}"),
                *("--exporter", "blackhole", "--debug-log", "traces", "--debug-log", "metrics"),
                *("--debug-log", "logs"),
                *("--debug-log-verbosity", "detailed"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_for(lambda: answers(self.port) and answers(self.http_port), "the collector")

    @property
    def endpoint(self) -> str:
        """Where it takes OTLP over gRPC."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait(LIMIT_SECONDS)

    def text(self) -> str:
        """What it has printed."""
        self._log.flush()
        return Path(self._log.name).read_text(errors="replace")

    def spans(self) -> list[Span]:
        """The spans that have arrived."""
        return parse(self.text())

    def wait_for_spans(self, enough: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans, once there are enough of them."""
        wait_for(lambda: enough(self.spans()), "spans", self.text)
        return self.spans()


def free_port() -> int:
    """A port that was free a moment ago; rotel cannot choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(fact: Callable[[], bool], name: str, more: Callable[[], str] = lambda: "") -> None:
    """Waits until something is so, or fails."""
    end = time.monotonic() + LIMIT_SECONDS
    while not fact():
        if time.monotonic() > end:
            pytest.fail(f"waited in vain for {name}\n{more()[-20_000:]}")
        time.sleep(LOOK_SECONDS)


#: Lines of a span's head, and the field that they fill.
HEAD = {
    "Trace ID": "trace_id",
    "Parent ID": "parent_id",
    "ID": "span_id",
    "Name": "name",
    "Kind": "kind",
    "Status code": "status",
}

ATTRIBUTE = re.compile(r"\s*-> ([\w.]+): \w+\((.*)\)$")
SECTIONS = ("Attributes:", "Events:", "Links:")


def parse(text: str) -> list[Span]:
    """Reads what rotel prints of spans."""
    spans: list[Span] = []
    # What is printed of metrics looks alike.
    for printed in re.split(r"^(?=Resource(?:Spans|Metrics|Logs) #)", text, flags=re.MULTILINE):
        if printed.startswith("ResourceSpans"):
            head, *each = re.split(r"^Span #\d+$", printed, flags=re.MULTILINE)
            service = re.search(r"service\.name: Str\((.*)\)", head)
            spans.extend(_span(one, service[1] if service else "") for one in each)
    return spans


def _span(text: str, service: str) -> Span:
    span = Span(service, "", "", "", "", "", "")
    section = ""
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        found = ATTRIBUTE.match(line)
        if line in SECTIONS:
            section = line
        elif not section and name in HEAD:
            setattr(span, HEAD[name], value)
        elif section == "Attributes:" and found:
            span.attributes[found[1]] = found[2]
        elif section == "Events:" and name == "-> Name":
            span.events.append(value)
        elif section == "Links:" and name == "-> ID":
            span.links.append(value)
    return span
