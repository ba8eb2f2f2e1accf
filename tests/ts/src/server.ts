// The real server, started for tests: on a free port, with a data directory of its own.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Time that a server has to start, in milliseconds; far above what it needs. */
const START_LIMIT = 30_000;

/** The `execgate` binary, started. */
export class Server {
  private constructor(
    readonly address: string,
    readonly token: string,
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  /** Starts it and waits until it listens. */
  static async start(): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), "execgate-ts-"));
    const binary = process.env["EXECGATE_BIN"] ?? "../../target/debug/execgate";
    const child = spawn(binary, ["serve", "--listen", "127.0.0.1:0", "--data-dir", folder], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, EXECGATE_LOG: "warn" },
    });
    const watchdog = setTimeout(() => child.kill("SIGKILL"), START_LIMIT);
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        const address = /^listening tcp (\S+)/.exec(line)?.[1];
        if (address !== undefined) {
          child.stdout.resume();
          const token = (await readFile(join(folder, "token"), "utf8")).trim();
          return new Server(address, token, child, folder);
        }
      }
    } finally {
      clearTimeout(watchdog);
    }
    throw new Error(`${binary} did not start`);
  }

  /** Ends it in good order. */
  async stop(): Promise<void> {
    const ended = once(this.child, "exit");
    this.child.kill("SIGTERM");
    await ended;
    await rm(this.folder, { recursive: true });
  }
}
