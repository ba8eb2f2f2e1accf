// What TypeScript code makes of the API, with generated stubs, against the real server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Code, ConnectError } from "@connectrpc/connect";

import { connect, type Execgate, failureOf } from "./client.js";
import { ErrorReason } from "./gen/execgate/v1/errors_pb.js";
import { Cause } from "./gen/execgate/v1/outcome_pb.js";
import { SessionState } from "./gen/execgate/v1/session_pb.js";
import { Channel } from "./gen/execgate/v1/types_pb.js";
import { Server } from "./server.js";

let server: Server;
let gate: Execgate;

before(async () => {
  server = await Server.start();
  gate = connect(server.address, server.token);
});

after(async () => {
  await server.stop();
});

/** The error that a call ends with. */
async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  assert.fail("the call was done");
}

function script(value: string) {
  return { command: { case: "script" as const, value } };
}

async function newSession(): Promise<string> {
  const { session } = await gate.sessions.createSession({});
  assert.equal(session?.state, SessionState.READY);
  return session.sessionId;
}

test("state persists between two runs", async () => {
  const sessionId = await newSession();
  await gate.exec.run({ sessionId, spec: script("cd /tmp; export GREETING=hello") });
  const { result } = await gate.exec.run({ sessionId, spec: script("echo $GREETING from $PWD") });
  assert.equal(new TextDecoder().decode(result?.stdout), "hello from /tmp\n");
  assert.equal(result?.finished?.cwd, "/tmp");
  const { session } = await gate.sessions.closeSession({ sessionId });
  assert.equal(session?.state, SessionState.CLOSED);
});

test("a stream has Started first, output by channel and offset, Finished last", async () => {
  const sessionId = await newSession();
  const kinds: string[] = [];
  const output = new Map<Channel, string>();
  let code: number | undefined;
  const command = "for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.1; done; (exit 7)";
  for await (const { event } of gate.exec.exec({ sessionId, spec: script(command) })) {
    assert.ok(event);
    kinds.push(event.kind.case ?? "unknown");
    if (event.kind.case === "output") {
      const { channel, offset, data } = event.kind.value;
      const before = output.get(channel) ?? "";
      assert.equal(offset, BigInt(before.length));
      output.set(channel, before + new TextDecoder().decode(data));
    } else if (event.kind.case === "finished") {
      assert.equal(event.kind.value.cause, Cause.EXITED);
      const ended = event.kind.value.outcome?.result;
      code = ended?.case === "exited" ? ended.value.code : undefined;
    }
  }
  assert.deepEqual([kinds.at(0), kinds.at(-1)], ["started", "finished"]);
  assert.equal(output.get(Channel.STDOUT), "1\n2\n3\n");
  assert.equal(output.get(Channel.STDERR), "e1\ne2\ne3\n");
  assert.equal(code, 7);
});

test("a denied command is an error with a reason, a rule and a suggestion", async () => {
  const sessionId = await newSession();
  // Harmless even if it were not denied: there is no such disk and it writes nothing.
  const spec = script("dd if=/dev/null of=/dev/sdzz count=0");
  const error = await errorOf(gate.exec.run({ sessionId, spec }));
  assert.equal(error.code, Code.PermissionDenied);
  const { reason, metadata } = failureOf(error);
  assert.equal(reason, ErrorReason.POLICY_DENIED);
  assert.equal(metadata["rule"], "no-raw-write");
  assert.ok(metadata["suggestion"]);
});

test("a stream that is refused ends with the same kind of error", async () => {
  const sessionId = await newSession();
  const running = gate.exec.exec({ sessionId, executionId: "long", spec: script("sleep 30") });
  const events = running[Symbol.asyncIterator]();
  await events.next();
  const second = gate.exec.exec({ sessionId, spec: script("true") })[Symbol.asyncIterator]();
  const error = await errorOf(second.next());
  assert.equal(error.code, Code.FailedPrecondition);
  const { reason, metadata } = failureOf(error);
  assert.equal(reason, ErrorReason.SESSION_BUSY);
  assert.equal(metadata["execution_id"], "long");
  await gate.sessions.closeSession({ sessionId });
});

test("a wrong token is told", async () => {
  const stranger = connect(server.address, "0".repeat(64));
  const error = await errorOf(stranger.sessions.createSession({}));
  assert.equal(error.code, Code.Unauthenticated);
  assert.equal(failureOf(error).reason, ErrorReason.UNAUTHENTICATED);
});
