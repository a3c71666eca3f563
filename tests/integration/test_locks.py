"""The lock files: what they promise to those who install from them."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"base": {"parquet"}, "dev": {"parquet", "test", "docs"}, "bench": {"bench"}}
"""Lock file to the extras that it covers."""


def locked(name: str) -> list[tuple[Requirement, int]]:
    """The pins of a lock file, each with the number of its hashes."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    entries = re.findall(r"^([a-z].*?)((?: \\\n +--hash=sha256:[0-9a-f]{64})*)$", text, re.MULTILINE)
    return [(Requirement(pin), hashes.count("--hash")) for pin, hashes in entries]


def test_every_lock_file_is_covered_here() -> None:
    assert {path.stem for path in (ROOT / "requirements").iterdir()} == set(EXTRAS)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_file_has_all_that_the_project_asks_for_in_versions_that_it_allows(name: str) -> None:
    versions: dict[str, list[str]] = {}
    for pin, _ in locked(name):
        (exactly,) = pin.specifier
        assert exactly.operator == "=="
        versions.setdefault(pin.name, []).append(exactly.version)
    extras = [line for extra in EXTRAS[name] for line in PROJECT["optional-dependencies"][extra]]
    for asked in map(Requirement, [*PROJECT["dependencies"], *extras]):
        if asked.name != PROJECT["name"]:
            for version in versions[canonicalize_name(asked.name)]:
                assert asked.specifier.contains(version, prereleases=True), asked


@pytest.mark.parametrize("name", EXTRAS)
def test_every_package_of_a_lock_file_has_its_hashes_and_no_address(name: str) -> None:
    assert not [pin for pin, hashes in locked(name) if hashes == 0]
    assert not re.search(r"://|index-url|find-links", (ROOT / "requirements" / f"{name}.lock").read_text())


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0", "3.13.0"])
@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_file_has_one_version_of_each_package_for_every_python(name: str, python: str) -> None:
    machine = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": "linux",
    }
    names = [pin.name for pin, _ in locked(name) if pin.marker is None or pin.marker.evaluate(machine)]
    assert len(names) == len(set(names))
    assert {"torch", "triton", "numpy", "scipy", "ray"} <= set(names)


def test_lock_files_agree_on_what_they_share() -> None:
    dev = {str(pin) for pin, _ in locked("dev")}
    named = {pin.name for pin, _ in locked("dev")}
    for name in ("base", "bench"):
        # Where the marker alone differs, another package asked for it under other conditions.
        differing = {str(pin).partition(";")[0] for pin, _ in locked(name) if pin.name in named}
        assert differing <= {pin.partition(";")[0] for pin in dev}
