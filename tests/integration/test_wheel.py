"""The wheel without the checkout: a person who installs it has all that a run and the dashboard need."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.commands import QUICK
from tests.helpers.paths import ROOT
from tests.helpers.waiting import slowness

PACKAGES = [name for name in ("pipeline", "experiments", "odenet") if (ROOT / name).is_dir()]
LEFT_OUT = {"Dockerfile", ".dockerignore"}
"""The dashboard's image is built from the checkout."""
NO_NODE = [name for name in ("node", "npm") if shutil.which(name) is None]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the source distribution of this checkout."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    here = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "node_modules", "tests", "build", "dist", "site")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=here)
    built = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = built.glob("*.whl")
    return made


@dataclass(frozen=True)
class Installation:
    """An environment in which the wheel is installed, and a folder apart from every checkout."""

    environment: Path
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        dropped = ("ODENET_MONGO_URL", "ODENET_MONGO_URL_FILE", "PYTHONPATH", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        return {**kept, "ODENET_HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1"}

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the environment prints."""
        command = [str(self.environment / "bin" / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def install(wheel: Path, environment: Path, *options: str) -> None:
    python = str(environment / "bin/python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *options, str(wheel)]
    subprocess.run(command, check=True)


@pytest.fixture(
    scope="module",
    params=[
        "with the packages of the tests",
        pytest.param("with packages of its own", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def installed(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    if request.param == "with packages of its own":
        install(wheel, environment)
    else:
        install(wheel, environment, "--no-deps", "--no-index")
        (site,) = environment.glob("lib/python*/site-packages")
        # Last on the path, and without what makes an editable installation importable: that is read in `site` alone.
        (site / "packages_of_the_tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    installation = Installation(environment, tmp_path_factory.mktemp("elsewhere"))
    yield installation
    installation.run("odenet", "store", "stop")
    shutil.rmtree(environment)


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        packed = {name for name in opened.namelist() if ".dist-info/" not in name}
    wanted = set()
    for name in PACKAGES:
        for folder, folders, files in os.walk(ROOT / name, followlinks=True):
            folders[:] = [found for found in folders if found != "__pycache__"]
            wanted |= {str((Path(folder) / file).relative_to(ROOT)) for file in files if file not in LEFT_OUT}
    assert packed == wanted
    assert {"pipeline/py.typed", "experiments/py.typed"} <= packed
    dashboard = {"package.json", "package-lock.json", "start.js", "first_visit.js"}
    assert dashboard <= {name.rpartition("/")[2] for name in packed}


def test_a_run_on_digits_needs_no_checkout(installed: Installation) -> None:
    where = "import experiments, pipeline; print(pipeline.__path__[0], experiments.__path__[0])"
    for found in installed.run("python", "-c", where).split():
        assert Path(found).is_relative_to(installed.environment)
    told = json.loads(installed.run("odenet", "run", "--json", *QUICK, "training.max_epochs=1"))
    assert told["status"] == "COMPLETED"


@pytest.mark.skipif(bool(NO_NODE), reason=f"not installed: {', '.join(NO_NODE)}")
def test_the_dashboard_needs_no_checkout(installed: Installation) -> None:
    command = [str(installed.environment / "bin/odenet"), "board", "--port", "9350"]
    with subprocess.Popen(
        command,
        cwd=installed.folder,
        env=installed.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as board:
        assert board.stdout is not None
        assert board.stderr is not None
        told = ""
        for line in board.stdout:
            told += line
            if line.startswith("Ctrl-C ends"):
                break
        address = re.search(r"are at (http://\S+)\nuser (\S+), password (\S+)", told)
        assert address, told + board.stderr.read()
        url, user, password = address.groups()
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        asked = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=60 * slowness()) as answer:  # noqa: S310 - an address of ours
            assert b"Omniboard" in answer.read()
        board.terminate()
        assert board.wait() == 0
