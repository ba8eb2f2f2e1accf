"""The enums here have exactly the values of the protos."""

from __future__ import annotations

from enum import Enum

import pytest

from execgate import enums
from execgate.v1 import (
    capabilities_pb2,
    checkpoint_pb2,
    events_pb2,
    execution_pb2,
    outcome_pb2,
    session_pb2,
    types_pb2,
)

PROTOS = (
    capabilities_pb2,
    checkpoint_pb2,
    events_pb2,
    execution_pb2,
    outcome_pb2,
    session_pb2,
    types_pb2,
)

WIRES = {name: value for name, value in vars(enums).items() if isinstance(value, enums.Wire)}


@pytest.mark.parametrize("name", WIRES)
def test_enum_is_complete(name: str) -> None:
    class_name = name.title().replace("_", "")
    proto = next(vars(module)[class_name] for module in PROTOS if class_name in vars(module))
    mine: type[Enum] = vars(enums)[class_name]
    assert [f"{name}_{member.name}" for member in mine] == proto.keys()
    assert [WIRES[name].write(member) for member in mine] == proto.values()
    assert [WIRES[name].read(number) for number in proto.values()] == list(mine)
    assert str(WIRES[name].read(12345)) == "UNSPECIFIED"
