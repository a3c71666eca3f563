"""Those of Sacred's options that a tracked experiment has to answer by itself."""

from collections.abc import Sequence

from pipeline.config.config import with_name_of_now
from pipeline.config.overrides import literal
from pipeline.tracking import provenance
from pipeline.util.errors import InvalidInput

ENFORCE_CLEAN = ("-e", "--enforce_clean")
"""Sacred asks the experiment's repositories, which are the observer's to record here."""

PDB = ("-D", "--pdb")


def check_sacred_options(words: Sequence[str]) -> list[str]:
    """The words without those that are answered here, keys by their names of now.

    Raises:
        InvalidInput: the sources have to be committed, and are not; or a debugger is asked for.
    """
    if any(word in PDB for word in words):
        raise InvalidInput(
            f"{PDB[1]}: a failure is told in a sentence here; `python -m pdb -m experiments.classification ...` stops "
            "where it is"
        )
    if any(word in ENFORCE_CLEAN for word in words):
        _refuse_changes()
    return [_by_its_name(word) for word in words if word not in ENFORCE_CLEAN]


def _by_its_name(word: str) -> str:
    """For Sacred a key of another spelling is one more, which a named configuration may hide."""
    key, is_update, text = word.partition("=")
    name, value = with_name_of_now(key, literal(text))
    return f"{name}={value!r}" if is_update and name != key else word


def _refuse_changes() -> None:
    repositories = provenance.repositories()
    if not repositories:
        reason = provenance.why_unknown() or f"{provenance.ROOT} is no checkout"
        raise InvalidInput(f"--enforce_clean: the commit of the sources is not known ({reason}): leave it out")
    if any(repository["dirty"] for repository in repositories):
        raise InvalidInput(
            f"--enforce_clean: the sources in {provenance.ROOT} differ from their commit: commit them, or leave it out"
        )
