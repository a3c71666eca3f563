"""Interruptions that come where Python makes something else of them."""

import pytest

from odenet import main as program


class Interrupted:
    """What an interruption falls into while the class that it is in is being made."""

    def __set_name__(self, _owner: type, _name: str) -> None:
        raise KeyboardInterrupt


def test_an_interruption_while_a_class_is_made_ends_a_command_as_any_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "_run", lambda _arguments: type("Made", (), {"field": Interrupted()}))
    assert program.main(["runs"]) == 130
    assert capsys.readouterr().err == "odenet: interrupted\n"
