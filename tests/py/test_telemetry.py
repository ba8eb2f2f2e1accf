"""Traces and metrics, with a real collector, without one, and with bad ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import opentelemetry.sdk
import pytest
from collector import Collector, Span, wait_for
from conftest import Connect
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from running_server import LIMIT_SECONDS, REPOSITORY, Server

from execgate import Client, PolicyDenied

#: Packages that an instrumented program needs; none of them compiled for one Python.
PACKAGES = (
    "certifi",
    "charset_normalizer",
    "google",
    "idna",
    "opentelemetry",
    "requests",
    "typing_extensions.py",
    "urllib3",
)

#: A program that knows OpenTelemetry, and nothing of the gate.
PROGRAM = """
import os, sys
from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider(resource=Resource({"service.name": "program"}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(sys.argv[1])))
around = propagate.extract({name.lower(): value for name, value in os.environ.items()})
with provider.get_tracer("program").start_as_current_span("inside", context=around):
    print("hello")
provider.shutdown()
"""

#: A trace that nobody records.
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

LISTENING = re.compile(r"metrics tcp (\S+)")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, which sessions can read."""
    with tempfile.TemporaryDirectory(prefix="execgate-") as name:
        os.chmod(name, 0o755)  # noqa: S103 - there is nothing in it that nobody may read
        yield Path(name)


@pytest.fixture
def collector(folder: Path) -> Iterator[Collector]:
    """A collector of the test's own."""
    collector = Collector(folder)
    yield collector
    collector.stop()


@contextmanager
def started(folder: Path, telemetry: str, **variables: str) -> Iterator[Server]:
    """A server that tells things."""
    server = Server(folder, f"[telemetry]\n{telemetry}", variables)
    try:
        yield server
    finally:
        server.stop()


def sending(collector: Collector, more: str = "") -> str:
    """Settings for a server whose spans arrive at once."""
    return f'endpoint = "{collector.endpoint}"\nbatch_delay = "10ms"\n{more}'


def agent(collector: Collector) -> TracerProvider:
    """What an agent has that is instrumented."""
    provider = TracerProvider(resource=Resource({"service.name": "agent"}))
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{collector.http_port}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def packages(folder: Path) -> Path:
    """The packages of an instrumented program, where sessions can read them."""
    site = Path(opentelemetry.sdk.__path__[0]).parents[1]
    for name in PACKAGES:
        source = site / name
        if source.is_dir():
            skipped = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(source, folder / "site" / name, ignore=skipped)
        else:
            shutil.copy(source, folder / "site" / name)
    program = folder / "site" / "program.py"
    program.write_text(PROGRAM)
    return program


def ancestors(span: Span, by_id: dict[str, Span]) -> list[str]:
    """The names of the spans above one, the nearest first."""
    names = []
    while span.parent_id:
        span = by_id[span.parent_id]
        names.append(span.name)
    return names


def metrics(address: str) -> dict[str, float]:
    """What Prometheus would see."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=LIMIT_SECONDS) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def complaints(server: Server) -> int:
    """How often the log says that telemetry is lost."""
    return server.log().count("telemetry is lost")


def test_one_agent_session_is_one_tree(
    connect: Connect, folder: Path, collector: Collector
) -> None:
    program = packages(folder)
    command = (
        f"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python PYTHONPATH={program.parent} "
        f"python3 {program} http://127.0.0.1:{collector.http_port}/v1/traces"
    )
    provider = agent(collector)
    with (
        started(folder, sending(collector)) as server,
        provider.get_tracer("agent").start_as_current_span("the agent's work"),
        connect(server.address, server.token) as client,
        client.session(session_id="story") as session,
    ):
        result = session.run(command)
        assert (result.stdout, result.stderr, result.exit_code) == ("hello\n", "", 0)
        assert session.run("exit_code() { return 3; }; exit_code").exit_code == 3
        with session.exec("echo streamed") as stream:
            list(stream)
        with pytest.raises(PolicyDenied):
            session.run("rm -rf /")
        assert session.run("sleep 60", timeout=0.2).timed_out
    provider.shutdown()
    spans = collector.spans()
    assert {span.trace_id for span in spans} == {spans[0].trace_id}
    by_id = {span.span_id: span for span in spans}
    assert [span.name for span in spans if not span.parent_id] == ["the agent's work"]
    run = "execgate.v1.ExecService/Run"
    inside = next(span for span in spans if span.name == "inside")
    assert ancestors(inside, by_id) == ["execute", run, "the agent's work"]
    assert {span.service for span in spans} == {"agent", "execgate", "program"}
    creation = next(span for span in spans if span.name == "create session")
    assert ancestors(creation, by_id) == [
        "execgate.v1.SessionService/CreateSession",
        "the agent's work",
    ]
    commands = [span for span in spans if span.name == "execute"]
    assert [span.links for span in commands] == [[creation.span_id]] * 5
    ends = [
        (
            span.attributes["execgate.outcome"],
            span.attributes.get("process.exit.code"),
            span.attributes.get("execgate.rule"),
            span.status,
        )
        for span in commands
    ]
    unset = "STATUS_CODE_UNSET"
    assert sorted(ends, key=str) == sorted(
        [
            ("exit", "0", None, unset),
            ("exit", "3", None, unset),
            ("exit", "0", None, unset),
            ("denied", None, "no-rm-root", unset),
            ("signal", None, None, "STATUS_CODE_ERROR"),
        ],
        key=str,
    )
    late = next(span for span in commands if span.status != unset)
    assert (late.events, late.attributes["error.type"]) == (["timeout", "signal sent"], "timeout")
    stages = {span.name for span in spans if ancestors(span, by_id)[:1] == ["execute"]}
    assert stages == {"policy", "audit", "start", "inside"}
    # Neither commands nor their output are anywhere.
    text = collector.text()
    assert not [word for word in ("python3", "rm -rf", "streamed", "sleep 60") if word in text]


def test_a_commands_span_ends_with_the_command_and_not_with_the_call(
    connect: Connect, folder: Path, collector: Collector
) -> None:
    def named(spans: list[Span], name: str) -> list[Span]:
        return [span for span in spans if span.name == name]

    fifo = folder / "fifo"
    os.mkfifo(fifo)
    os.chmod(fifo, 0o666)  # noqa: S103 - the session's user reads it
    with (
        started(folder, sending(collector)) as server,
        connect(server.address, server.token) as client,
        client.session() as session,
    ):
        with session.exec(f"cat {fifo}") as stream:
            next(iter(stream))
        call = "execgate.v1.ExecService/Exec"
        left = collector.wait_for_spans(lambda spans: bool(named(spans, call)))
        assert named(left, call)[0].attributes["rpc.response.status_code"] == "CANCELLED"
        assert not named(left, "execute")
        fifo.write_text("go on")
        spans = collector.wait_for_spans(lambda spans: bool(named(spans, "execute")))
        (span,) = named(spans, "execute")
        assert span.parent_id == named(spans, call)[0].span_id
        assert span.attributes["process.exit.code"] == "0"


def test_what_waits_is_sent_at_the_end(folder: Path, collector: Collector) -> None:
    with started(folder, f'endpoint = "{collector.endpoint}"\nbatch_delay = "1h"') as server:
        with server.client() as client, client.session() as session:
            session.run("true")
        assert collector.spans() == []
    assert [span.name for span in collector.spans()].count("execute") == 1
    assert "execgate.executions" in collector.text()


def test_redacted_commands_are_shown_where_the_operator_wants_it(
    folder: Path, collector: Collector
) -> None:
    secret = "AKIA" + "QYLPMN5HHHFPZAM2"
    with (
        started(folder, sending(collector, 'commands = "redacted"')) as server,
        server.client() as client,
        client.session() as session,
    ):
        session.run(f"echo {secret} > /dev/null")
    (span,) = [span for span in collector.spans() if span.name == "execute"]
    assert span.attributes["process.command_line"].startswith("echo [REDACTED")
    assert secret not in collector.text()


def test_what_is_not_sampled_is_said_to_be_so_and_not_sent(
    connect: Connect, folder: Path, collector: Collector
) -> None:
    with (
        started(folder, sending(collector)) as server,
        connect(server.address, server.token, trace=UNSAMPLED) as client,
        client.session() as session,
    ):
        parent = session.run('echo "$TRACEPARENT"').stdout.strip()
        # The trace is the caller's, the span the command's own.
        assert parent[:36] == UNSAMPLED[:36]
        assert parent[36:52] != UNSAMPLED[36:52]
        assert parent[52:] == "-00"
    assert collector.spans() == []


def test_without_an_exporter_a_context_is_passed_on(connect: Connect, folder: Path) -> None:
    with (
        started(folder, "") as server,
        connect(server.address, server.token, trace=lambda: {"traceparent": UNSAMPLED}) as client,
        client.session() as session,
    ):
        assert session.run('echo "$TRACEPARENT"').stdout == UNSAMPLED + "\n"


def test_log_lines_have_the_ids_of_their_trace(folder: Path) -> None:
    trace_id, span_id = UNSAMPLED.split("-")[1:3]
    settings = 'log_format = "json"\nlog = "warn,execgate_server::grpc=debug"'
    with started(folder, settings) as server:
        with Client(server.address, token=server.token, trace=UNSAMPLED) as client:
            client.capabilities()
        lines = [json.loads(line) for line in server.log().splitlines()]
    answered = [line for line in lines if line["fields"]["message"] == "answered"]
    assert [(line["trace_id"], line["span_id"]) for line in answered] == [(trace_id, span_id)]


def test_sessions_inherit_nothing_that_is_the_servers_own(folder: Path) -> None:
    settings = '[local]\nenv_allow = ["*"]\n'
    variables = {
        "OTEL_SERVICE_NAME": "gate",
        "OTEL_TRACES_EXPORTER": "none",
        "TRACEPARENT": UNSAMPLED,
        "EXECGATE_LOG": "warn",
    }
    with (
        started(folder, settings, **variables) as server,
        server.client() as client,
        client.session() as session,
    ):
        names = session.run("env | cut -d= -f1").stdout.split()
    assert not [name for name in names if name.startswith(("OTEL_", "TRACE", "EXECGATE_"))]


class Silent:
    """Somebody who takes connections, and bytes, and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self._taken.append(self._listener.accept()[0])
            except OSError:
                return

    def stop(self) -> None:
        """Hangs up."""
        for taken in (self._listener, *self._taken):
            taken.close()


def prometheus(server: Server) -> str:
    """Where the server's metrics are."""
    found = LISTENING.search(server.announced)
    assert found is not None, server.announced
    return found[1]


#: Commands for a collector that does not work: more spans than its server's queue takes.
COMMANDS = 40


def run_many(server: Server, times: int = COMMANDS) -> None:
    """What an agent does, and what it gets."""
    with server.client() as client, client.session() as session:
        seen = [session.run(f"echo {number}").stdout for number in range(times)]
    assert seen == [f"{number}\n" for number in range(times)]


@pytest.mark.parametrize("kind", ["absent", "silent"])
def test_nothing_changes_where_the_collector_is(kind: str, folder: Path) -> None:
    silent = Silent()
    endpoint = silent.endpoint
    if kind == "absent":
        silent.stop()
    settings = (
        f'endpoint = "{endpoint}"\nprometheus = "127.0.0.1:0"\nqueue_spans = 16\n'
        'batch_spans = 4\nbatch_delay = "10ms"\ntimeout = "1h"\nflush_limit = "500ms"'
    )
    with started(folder, settings) as server:
        run_many(server)
        wait_for(lambda: complaints(server) > 0, "a complaint", server.log)
        run_many(server)
        seen = metrics(prometheus(server))
        dropped = [value for name, value in seen.items() if "spans_dropped" in name]
        assert sum(dropped) > COMMANDS
        assert seen.get("execgate_telemetry_spans_exported_total", 0) == 0
        # A storm of losses is one line a minute.
        assert complaints(server) == 1
    # It has stopped, though there was nobody to take the rest.
    silent.stop()


def test_signed_heads_of_the_audit_log_reach_the_collector(
    folder: Path, collector: Collector
) -> None:
    with (
        started(folder, sending(collector)) as server,
        server.client() as client,
        client.session() as session,
    ):
        session.run("true")
    # Heads are five lines each; the third is the root of the tree.
    (*_, root, _, _) = (server.data_dir / "audit" / "heads").read_text().splitlines()
    wait_for(lambda: root in collector.text(), "the last head", collector.text)
    assert "audit.head.note" in collector.text()


def test_a_collector_may_die_and_come_back(folder: Path, collector: Collector) -> None:
    def executes(spans: list[Span]) -> int:
        return [span.name for span in spans].count("execute")

    settings = sending(collector, 'timeout = "1s"\nprometheus = "127.0.0.1:0"')
    with started(folder, settings) as server:
        run_many(server, 3)
        collector.wait_for_spans(lambda spans: executes(spans) == 3)
        collector.stop()
        run_many(server)
        lost = 'execgate_telemetry_spans_dropped_total{reason="export_failed"}'
        wait_for(lambda: metrics(prometheus(server))[lost] > 0, "losses", server.log)
        again = Collector(folder, collector.port)
        try:
            # The connection comes back by itself, some time.
            def arrives() -> bool:
                run_many(server, 1)
                return executes(again.spans()) > 0

            wait_for(arrives, "spans after the return", server.log)
        finally:
            again.stop()
        assert complaints(server) == 1


def test_prometheus_sees_what_the_documentation_lists(folder: Path) -> None:
    page = (REPOSITORY / "docs" / "telemetry.md").read_text()
    documented = {
        name.replace(".", "_"): set(re.findall(r"`([^`]+)`", labels))
        for name, labels in re.findall(
            r"^\| `((?:execgate|rpc)\.[^`]+)` \| [^|]+ \| [^|]+ \| ([^|]*) \|", page, re.MULTILINE
        )
    }
    with started(folder, 'prometheus = "127.0.0.1:0"') as server:
        with server.client() as client, client.session(deny=["ls"]) as session:
            session.run("echo AKIA" + "QYLPMN5HHHFPZAM2")
            for denied in ("ls", "rm -rf /"):
                with pytest.raises(PolicyDenied):
                    session.run(denied)
            seen = metrics(prometheus(server))
        for path, code in (("/", 404), ("/metrics/x", 404)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://{prometheus(server)}{path}", timeout=LIMIT_SECONDS)
            assert caught.value.code == code
            caught.value.close()
    found: dict[str, set[str]] = {}
    for line in seen:
        name, _, labels = line.partition("{")
        if name == "target_info":
            continue
        name = re.sub(r"(_seconds|_bytes)?(_total|_bucket|_sum|_count)?$", "", name)
        keys = set(re.findall(r'(\w+)="', labels)) - {"le"}
        found.setdefault(name, set()).update(keys)
    # Nothing waited, so there is nothing about it.
    unseen = {"execgate_executions_waiting", "execgate_sessions_ended"}
    assert found == {
        name: {label.replace(".", "_") for label in labels}
        for name, labels in documented.items()
        if name not in unseen
    }
    denials = {
        re.search(r'rule="([^"]+)"', line)[1]: value  # type: ignore[index]
        for line, value in seen.items()
        if line.startswith("execgate_executions_denied_total")
    }
    assert denials == {"session": 1, "no-rm-root": 1}
    assert seen['execgate_redactions_total{kind="aws-key-id"}'] == 1
    assert seen['execgate_sessions_open{target="local"}'] == 1
