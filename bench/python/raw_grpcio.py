"""grpcio with the generated stubs and nothing above them: what a client in Python cannot beat.

    python raw_grpcio.py ADDRESS SESSION

The token, where the server wants one, is in `$EXECGATE_TOKEN`. `nothing` is the empty unary
RPC and `memory` a stream with no shell behind it, which only the floor has; the session must
exist, where the server is not the floor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

import grpc
from answering import Act, answer, each, whole

from execgate.v1 import exec_pb2, execution_pb2
from execgate.v1.exec_pb2_grpc import ExecServiceStub

#: As large as the answers of our own client may be, in bytes.
MAX_RECEIVE_BYTES = 64 * 1024 * 1024


def start() -> tuple[str, Mapping[str, Act]]:
    """Connects."""
    address, session = sys.argv[1:]
    stub = ExecServiceStub(_channel(address))
    token = os.environ.get("EXECGATE_TOKEN")
    metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def nothing(_: str) -> None:
        stub.GetExecution(exec_pb2.GetExecutionRequest(), metadata=metadata)

    def run(command: str) -> None:
        spec = execution_pb2.ExecutionSpec(script=command)
        stub.Run(exec_pb2.RunRequest(session_id=session, spec=spec), metadata=metadata)

    def follow(command: str) -> tuple[int, int]:
        spec = execution_pb2.ExecutionSpec(script=command)
        request = exec_pb2.ExecRequest(session_id=session, spec=spec)
        return _count(stub.Exec(request, metadata=metadata))

    def memory(size: str) -> tuple[int, int]:
        return _count(stub.Attach(exec_pb2.AttachRequest(execution_id=size), metadata=metadata))

    acts = {
        "nothing": each(nothing),
        "run": each(run),
        "exec": each(follow),
        "stream": whole(follow),
        "memory": whole(memory),
    }
    return f"grpcio {grpc.__version__}", acts


def _count(responses: Iterable[exec_pb2.ExecResponse | exec_pb2.AttachResponse]) -> tuple[int, int]:
    count = chunks = 0
    for response in responses:
        data = response.event.output.data
        if data:
            count += len(data)
            chunks += 1
    return count, chunks


def _channel(address: str) -> grpc.Channel:
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        ("grpc.enable_http_proxy", 0),
        # The faster of the two ways in which grpcio reads a stream.
        ("SingleThreadedUnaryStream", 1),
    ]
    if address.startswith("unix:"):
        # Without it the authority is the socket's path, which tonic resets streams for.
        options.append(("grpc.default_authority", "localhost"))
    return grpc.insecure_channel(address, options=options)


answer(start)
