"""The executions of a fake server. What is not here it answers as a server too old would."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc

from .. import errors
from ..v1 import events_pb2, exec_pb2, outcome_pb2, policy_pb2, types_pb2
from ..v1.exec_pb2_grpc import ExecServiceServicer
from .answer import Answer, read_command
from .execution import read_range
from .world import HOME, Refused, World, refusals


class FakeExecutions(ExecServiceServicer):
    """Executions."""

    def __init__(self, world: World) -> None:
        self._world = world

    def Exec(
        self, request: exec_pb2.ExecRequest, context: grpc.ServicerContext
    ) -> Iterator[exec_pb2.ExecResponse]:
        """Starts a command and follows it."""
        with refusals(context):
            self._world.check(context)
            execution, found = self._world.start(request, self._active(context))
            for event in execution.follow(self._active(context)):
                yield exec_pb2.ExecResponse(event=_deduplicated(event, found))

    def Run(
        self, request: exec_pb2.RunRequest, context: grpc.ServicerContext
    ) -> exec_pb2.RunResponse:
        """Runs a command to its end."""
        with refusals(context):
            self._world.check(context)
            execution, found = self._world.start(request, self._active(context))
            result = execution.result(self._active(context))
            result.deduplicated = found
            return exec_pb2.RunResponse(result=result)

    def Attach(
        self, request: exec_pb2.AttachRequest, context: grpc.ServicerContext
    ) -> Iterator[exec_pb2.AttachResponse]:
        """Follows an execution from its beginning, without what lies before the offsets."""
        with refusals(context):
            self._world.check(context)
            execution = self._world.execution(request.session_id, request.execution_id)
            offsets = {wanted.channel: wanted.offset for wanted in request.offsets}
            for event in execution.follow(self._active(context)):
                late = _deduplicated(event, True)
                if late.HasField("output"):
                    skip = offsets.get(late.output.channel, 0) - late.output.offset
                    if skip >= len(late.output.data):
                        continue
                    if skip > 0:
                        late.output.offset += skip
                        late.output.data = late.output.data[skip:]
                yield exec_pb2.AttachResponse(event=late)

    def GetExecution(
        self, request: exec_pb2.GetExecutionRequest, context: grpc.ServicerContext
    ) -> exec_pb2.GetExecutionResponse:
        """Looks an execution up."""
        with refusals(context):
            self._world.check(context)
            execution = self._world.execution(request.session_id, request.execution_id)
            return exec_pb2.GetExecutionResponse(execution=execution.describe())

    def ListExecutions(
        self, request: exec_pb2.ListExecutionsRequest, context: grpc.ServicerContext
    ) -> exec_pb2.ListExecutionsResponse:
        """Lists a session's executions, newest first, on one page."""
        with refusals(context):
            self._world.check(context)
            known = self._world.session(request.session_id).executions
            return exec_pb2.ListExecutionsResponse(
                executions=[execution.describe() for execution in reversed(known.values())]
            )

    def ReadOutput(
        self, request: exec_pb2.ReadOutputRequest, context: grpc.ServicerContext
    ) -> exec_pb2.ReadOutputResponse:
        """Reads a range of bytes; a budget leaves nothing out."""
        with refusals(context):
            self._world.check(context)
            execution = self._world.execution(request.session_id, request.execution_id)
            data = read_range(execution, request)
            return exec_pb2.ReadOutputResponse(
                data=data,
                offset=request.range.offset,
                next_offset=request.range.offset + len(data),
                end_offset=len(execution.output(request.channel)),
                complete=not execution.running,
            )

    def WriteStdin(
        self, request: exec_pb2.WriteStdinRequest, context: grpc.ServicerContext
    ) -> exec_pb2.WriteStdinResponse:
        """Takes input; the answer is sought at its end."""
        with refusals(context):
            self._world.check(context)
            execution = self._world.execution(request.session_id, request.execution_id)
            with execution.changed:
                if not execution.stdin_open:
                    raise Refused(
                        errors.FailedPrecondition("its input is closed", reason="STDIN_NOT_OPEN")
                    )
                end = len(execution.stdin)
                offset = request.offset if request.HasField("offset") else end
                if offset > end:
                    raise Refused(
                        errors.OutOfRange(
                            f"the next byte is {end}",
                            reason="OFFSET_OUT_OF_RANGE",
                            metadata={"next_offset": str(end)},
                        )
                    )
                execution.stdin += request.data[end - offset :]
                next_offset = len(execution.stdin)
            if request.eof:
                self._world.finish_input(execution)
                execution.stdin_open = False
            return exec_pb2.WriteStdinResponse(next_offset=next_offset)

    def Signal(
        self, request: exec_pb2.SignalRequest, context: grpc.ServicerContext
    ) -> exec_pb2.SignalResponse:
        """Ends a command."""
        with refusals(context):
            self._world.check(context)
            execution = self._world.execution(request.session_id, request.execution_id)
            if not execution.running:
                raise Refused(
                    errors.FailedPrecondition("it has ended", reason="EXECUTION_NOT_RUNNING")
                )
            name = types_pb2.SignalKind.Name(request.signal)[len("SIGNAL_KIND_") :]
            execution.signal(name, outcome_pb2.CAUSE_SIGNALED_BY_REQUEST)
            return exec_pb2.SignalResponse(process_count=1, state=execution.describe().state)

    def EvaluatePolicy(
        self, request: exec_pb2.EvaluatePolicyRequest, context: grpc.ServicerContext
    ) -> exec_pb2.EvaluatePolicyResponse:
        """Allows what no rule answers with a denial."""
        with refusals(context):
            self._world.check(context)
            asked = exec_pb2.ExecRequest(session_id=request.session_id, spec=request.spec)
            reply = self._world.find(read_command(asked, ""), HOME, taken=False)
            error = reply.error if isinstance(reply, Answer) else None
            verdict = policy_pb2.PolicyVerdict(decision=policy_pb2.DECISION_ALLOW)
            if isinstance(error, errors.PolicyDenied):
                verdict = policy_pb2.PolicyVerdict(
                    decision=policy_pb2.DECISION_DENY,
                    rule_id=error.rule,
                    reason=error.justification,
                    suggestion=error.suggestion,
                )
            return exec_pb2.EvaluatePolicyResponse(verdict=verdict)

    def _active(self, context: grpc.ServicerContext) -> Callable[[], bool]:
        return lambda: bool(context.is_active()) and not self._world.stopping.is_set()


def _deduplicated(event: events_pb2.ExecEvent, found: bool) -> events_pb2.ExecEvent:
    copy = events_pb2.ExecEvent()
    copy.CopyFrom(event)
    if found and copy.HasField("started"):
        copy.started.deduplicated = True
    return copy
