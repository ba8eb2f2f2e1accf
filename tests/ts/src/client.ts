// A small typed client over the generated stubs: what docs/other-languages.md shows.
// It adds the token to each call and reads errors; everything else is the API itself.

import { type Client, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { ErrorReason } from "./gen/execgate/v1/errors_pb.js";
import { ExecService } from "./gen/execgate/v1/exec_pb.js";
import { SessionService } from "./gen/execgate/v1/session_pb.js";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** The services of one server. */
export interface Execgate {
  readonly sessions: Client<typeof SessionService>;
  readonly exec: Client<typeof ExecService>;
}

/** Why a call failed, as the server said it. */
export interface Failure {
  readonly reason: ErrorReason;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A client of the server at `address` (`HOST:PORT`). */
export function connect(address: string, token: string): Execgate {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = createGrpcTransport({
    baseUrl: `http://${address}`,
    interceptors: [authorize],
  });
  return {
    sessions: createClient(SessionService, transport),
    exec: createClient(ExecService, transport),
  };
}

/** The server's reason in an error; UNSPECIFIED for one that this client does not know. */
export function failureOf(error: unknown): Failure {
  const [info] = ConnectError.from(error).findDetails(ErrorInfoSchema);
  if (info?.domain !== "execgate.dev") {
    return { reason: ErrorReason.UNSPECIFIED, metadata: {} };
  }
  const known = ErrorReason[info.reason as keyof typeof ErrorReason];
  return { reason: known ?? ErrorReason.UNSPECIFIED, metadata: info.metadata };
}
