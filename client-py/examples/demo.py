#!/usr/bin/env python3
"""An agent at work, as a story: `make demo`.

It starts a server of its own, makes a small project in a session, breaks it, finds the
fault, mends it, runs into a time limit and a refusal, prints a secret, loses an answer,
and reads in the audit log what it did. Each thing it claims is checked; the program ends
with 1 if one does not hold.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from demo_screen import Screen
from demo_server import find_binary, running

from execgate import Budget, Channel, Client, ExecgateError, PolicyDenied, Result, Session
from execgate.v1.audit_record_pb2 import AuditRecord
from execgate.v1.outcome_pb2 import Cause

PROJECT = """\
cat > temperature.py <<'END'
def celsius(fahrenheit):
    return (fahrenheit - 32) * 5 / 9
END
cat > test_temperature.py <<'END'
import unittest
from temperature import celsius

class Celsius(unittest.TestCase):
    def test_water_freezes(self):
        self.assertEqual(celsius(32), 0)

    def test_water_boils(self):
        self.assertEqual(celsius(212), 100)
END
ls"""
TEST = "python3 -m unittest"
LOG = """\
python3 -c 'for n in range(200_000):
    print(n, "ERROR disk is full" if n % 40_000 == 7 else "INFO all is well")'"""
LOG_LINES = 200_000
# Harmless even if it were not denied: there is no such disk and it writes nothing.
WIPE = "dd if=/dev/null of=/dev/sdzz count=0"
# What an agent that has been refused might try next: the same command, in disguise.
DISGUISED = """sh -c 'd""d if=/dev/null of=/dev/sdzz count=0'"""
MENTION = "echo 'never run dd of=/dev/sda'"
#: Records of the audit log that are shown.
SHOWN_RECORDS = 12


class Story:
    """The chapters, in order; they share one session."""

    def __init__(self, screen: Screen, client: Client, session: Session, secret: str) -> None:
        self.screen = screen
        self.client = client
        self.session = session
        self.secret = secret

    def run(self, script: str, timeout: float | None = None, execution_id: str = "") -> Result:
        """Runs a command and shows it."""
        self.screen.command(script)
        result = self.session.run(script, timeout=timeout, execution_id=execution_id)
        self.screen.result(result)
        return result

    def tell(self) -> None:
        """All of it."""
        self.state()
        self.project()
        self.fault()
        self.long_output()
        self.time_limit()
        self.refusal()
        self.redaction()
        self.lost_answer()
        self.audit()
        self.close()

    def state(self) -> None:
        """A shell that stays."""
        self.screen.chapter(
            "A shell that stays", "What one command leaves behind, the next one has."
        )
        self.run('cd "$(mktemp -d)" && export STAGE=test && check() { echo "$STAGE in $PWD"; }')
        result = self.run("check")
        self.screen.expect(
            result.stdout == f"test in {result.cwd}\n",
            "directory, variable and function live on in the session",
        )

    def project(self) -> None:
        """A project and its tests."""
        self.screen.chapter(
            "A project and its tests",
            "Output comes as it happens, stderr (!) apart from stdout (|).",
        )
        self.run(PROJECT)
        script = f"echo testing; {TEST}; echo tested"
        self.screen.command(script)
        live = 0
        stream = self.session.exec(script)
        for channel, text in stream.text():
            live += 1
            self.screen.piece(channel, text)
        result = stream.result()
        self.screen.ending(result)
        self.screen.expect("OK" in result.stderr, "the tests pass")
        self.screen.expect(live > 1, "output came in pieces while the command ran")

    def fault(self) -> None:
        """It breaks, is understood, and is mended."""
        self.screen.chapter(
            "It breaks",
            "A careless edit. A failed command is a result to look at, not an exception.",
        )
        self.run("sed -i 's/- 32/+ 32/' temperature.py")
        self.screen.command(TEST)
        failed = self.session.run(TEST, budget=Budget(grep="^(FAIL|AssertionError|FAILED)"))
        self.screen.result(failed)
        report = next(r for r in failed.budgets if r.channel is Channel.STDERR)
        self.screen.note(f"{report.kept_lines} of {report.total_lines} lines")
        self.screen.expect(failed.exit_code == 1, "the tests fail, and the exit code says so")
        self.screen.expect(
            "AssertionError: 135." in failed.stderr and report.kept_lines < report.total_lines,
            "a few lines of the report were enough to see why",
        )
        self.run("sed -i 's/+ 32/- 32/' temperature.py")
        self.screen.expect(self.run(TEST).exit_code == 0, "mended: the tests pass again")

    def long_output(self) -> None:
        """Much output, little of it returned."""
        self.screen.chapter(
            "Much output, a small budget",
            "The agent asks for the last 3 lines with ERROR; the report says what was left out.",
        )
        self.screen.command(LOG)
        result = self.session.run(LOG, budget=Budget(grep="ERROR", tail=3))
        self.screen.result(result)
        report = next(r for r in result.budgets if r.channel is Channel.STDOUT)
        self.screen.note(
            f"{report.total_lines} lines, {report.total_bytes} bytes; {report.matched_lines} "
            f"matched, {report.kept_lines} kept, {report.omitted_bytes} bytes left out"
        )
        self.screen.expect(
            (report.total_lines, report.matched_lines, report.kept_lines) == (LOG_LINES, 5, 3),
            "3 of 5 errors out of 200000 lines came back, and every line was counted",
        )

    def time_limit(self) -> None:
        """A time limit that costs nothing but the command."""
        self.screen.chapter(
            "A command that hangs", "Its time limit ends it, and only it; it even ignores SIGINT."
        )
        result = self.run(
            "answer=42; trap '' INT; echo waiting; python3 -c 'import time; time.sleep(600)'",
            timeout=1,
        )
        self.screen.expect(result.timed_out, "it is reported as a time limit")
        self.screen.expect(result.stdout == "waiting\n", "its output up to there is kept")
        after = self.run('trap - INT; echo "$answer, $STAGE"')
        self.screen.expect(after.stdout == "42, test\n", "the shell and its state are unharmed")

    def refusal(self) -> None:
        """A command that may not run."""
        self.screen.chapter(
            "A command that may not run", "Judged before it starts, by what it would run."
        )
        for script in (WIPE, DISGUISED):
            self.screen.command(script)
            try:
                self.session.run(script)
            except PolicyDenied as error:
                self.screen.error(error)
                self.screen.expect(
                    bool(error.rule and error.justification), "refused by a rule, with its reason"
                )
            else:
                self.screen.expect(False, "refused")
        mention = self.run(MENTION)
        self.screen.expect(mention.ok, "to speak of a command is not to run it")

    def redaction(self) -> None:
        """A secret in the output."""
        self.screen.chapter(
            "A secret", "DEPLOY_TOKEN is in the environment, and known to the server as secret."
        )
        scripts = (
            "env | grep TOKEN",
            "half=${DEPLOY_TOKEN%????????????}; "
            'printf %s "$half"; sleep 0.3; echo "${DEPLOY_TOKEN#"$half"}"',
            'echo "wrong token: $DEPLOY_TOKEN" >&2',
            "echo ghp_$(head -c 27 /dev/urandom | base64 | tr +/ ab)  # known by its shape",
        )
        results = [self.run(script) for script in scripts]
        seen = [result.stdout + result.stderr for result in results]
        self.screen.expect(
            all("[REDACTED:" in text for text in seen) and self.secret not in "".join(seen),
            "hidden: whole, in two pieces, on stderr, and by its shape alone",
        )

    def lost_answer(self) -> None:
        """The connection breaks, and the agent asks again."""
        self.screen.chapter(
            "A lost answer",
            "The agent does not know whether it deployed, and asks again by the same id.",
        )
        script = 'deployed=$((deployed + 1)); echo "deployed $deployed time(s)"'
        first = self.run(script, execution_id="deploy-1")
        again = self.run(script, execution_id="deploy-1")
        self.screen.expect(again.deduplicated, "the second call found the first one's execution")
        self.screen.expect(
            first.stdout == again.stdout == "deployed 1 time(s)\n",
            "it ran once, and answered twice",
        )

    def audit(self) -> None:
        """What the log says."""
        self.screen.chapter(
            "The audit log",
            "Each command stands in it before it starts, and again when it has ended.",
        )
        records = list(self.client.audit_records(session_id=self.session.id))
        rows = [read_record(record) for record in records]
        kinds = [row[1] for row in rows]
        first = max(0, kinds.index("denied") - 2) if "denied" in kinds else 0
        self.screen.table(rows[first : first + SHOWN_RECORDS])
        self.screen.note(f"{SHOWN_RECORDS} of {len(rows)} records")
        self.screen.expect(kinds.count("denied") == 2, "the two refusals are in it")
        self.screen.expect(
            kinds.count("intent") == kinds.count("outcome"), "every command has its outcome"
        )
        self.screen.expect(
            all(self.secret not in str(record) for record in records), "the secret is nowhere in it"
        )
        self.screen.expect(
            sum(row[2].startswith("deployed=") for row in rows) == 1, "the deployment is in it once"
        )

    def close(self) -> None:
        """Nothing is left behind."""
        self.screen.chapter("The end", "A process hides from its session; closing finds it.")
        self.run('cd /tmp && rm -r "$OLDPWD"')
        self.run("setsid sleep 987 >/dev/null 2>&1 </dev/null & sleep 0.3; echo started")
        closed = self.session.close()
        ended = [process.command for process in closed.ended_processes]
        self.screen.note(f"ended with the session: {', '.join(ended)}")
        self.screen.expect("sleep 987" in ended, "the detached process is gone as well")


def read_record(record: AuditRecord) -> tuple[str, str, str]:
    """A record as number, kind and words."""
    number = str(record.sequence)
    if record.HasField("execution_intent"):
        return number, "intent", one_line(record.execution_intent.command)
    if record.HasField("execution_denied"):
        denied = record.execution_denied
        return number, "denied", f"{one_line(denied.command)} (rule {denied.rule})"
    if record.HasField("execution_outcome"):
        outcome = record.execution_outcome
        cause = Cause.Name(outcome.cause).removeprefix("CAUSE_").lower()
        return number, "outcome", f"{cause}, {outcome.wall_time.ToMilliseconds()} ms"
    return number, str(record.WhichOneof("body")).replace("_", " "), ""


def one_line(command: str) -> str:
    """A command's first line."""
    first, _, rest = command.partition("\n")
    return f"{first} ..." if rest else first


def main() -> int:
    """Tells the story; 0 if all of it was so."""
    parser = argparse.ArgumentParser(description="An agent at work, as a story.")
    parser.add_argument("--server", metavar="PATH", help="the execgate binary")
    binary = find_binary(parser.parse_args().server)
    screen = Screen()
    secret = secrets.token_urlsafe(24)
    # Python goes by the second when it looks whether a file is newer than its cached form.
    env = {"DEPLOY_TOKEN": secret, "PYTHONDONTWRITEBYTECODE": "1"}
    begun = time.monotonic()
    with (
        running(binary, {"deploy-token": secret}) as server,
        Client(server.address, token=server.token) as client,
        client.session(env=env, timeout=20) as session,
    ):
        screen.title(f"execgate {client.capabilities().server_version}: an agent at work")
        try:
            Story(screen, client, session, secret).tell()
        except ExecgateError as error:
            screen.expect(False, f"no error comes in between ({error})")
    screen.summary(f"{time.monotonic() - begun:.1f} s, the start of the server included.")
    return 1 if screen.failures else 0


if __name__ == "__main__":
    sys.exit(main())
