"""What the tests of the solver share."""

import pytest

from pipeline.ode import memory
from tests.helpers.ode_modes import MODES


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way in which a solve is differentiated."""
    name: str = request.param
    if name in ("kept", "starved"):
        monkeypatch.setattr(memory, "SMALL_STATE", -1)
    if name == "starved":
        monkeypatch.setattr(memory, "free_memory", lambda _device: 0)
    return name
