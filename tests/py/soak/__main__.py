"""Runs the soak: `python -m soak [--minutes N] [--workers N] [--seed N] [--json FILE]`."""

from __future__ import annotations

import argparse
import collections
import json
import random
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from running_server import LIMIT_SECONDS
from watching import until_no_zombies

from execgate import ExecgateError
from execgate.v1 import audit_pb2
from execgate.v1.audit_pb2_grpc import AuditServiceStub

from .acts import ACTS, Act, is_allowed
from .samples import Sampler, as_json, judged
from .stage import Stage

#: Time that an act may take to its end when all is to be over.
HANG_SECONDS = 120

#: Most failures that are told in full.
TOLD = 10


@dataclass
class Story:
    """What happened."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    allowed: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    """Acts in which a promise was broken."""
    lock: threading.Lock = field(default_factory=threading.Lock)


def work(stage: Stage, story: Story, seed: int, end: float) -> None:
    """One client, which does one thing after another."""
    dice = random.Random(seed)  # noqa: S311 - nothing secret
    weights = [act.weight for act in ACTS]
    with stage.client() as client:
        while time.monotonic() < end:
            (chosen,) = dice.choices(ACTS, weights)
            problem = attempt(stage, chosen, client, dice, story)
            with story.lock:
                story.counts[chosen.name] += 1
                if problem:
                    story.failures.append(problem)
                    print(problem, file=sys.stderr, flush=True)  # noqa: T201


def attempt(stage: Stage, chosen: Act, client: Any, dice: random.Random, story: Story) -> str:
    """Does it; what went wrong, if something did."""
    try:
        chosen.perform(stage, client, dice)
    except ExecgateError as error:
        if is_allowed(chosen.name, error):
            with story.lock:
                story.allowed[f"{chosen.name}: {error.reason}"] += 1
            return ""
        return f"{chosen.name}: {traceback.format_exc()}"
    except (Exception, pytest.fail.Exception):
        return f"{chosen.name}: {traceback.format_exc()}"
    return ""


def hangs(threads: list[threading.Thread]) -> list[str]:
    """Where those are that should have ended."""
    frames = sys._current_frames()
    return [
        "it hangs: " + "".join(traceback.format_stack(frames[thread.ident]))
        for thread in threads
        if thread.is_alive() and thread.ident in frames
    ]


def left_over(stage: Stage) -> list[str]:
    """What must not be there when all is over."""
    wrong = []
    with stage.client() as client:
        open_still = [
            info.session_id
            for info in client.sessions()
            if info.state.name not in {"CLOSED", "LOST"}
        ]
        if open_still:
            wrong.append(f"sessions that are open still: {open_still[:5]}")
        intents, outcomes = set(), set()
        for record in client.audit_records():
            name = record.WhichOneof("body")
            if name == "execution_intent":
                intents.add((record.session_id, record.execution_id))
            elif name in {"execution_outcome", "execution_abandoned"}:
                outcomes.add((record.session_id, record.execution_id))
    for what, missing in (
        ("commands without an outcome", intents - outcomes),
        ("answered commands without an intent", stage.answered - intents),
        ("answered commands without an outcome", stage.answered - outcomes),
    ):
        if missing:
            wrong.append(f"{len(missing)} {what}: {sorted(missing)[:3]}")
    metadata = (("authorization", f"Bearer {stage.server.token}"),)
    with grpc.insecure_channel(stage.server.address) as channel:
        verify = AuditServiceStub(channel).VerifyAuditLog
        found = verify(audit_pb2.VerifyAuditLogRequest(), metadata=metadata, timeout=120)
    if not found.valid:
        wrong.append(f"the audit log does not verify: {found}")
    if left := stage.mark.until_gone():
        wrong.append(f"processes of sessions: {left[:5]}")
    if dead := until_no_zombies(stage.server.process.pid):
        wrong.append(f"zombies: {dead}")
    return wrong


def run(minutes: float, workers: int, seed: int) -> dict[str, Any]:
    """The soak; what is to be said of it."""
    # A short path, as that of a Unix socket has to be.
    with tempfile.TemporaryDirectory(prefix="execgate-") as folder:
        stage, story = Stage(Path(folder)), Story()
        try:
            end = time.monotonic() + minutes * 60
            threads = [
                threading.Thread(target=work, args=(stage, story, seed + number, end), daemon=True)
                for number in range(workers)
            ]
            sampler = Sampler(stage.server.process.pid)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(max(0, end + HANG_SECONDS - time.monotonic()))
            sampler.stop()
            rows, wrong = judged(sampler.samples)
            if hanging := hangs(threads):
                wrong += hanging
            else:
                wrong += left_over(stage)
            begun = time.monotonic()
            stage.server.stop()
            if time.monotonic() - begun > LIMIT_SECONDS:
                wrong.append("it did not stop in time")
        finally:
            stage.close()
    if story.failures:
        wrong.append(f"{len(story.failures)} acts in which a promise was broken")
    return {
        "minutes": minutes,
        "workers": workers,
        "seed": seed,
        "acts": dict(story.counts.most_common()),
        "allowed": dict(story.allowed),
        "answered_commands": len(stage.answered),
        "flat": rows,
        "wrong": wrong,
        "failures": story.failures[:TOLD],
        "samples": as_json(sampler.samples),
    }


def show(report: dict[str, Any]) -> None:
    """Prints it as tables."""
    lines = [
        f"{report['minutes']} minutes, {report['workers']} clients, seed {report['seed']}: "
        f"{sum(report['acts'].values())} acts, {report['answered_commands']} commands answered",
        "",
        "| | second quarter | last quarter | at most | highest | |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["flat"]:
        said = "flat" if row["flat"] else "**not flat**"
        numbers = (row["second_quarter"], row["last_quarter"], row["at_most"], row["highest"])
        lines.append(f"| {row['what']} | " + " | ".join(map(str, numbers)) + f" | {said} |")
    lines += ["", "| act | times |", "|---|---|"]
    lines += [f"| {name} | {count} |" for name, count in report["acts"].items()]
    lines += [
        "",
        *(f"told of another's fault: {k} ({v} times)" for k, v in report["allowed"].items()),
    ]
    lines += [f"WRONG: {problem}" for problem in report["wrong"]] or ["nothing is wrong"]
    print("\n".join(lines), flush=True)  # noqa: T201


def main() -> None:
    """Runs it, and says how it went."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path, default=Path("soak.json"))
    arguments = parser.parse_args()
    report = run(arguments.minutes, arguments.workers, arguments.seed)
    arguments.json.write_text(json.dumps(report, indent=1))
    show(report)
    sys.exit(1 if report["wrong"] else 0)


if __name__ == "__main__":
    main()
