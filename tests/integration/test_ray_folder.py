"""Ray's folder on a machine that others use as well, and what is left of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.helpers.waiting import wait_until

SCRIPT = """
import json, sys
import psutil
from pipeline.sweeps.ray_environment import LOCAL, prepare
prepare(LOCAL)
from pipeline.sweeps.cluster import cluster
from pipeline.sweeps.share import Share
with cluster(LOCAL, Share(1, 1.0, 0.0)) as tune:
    folder = tune.parents[1]
    sockets = [str(path) for path in folder.rglob("*") if path.is_socket()]
    family = [process.pid for process in psutil.Process().children(recursive=True)]
    told = {"folder": str(folder), "ray": str(tune.parent), "sockets": sockets, "family": family}
    print(json.dumps(told), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_nobody_else_enters_the_folder_of_ray_and_nothing_of_it_outlives_the_sweep(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "ODENET_HOME": str(tmp_path / "home")}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        family = [psutil.Process(pid) for pid in told["family"]]
        folder = Path(told["folder"])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert told["sockets"]
        assert max(map(len, told["sockets"])) <= 107
        for words in (
            ["ls", folder],
            ["ls", told["ray"]],
            ["touch", f"{told['ray']}/mine"],
            ["stat", told["sockets"][0]],
        ):
            done = subprocess.run(words, user=65534, group=65534, extra_groups=[], capture_output=True, text=True)
            assert done.returncode != 0, words
            assert "Permission denied" in done.stderr
        process.stdin.write("\n")
        process.stdin.flush()
        process.wait(timeout=120)
    assert len(family) >= 4  # a raylet, its agents, and where they all meet
    assert psutil.wait_procs(family, timeout=2)[1] == []
    wait_until(lambda: not folder.exists())


def test_a_ray_that_would_let_anybody_in_is_not_started(tmp_path: Path) -> None:
    """As it was imported before its settings were made."""
    script = SCRIPT.replace("import json, sys\n", "import json, ray, sys\n")
    environment = {**os.environ, "ODENET_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, input="\n")
    assert done.returncode != 0
    assert "Ray was imported before odenet had told it to want a token" in done.stderr.splitlines()[-1]
    assert done.stdout == ""
