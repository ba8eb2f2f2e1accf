"""docs/other-languages.md names the versions that tests/ts is tested with."""

from __future__ import annotations

import json
import re

from running_server import REPOSITORY

PAGE = (REPOSITORY / "docs" / "other-languages.md").read_text(encoding="utf-8")


def test_packages_are_those_of_the_tested_client() -> None:
    package = json.loads((REPOSITORY / "tests/ts/package.json").read_text(encoding="utf-8"))
    tested = {**package["dependencies"], **package["devDependencies"]}
    named = dict(re.findall(r"(@?[\w-]+(?:/[\w-]+)?)@([0-9]+\.[0-9.]*[0-9])", PAGE))
    buf = named.pop("@bufbuild/buf")
    assert named == tested
    versions = (REPOSITORY / "scripts/versions.sh").read_text(encoding="utf-8")
    assert f"@bufbuild/buf@{buf}'" in versions


def test_program_uses_the_tested_plugin_options() -> None:
    tested = (REPOSITORY / "tests/ts/buf.gen.yaml").read_text(encoding="utf-8")
    for option in ("target=ts", "import_extension=js", "node_modules/.bin/protoc-gen-es"):
        assert option in tested
        assert option in PAGE
