"""Where a run comes from, as git tells it."""

import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest

from experiments.sacred_options import check_sacred_options
from pipeline.tracking import provenance
from pipeline.util.errors import InvalidInput


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", *who, "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources in a repository of their own."""
    root = tmp_path / "checkout"
    (root / "odenet").mkdir(parents=True)
    (root / "odenet" / "__init__.py").write_text("x = 1\n")
    git(tmp_path, "init", "--quiet", str(root))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    monkeypatch.setattr(provenance, "ROOT", root)
    monkeypatch.setattr(provenance, "PACKAGES", ("odenet",))
    return root


def test_the_commit_and_the_changes_are_those_of_the_checkout(checkout: Path) -> None:
    (entry,) = provenance.repositories()
    assert entry["commit"] == git(checkout, "rev-parse", "HEAD").strip()
    assert entry["dirty"] is False
    (checkout / "odenet" / "__init__.py").write_text("x = 2\n")
    assert provenance.repositories()[0]["dirty"] is True
    assert "+x = 2" in provenance.uncommitted_changes()


def test_a_checkout_of_somebody_elses_is_recorded_all_the_same(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert provenance.repositories()[0]["commit"] == git_alone(checkout)
    assert provenance.why_unknown() is None


def git_alone(folder: Path) -> str:
    """The commit, from git's own files."""
    head = (folder / ".git" / "HEAD").read_text().split()[-1]
    return (folder / ".git" / head).read_text().strip()


def test_sources_that_only_lie_in_somebodys_repository_have_no_commit_of_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout / ".venv" / "site-packages"
    (installed / "odenet").mkdir(parents=True)
    (installed / "odenet" / "__init__.py").touch()
    monkeypatch.setattr(provenance, "ROOT", installed)
    assert provenance.repositories() == []
    assert provenance.uncommitted_changes() == ""
    assert provenance.why_unknown() is None


def test_variables_of_another_repository_do_not_mislead(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    expected = git_alone(checkout)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert provenance.repositories()[0]["commit"] == expected


def test_a_commit_that_git_does_not_tell_is_explained(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / ".git" / "HEAD").write_text("nonsense")
    assert provenance.repositories() == []
    assert "not a git repository" in (provenance.why_unknown() or "")
    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance.why_unknown() == "git is not installed"


def test_sacreds_enforce_clean_asks_the_checkout_whose_code_runs(checkout: Path) -> None:
    assert check_sacred_options(["with", "digits", "-e"]) == ["with", "digits"]
    (checkout / "odenet" / "__init__.py").write_text("x = 2\n")
    assert check_sacred_options(["with", "digits"]) == ["with", "digits"]
    with pytest.raises(InvalidInput, match=f"the sources in {checkout} differ from their commit"):
        check_sacred_options(["--enforce_clean"])
    (checkout / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(InvalidInput, match="the commit of the sources is not known"):
        check_sacred_options(["-e"])


def test_sacreds_debugger_is_refused_with_what_does_it() -> None:
    with pytest.raises(InvalidInput, match="python -m pdb"):
        check_sacred_options(["-D"])


def test_every_installed_package_is_listed_with_its_version_as_pip_knows_it() -> None:
    packages = provenance.installed_packages()
    assert packages == sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower)
    assert f"pytest=={pytest.__version__}" in packages


def test_sacred_is_given_keys_by_the_names_that_its_named_configurations_have() -> None:
    words = ["with", "gladzik_odenet", "training.optimizer=adam", "model.time_channel=False", "training.lr=1e-3"]
    assert check_sacred_options(words)[2:] == ["training.optimiser='adam'", "model.time_weights='none'", words[-1]]
