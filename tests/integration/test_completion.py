"""Completion, as a real shell asks for it and as an interactive bash shows it."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.presets import presets
from tests.helpers.paths import ROOT

SWITCHED_ON = 'eval "$(_ODENET_COMPLETE=bash_source odenet)"'
"""The line of the README."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With an `odenet` on the path that is the one under test."""
    command = tmp_path / "bin" / "odenet"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m odenet.main "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "ODENET_HOME": str(tmp_path / "home")}


def typed(keys: str, environment: dict[str, str]) -> str:
    """The line that an interactive bash has after these keys, spaces at its end included."""
    shell = f"stty -echo\nbind 'set enable-bracketed-paste off'\nPS1=\n{SWITCHED_ON}\n"
    to_the_end_and_print = "'\x01printf '<%s>\\n' '\x05\n"
    ours, other = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        env={**environment, "TERM": "dumb"},
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    ) as bash:
        os.close(other)
        os.write(ours, f"{shell}{keys}{to_the_end_and_print}exit\n".encode())
        said = b""
        try:
            while part := os.read(ours, 4096):
                said += part
        except OSError:  # how Linux tells that the other end is closed
            pass
        bash.wait()
    os.close(ours)
    return said.decode().rpartition("<")[2].partition(">")[0]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("odenet res\t", "odenet res"),  # restore, resume
        ("odenet dat\tp\t", "odenet data prepare "),
        ("odenet sweep --fr\t", "odenet sweep --fresh-seeds "),
        ("odenet sweep --con\t", "odenet sweep --constraint "),
        ("odenet sweeps comp\t", "odenet sweeps compare "),
        ("odenet evaluate 3 --control s\t", "odenet evaluate 3 --control sample "),
        ("odenet run w\todenet_si\tdig\t", "odenet run with odenet_simple digits "),
        ("odenet run --json with training.pat\t", "odenet run --json with training.patience="),
        ("odenet run with training.lr=\t", "odenet run with training.lr="),
        ("odenet run with training.lr=0.1 training.weight\t", "odenet run with training.lr=0.1 training.weight_decay="),
        ("odenet resume 3 with training.pati\t", "odenet resume 3 with training.patience="),
        ("odenet rerun 3 with odenet_si\t", "odenet rerun 3 with odenet_si"),  # its configuration is the run's
        ("odenet show \t", "odenet show "),
        ("odenet restore nigh\t", "odenet restore nightly.zip "),
    ],
)
def test_bash_completes_the_line(
    keys: str, line: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightly.zip").touch()
    environment["PYTHONPATH"] = str(ROOT)
    monkeypatch.chdir(tmp_path)
    assert typed(keys, environment) == line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_the_same_words(shell: str, environment: dict[str, str]) -> None:
    def answer(instruction: str, **asked: str) -> str:
        told = {**environment, "_ODENET_COMPLETE": f"{shell}_{instruction}", **asked}
        return subprocess.run(["odenet"], env=told, capture_output=True, text=True, check=True).stdout

    script = answer("source")
    assert f"_ODENET_COMPLETE={shell}_complete" in script
    assert shell == "fish" or ("nospace" if shell == "bash" else "-S ''") in script, "no space after training.lr="
    position = "odenet_" if shell == "fish" else "3"  # fish gives the word itself
    words = answer("complete", COMP_WORDS="odenet run with odenet_", COMP_CWORD=position)
    assert [name for name in presets() if name in re.findall(r"\w+", words)] == ["odenet_simple", "odenet_complex"]
    assert "resume" in answer("complete", COMP_WORDS="odenet r", COMP_CWORD="r" if shell == "fish" else "1")


@pytest.mark.parametrize("line", ["odenet ", "odenet run with ", "odenet doctor --", "odenet data list --"])
def test_completion_does_not_wait_for_the_imports_of_a_network(line: str, environment: dict[str, str]) -> None:
    asked = {"_ODENET_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    command = [sys.executable, "-X", "importtime", "-m", "odenet.main"]
    done = subprocess.run(command, env=environment | asked, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.stdout.startswith("plain,")
    assert "click" in imported
    assert not imported & {"torch", "ray", "sacred", "pandas", "matplotlib", "pymongo"}
