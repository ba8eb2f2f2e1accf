"""The reference: a page for each .proto file, and an index."""

from __future__ import annotations

import re

from descriptors import (
    ENUM_VALUE,
    FILE_ENUM,
    FILE_MESSAGE,
    FILE_SERVICE,
    MESSAGE_FIELD,
    MESSAGE_ONEOF,
    PACKAGE,
    SERVICE_METHOD,
    File,
)
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    MethodDescriptorProto,
)
from markdown import cell, prose, table

WELL_KNOWN = "https://protobuf.dev/reference/protobuf/google.protobuf/"

INTRODUCTION = """\
# API reference

Package `execgate.v1`, made from the comments of the [.proto files](../../proto/execgate/v1)
by `make docs`. [errors.md](../errors.md) lists what a call can fail with,
[versioning.md](../versioning.md) what changes between versions, and
[grpcurl.md](../grpcurl.md) shows the calls by hand. Beside these services the server has
`grpc.health.v1.Health` and reflection, `v1` and `v1alpha`."""


class Reference:
    """All pages; knows where each type is described."""

    def __init__(self, files: list[File], reasons: set[str]) -> None:
        self._files = files
        self._reasons = reasons
        self._home = {f".{PACKAGE}.{name}": file.stem for file in files for name in file.types()}

    def pages(self) -> dict[str, str]:
        """Markdown by file name."""
        pages = {f"{file.stem}.md": self._page(file) for file in self._files}
        return {"README.md": self._index(), **pages}

    def _index(self) -> str:
        sections = [INTRODUCTION]
        for file in self._files:
            for service in file.proto.service:
                rows = [
                    (f"[{rpc.name}]({file.stem}.md#{slug(rpc.name)})", first_sentence(file, *path))
                    for rpc, path in methods(file, service.name)
                ]
                title = f"## {service.name}\n\n[{file.stem}.md]({file.stem}.md)"
                sections.append(f"{title}\n\n{table(('RPC', ''), rows)}")
        rows = []
        for file in self._files:
            types = ", ".join(
                f"[{name}]({file.stem}.md#{slug(name)})" for name in sorted(file.types())
            )
            rows.append((f"[{file.stem}.md]({file.stem}.md)", types))
        return "\n\n".join([*sections, f"## Messages and enums\n\n{table(('page', ''), rows)}"])

    def _page(self, file: File) -> str:
        sections = [f"# {file.stem}.proto", prose(file.headline())]
        for index in range(len(file.proto.service)):
            sections += self._service(file, index)
        if file.proto.message_type:
            sections.append("## Messages")
        for index, message in enumerate(file.proto.message_type):
            sections += [f"### {message.name}", prose(file.comment(FILE_MESSAGE, index))]
            if message.field:
                rows = self._fields(file, message, index)
                sections.append(table(("field", "type", "no.", ""), rows))
        if file.proto.enum_type:
            sections.append("## Enums")
        for index in range(len(file.proto.enum_type)):
            sections += values(file, index)
        headings = [slug(part) for section in sections for part in re.findall("^#+ (.*)", section)]
        if len(headings) != len(set(headings)):
            raise SystemExit(f"{file.stem}.md: two headings are the same, links would be wrong")
        return "\n\n".join(sections)

    def _service(self, file: File, index: int) -> list[str]:
        service = file.proto.service[index]
        comment = self._with_reasons(prose(file.comment(FILE_SERVICE, index)))
        sections = [f"## {service.name}", comment]
        for rpc, path in methods(file, service.name):
            asked = ("stream " if rpc.client_streaming else "") + self._link(rpc.input_type)
            told = ("stream " if rpc.server_streaming else "") + self._link(rpc.output_type)
            sections += [f"### {rpc.name}", f"{rpc.name} ({asked}) returns ({told})"]
            sections.append(self._with_reasons(prose(file.comment(*path))))
        return sections

    def _fields(self, file: File, message: DescriptorProto, index: int) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        told: set[int] = set()
        for place, field in enumerate(message.field):
            choice = field.HasField("oneof_index") and not field.proto3_optional
            if choice and field.oneof_index not in told:
                told.add(field.oneof_index)
                name = message.oneof_decl[field.oneof_index].name
                path = (FILE_MESSAGE, index, MESSAGE_ONEOF, field.oneof_index)
                rows.append((f"*one of* `{name}`", "", "", cell(file.comment(*path))))
            comment = file.comment(FILE_MESSAGE, index, MESSAGE_FIELD, place)
            name = f"{'└ ' if choice else ''}`{field.name}`"
            rows.append((name, self._type(message, field), str(field.number), cell(comment)))
        return rows

    def _type(self, message: DescriptorProto, field: FieldDescriptorProto) -> str:
        kind = field.type_name and field.type_name.rpartition(".")[2]
        entry = next((nested for nested in message.nested_type if nested.name == kind), None)
        if entry is not None and entry.options.map_entry:
            key, value = (self._type(entry, part) for part in entry.field)
            return rf"map\<{key}, {value}>"
        name = field.type_name and self._link(field.type_name)
        name = name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return f"repeated {name}"
        return f"optional {name}" if field.proto3_optional else name

    def _link(self, full_name: str) -> str:
        name = full_name.rpartition(".")[2]
        if full_name in self._home:
            return f"[{name}]({self._home[full_name]}.md#{slug(name)})"
        if full_name.startswith(".google.protobuf."):
            return f"[{name}]({WELL_KNOWN}#{slug(name)})"
        raise SystemExit(f"no page describes {full_name}")

    def _with_reasons(self, text: str) -> str:
        """Links reasons to the table; the code before a slash is none."""

        def link(found: re.Match[str]) -> str:
            name = found.group()
            return f"[{name}](../errors.md#{name.lower()})" if name in self._reasons else name

        return re.sub(r"\b[A-Z][A-Z_]+\b(?!\s+/)", link, text)


def values(file: File, index: int) -> list[str]:
    """An enum; that of the errors has a page of its own."""
    enum = file.proto.enum_type[index]
    sections = [f"### {enum.name}", prose(file.comment(FILE_ENUM, index))]
    if enum.name == "ErrorReason":
        return [*sections, "Its values are the table in [errors.md](../errors.md)."]
    path = (FILE_ENUM, index, ENUM_VALUE)
    rows = [
        (f"`{value.name}`", str(value.number), cell(file.comment(*path, place)))
        for place, value in enumerate(enum.value)
    ]
    return [*sections, table(("value", "no.", ""), rows)]


def methods(file: File, service: str) -> list[tuple[MethodDescriptorProto, tuple[int, ...]]]:
    """The RPCs of a service with the paths of their comments."""
    return [
        (rpc, (FILE_SERVICE, index, SERVICE_METHOD, place))
        for index, described in enumerate(file.proto.service)
        if described.name == service
        for place, rpc in enumerate(described.method)
    ]


def first_sentence(file: File, *path: int) -> str:
    """What an RPC is for, in its comment's first sentence."""
    return cell(re.split(r"(?<=\.)\s", file.comment(*path), maxsplit=1)[0])


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")
