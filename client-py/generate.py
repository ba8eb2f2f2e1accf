#!/usr/bin/env python3
"""Generates the stubs in `src/execgate/v1` from the protos.

    python3 generate.py            writes them
    python3 generate.py --check    compares, writes nothing, exits 1 on a difference

The two generators need protobuf runtimes that exclude each other, so each gets a
virtual environment of its own in `.generator/`, made at the first run. Only the
standard library is used here, and nothing but `src/execgate/v1` is written.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO_ROOT = HERE.parent / "proto"
PACKAGE = Path("execgate", "v1")
COMMITTED = HERE / "src" / PACKAGE
VENVS = HERE / ".generator"

# Newer generators write code that demands the newest protobuf runtime; what this one
# writes runs on protobuf 4.25 to 7. It has wheels for Python 3.7 to 3.12.
PROTOC = ("grpcio-tools==1.62.3", "protobuf==4.25.9", "setuptools==80.9.0")
MYPY_PLUGIN = ("mypy-protobuf==5.1.0", "protobuf==7.36.2")

PACKAGE_DOCSTRING = '"""Generated from the protos by generate.py; not edited by hand."""\n'


def environment(name: str, requirements: tuple[str, ...]) -> Path:
    """Returns the `bin` of a virtual environment that has exactly `requirements`."""
    root = VENVS / name
    stamp = root / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(root, clear=True, with_pip=True)
        pip = [str(root / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *requirements], check=True)
        stamp.write_text(wanted)
    return root / "bin"


def generate(into: Path) -> Path:
    """Generates everything below `into` and returns the folder of the stubs."""
    protoc = environment("protoc", PROTOC)
    plugins = environment("mypy", MYPY_PLUGIN)
    protos = sorted((PROTO_ROOT / PACKAGE).glob("*.proto"))
    command = [
        str(protoc / "python"),
        *("-m", "grpc_tools.protoc", f"--proto_path={PROTO_ROOT}"),
        *(f"--python_out={into}", f"--grpc_python_out={into}"),
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        *(f"--mypy_out=quiet:{into}", f"--mypy_grpc_out=quiet:{into}"),
        *(str(proto) for proto in protos),
    ]
    subprocess.run(command, check=True)
    stubs = into / PACKAGE
    for proto in protos:
        if "\nservice " not in proto.read_text():
            for suffix in ("py", "pyi"):
                (stubs / f"{proto.stem}_pb2_grpc.{suffix}").unlink()
    (stubs / "__init__.py").write_text(PACKAGE_DOCSTRING)
    return stubs


def differences(fresh: Path, committed: Path) -> list[str]:
    """Names the files that are not the same in both folders."""
    sources = ("*.py", "*.pyi")
    new = {path.name for pattern in sources for path in fresh.glob(pattern)}
    old = {path.name for pattern in sources for path in committed.glob(pattern)}
    _, changed, unreadable = filecmp.cmpfiles(fresh, committed, new & old, shallow=False)
    return sorted((new ^ old) | set(changed) | set(unreadable))


def main() -> int:
    """Generates, or checks."""
    parser = argparse.ArgumentParser(description="Generate the stubs from the protos.")
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        stale = differences(fresh, COMMITTED)
        if check and stale:
            print("stale stubs, run client-py/generate.py:", *stale, sep="\n  ")
            return 1
        if stale:
            shutil.rmtree(COMMITTED, ignore_errors=True)
            shutil.copytree(fresh, COMMITTED)
    print(f"{COMMITTED.relative_to(HERE)} is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
