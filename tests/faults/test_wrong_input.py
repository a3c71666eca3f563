"""Wrong inputs by the hundred, each of which has to end in a sentence: `make test-faults`.

In one process, through `main` of the commands, so that a thousand take minutes; what is about the start of a process or
about its streams is in tests/integration/test_streams.py.
"""

import contextlib
import io
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from odenet.main import main
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import connect
from pipeline.util.errors import OdenetError
from tests.faults.tally import FOUND, INJECTED, SEED, SEEDS
from tests.faults.wrong_inputs import KINDS, QUICK, Generator, WrongInput, describe

pytestmark = pytest.mark.faults

LONGEST_SECONDS = 60
"""Of one input."""


class Hung(BaseException):
    """An input has not ended."""


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    """The inputs, and a store with two runs for them to go wrong on."""
    folder = tmp_path_factory.mktemp("wrong")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODENET_HOME", str(folder / "home"))
        patch.delenv("ODENET_MONGO_URL", raising=False)
        patch.setenv("TERM", "dumb")
        patch.chdir(folder)
        for seed in (0, 1):
            assert main(["run", "with", *QUICK, f"seed={seed}"]) == 0
        assert main(["backup", "good.zip"]) == 0
        patch.setattr(connect, "__defaults__", (None, 0.3))  # of stores that do not answer there are many
        _refuse_to_sweep(patch)
        yield Generator(SEED, folder)
    for store in [folder.parent / "store", *folder.rglob("store")]:  # homes that variables named are started, too
        if store.is_dir():
            EmbeddedStore(store.parent).stop()


def _refuse_to_sweep(patch: pytest.MonkeyPatch) -> None:
    """A space that is right after all is checked as ever, and no cluster is started for it."""
    from pipeline.sweeps.ray_environment import LOCAL, prepare

    prepare(LOCAL)
    from experiments import sweep
    from experiments.sweep_plan import Plan

    def sweep_tracked(plan: Plan, _: str) -> None:
        plan.check()
        raise OdenetError("this space can be searched")

    patch.setattr(sweep, "sweep_tracked", sweep_tracked)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_input_ends_in_a_sentence_and_never_in_a_traceback(generator: Generator, kind: str) -> None:
    wrong = []
    SEEDS[kind] = SEED
    for given in generator.of(kind):
        INJECTED[kind] += 1
        if harm := harm_of(given):
            FOUND[kind] += 1
            wrong.append((given, harm))
    assert not wrong, f"{len(wrong)} of {INJECTED[kind]} with seed {SEED}:\n{describe(wrong)}"


def harm_of(given: WrongInput) -> str | None:
    """What is wrong with how the command ends; None where nothing is."""
    out, err = io.StringIO(), io.StringIO()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in given.environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdin", io.StringIO(given.stdin))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(_bounded())
        try:
            status = main(given.words)
        except BaseException as error:
            return f"{type(error).__name__} came out: {error} after {time.monotonic() - began:.0f} s"
    printed = err.getvalue()
    if "Traceback" in printed or "Traceback" in out.getvalue():
        return f"a traceback: {printed[-300:]}"
    if found := re.search(r"should not have \((.*?)\): the traceback is in (\S+),", printed, re.DOTALL):
        return f"not foreseen: {found[1][:200]} {_place(Path(found[2]))}"
    if "should not have" in printed:
        return f"not foreseen: {printed[-300:]}"
    lines = printed.splitlines()
    sentences = ("odenet: ", "Remove it? [y/N] nothing was removed")
    if status != 0 and given.words[:1] != ("doctor",) and not any(line.startswith(sentences) for line in lines):
        return f"status {status} without a sentence: {printed[-200:]!r}"
    if any(len(line) > 5000 for line in lines):
        return f"a line of {max(map(len, lines))} characters"
    return None


def _place(file: Path) -> str:
    """The last lines of ours in a traceback."""
    frames = re.findall(r'File "\S*?((?:odenet|pipeline|experiments)/\S+)", line (\d+)', file.read_text())
    return " < ".join(f"{name}:{line}" for name, line in reversed(frames[-2:]))


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise Hung(f"longer than {LONGEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    left = signal.alarm(LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(left)
        signal.signal(signal.SIGALRM, before)
