"""The stack that `docker compose up` starts: what its files promise, and the parts that run without Docker."""

import base64
import http.client
import importlib.util
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from secantus.auth import SCRAM_SHA_256, derive_credentials
from secantus.server import SecantusDBServer

from pipeline.dashboard.board import install
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import StoreError, connect, store_address
from tests.helpers.paths import ROOT
from tests.helpers.waiting import slowness

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("odenet:")}
SECRET_WORDS = re.compile(r"password|token|secret|mongodb(\+srv)?://", re.IGNORECASE)


# What is open to whom


def test_ports_are_published_on_the_loopback_address_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert sorted(published) == ["mongo", "omniboard"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not any("network_mode" in service and service["network_mode"] != "none" for service in SERVICES.values())


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_secret_stands_in_an_environment_or_a_command(name: str) -> None:
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        names_a_file = variable.endswith(("_FILE", "_PATH")) and value.startswith("/run/secrets/")
        harmless = f"{variable}={value}" in ("RAY_AUTH_MODE=token", "MONGO_INITDB_ROOT_USERNAME=root")
        assert names_a_file or harmless or not SECRET_WORDS.search(f"{variable}={value}")
    words = [*service.get("entrypoint", []), *service.get("command", [])]
    assert not [word for word in words if SECRET_WORDS.search(word) and not word.startswith("/run/secrets")]
    assert "env_file" not in service


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_no_right_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    given = (service.get("user"), service.get("cap_add", []))
    assert given == (("0:0", ["CHOWN", "DAC_OVERRIDE"]) if name == "secrets" else (service.get("user"), []))
    assert name == "secrets" or not str(service.get("user", "")).startswith("0")
    assert not [volume for volume in service.get("volumes", []) if volume.startswith("secrets:") and name != "secrets"
                and not volume.endswith(":ro")]  # fmt: skip


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_writes_to_volumes_and_memory_alone_and_has_so_many_processes(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert {mount.partition(":")[0] for mount in service["tmpfs"]} <= {"/tmp", "/home/odenet", "/data/configdb"}  # noqa: S108
    assert 0 < service["pids_limit"] <= 32768


def test_the_store_and_the_cluster_are_reached_by_those_that_need_them() -> None:
    networks = {name: service.get("networks") for name, service in SERVICES.items()}
    assert {name for name, joined in networks.items() if joined is None} == {"secrets", "kernel"}  # they have none
    assert networks["mongo"] == networks["prepare"] == networks["omniboard"] == ["store"]
    assert networks["head"] == ["cluster"]
    for name in ("worker", "gpu-worker", "odenet", "gpu-odenet"):
        assert networks[name] == ["store", "cluster"]
    assert set(COMPOSE["networks"]) == {"store", "cluster"}


@pytest.mark.parametrize("file", ["Dockerfile", "omniboard/Dockerfile"])
def test_an_image_runs_as_an_ordinary_user(file: str) -> None:
    users = re.findall(r"^USER (\S+)", (ROOT / file).read_text(), re.MULTILINE)
    assert users[-1] in ("odenet", "node")


def test_the_secrets_readers_are_the_users_that_the_services_run_as() -> None:
    owners = _module("logins").OWNERS
    assert SERVICES["mongo"]["user"] == SERVICES["prepare"]["user"] == f"{owners['mongo']}:{owners['mongo']}"
    assert f"useradd --uid {owners['odenet']} " in (ROOT / "Dockerfile").read_text()


def test_the_containers_of_a_machine_are_one_host() -> None:
    """Whose lock is free has then ended: a run of another host may be alive until its heartbeat says otherwise."""
    named = {name: service["hostname"] for name, service in SERVICES.items() if "hostname" in service}
    assert named.keys() == {"head", "worker", "gpu-worker", "odenet", "gpu-odenet"}
    assert set(named.values()) == {"${ODENET_HOST_NAME:-stack}"}


def test_the_cluster_asks_for_its_token_and_opens_no_dashboard() -> None:
    for name in ("head", "worker", "gpu-worker", "odenet", "gpu-odenet"):
        environment = SERVICES[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/odenet/ray_token"  # noqa: S105 - a path
    assert "--include-dashboard=false" in SERVICES["head"]["entrypoint"]


# What is there, in which version, and when it starts


def test_every_reader_of_yaml_reads_the_compose_file_alike() -> None:
    tokens = yaml.scan((ROOT / "docker-compose.yml").read_text())
    assert "<<" not in [token.value for token in tokens if isinstance(token, yaml.ScalarToken)]


def test_images_are_pinned_by_version() -> None:
    pulled = [service["image"] for service in SERVICES.values() if "pull_policy" not in service]
    for file in ("Dockerfile", "omniboard/Dockerfile"):
        pulled += re.findall(r"^FROM (\S+)", (ROOT / file).read_text(), re.MULTILINE)
    assert len(pulled) == 3
    assert all(re.search(r":\d+\.\d+", image) for image in pulled)


def test_our_images_are_built_here_once_and_not_looked_for_elsewhere() -> None:
    ours = {name: service for name, service in SERVICES.items() if service["image"].startswith("odenet")}
    assert set(SERVICES) - set(ours) == {"mongo"}
    assert {service["pull_policy"] for service in ours.values()} == {"never"}
    # Two services that build one image at once get into each other's way: one of an `up`, and one of each command.
    built = {name: service["image"] for name, service in ours.items() if "build" in service}
    assert built == {
        "secrets": "odenet:cpu",
        "omniboard": "odenet-omniboard:2.16.1",
        "gpu-worker": "odenet:cuda",
        "gpu-odenet": "odenet:cuda",
    }


def test_the_omniboard_image_is_named_after_the_version_in_it() -> None:
    package = json.loads((ROOT / "omniboard/package.json").read_text())
    assert SERVICES["omniboard"]["image"] == f"odenet-omniboard:{package['dependencies']['omniboard']}"


# Package of Omniboard's -> the first version without the advisories that were known in November 2026.
ADVISED = {
    "async": "2.6.4",  # GHSA-fwr7-v2mv-hh25
    "body-parser": "1.20.6",  # GHSA-v422-hmwv-36x6
    "brace-expansion": "1.1.13",  # GHSA-f886-m6hf-6m8v
    "bson": "1.1.4",  # GHSA-v8w9-2789-6hhr
    "cookie": "0.7.0",  # GHSA-pxg6-pf52-xh8x
    "express": "4.20.0",  # GHSA-qw6h-vgh9-j6wx
    "mongodb": "3.6.10",  # GHSA-vxvm-qww3-2fh7
    "mongoose": "5.13.23",  # GHSA-m7xq-9374-9rvx; what is left is in docs/stack.md
    "morgan": "1.11.0",  # GHSA-4vj7-5mj6-jm8m
    "mpath": "0.8.4",  # GHSA-p92x-r36w-9395
    "mquery": "3.2.3",  # GHSA-45q2-34rf-mr94
    "on-headers": "1.1.0",  # GHSA-76c9-3jph-rj3q
    "path-to-regexp": "0.1.13",  # GHSA-37ch-88jc-xwx2
    "qs": "6.16.0",  # GHSA-x5fp-wj9c-mxmx
    "send": "0.19.0",  # GHSA-m6fv-jmcg-4jfg
    "serve-static": "1.16.0",  # GHSA-cm22-4g7w-348p
}


def test_no_package_of_the_dashboard_is_older_than_its_advisories() -> None:
    def numbers(version: str) -> tuple[int, ...]:
        return tuple(map(int, version.split(".")))

    packages = json.loads((ROOT / "omniboard/package-lock.json").read_text())["packages"]
    del packages[""]
    locked = [(place.rpartition("node_modules/")[2], package["version"]) for place, package in packages.items()]
    assert set(ADVISED) <= {name for name, _ in locked}
    assert not [found for found in locked if numbers(found[1]) < numbers(ADVISED.get(found[0], "0"))]


def test_the_image_installs_what_the_lock_file_has() -> None:
    installs = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if "pip install" in line]
    assert len(installs) == 4
    everything_but_torch, cpu_torch, cuda_torch, ourselves = installs
    for locked in (everything_but_torch, cuda_torch):
        assert "--require-hashes --no-deps --requirement /opt/" in locked
    # PyTorch's wheels for CPUs have hashes of their own.
    assert "--no-deps --index-url" in cpu_torch
    assert "--no-deps --no-build-isolation" in ourselves


def test_a_change_of_the_code_does_not_reinstall_torch() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    torch = max(number for number, line in enumerate(lines) if "base.lock" in line)
    copied = [number for number, line in enumerate(lines) if re.match(r"COPY (pipeline|experiments|stack) ", line)]
    assert len(copied) == 3
    assert min(copied) > torch


def test_omniboards_image_can_be_given_all_that_it_copies() -> None:
    ignored = (ROOT / "omniboard" / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "omniboard" / "Dockerfile").read_text(), re.MULTILINE)
    files = {name for line in copied for name in line.split()}
    assert {f"!{name}" for name in files} == set(ignored) - {"*"}
    needed = {path.name for path in (ROOT / "omniboard").glob("*.js")}
    assert needed <= files


def test_the_image_holds_the_code_and_nothing_else_of_the_checkout() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        word
        for sources in re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        for word in sources.split()
    }
    assert kept == {source.partition("/")[0] for source in copied}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_log_grows_without_bound(name: str) -> None:
    logging = SERVICES[name]["logging"]
    assert logging["driver"] == "json-file"
    assert set(logging["options"]) == {"max-size", "max-file"}


def test_what_must_last_lies_in_named_volumes() -> None:
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == {"secrets", "mongo", "home", "${ODENET_DATA"}
    assert set(COMPOSE["volumes"]) == {"secrets", "mongo", "home", "data"}
    for name in ("worker", "gpu-worker", "odenet", "gpu-odenet"):
        assert {"home:/var/lib/odenet", "${ODENET_DATA:-data}:/data"} <= set(SERVICES[name]["volumes"])


def test_a_service_waits_for_what_it_needs() -> None:
    waits = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    assert waits["kernel"] == {"secrets": "service_completed_successfully"}
    assert waits["mongo"] == {"kernel": "service_completed_successfully"}
    assert waits["prepare"] == {"mongo": "service_healthy"}
    assert waits["omniboard"] == waits["head"] == {"prepare": "service_completed_successfully"}
    assert waits["worker"] == waits["gpu-worker"] == {"head": "service_healthy"}
    assert waits["odenet"] == waits["gpu-odenet"] == {}, "a command must not start services anew under others' sweeps"
    checks = {
        name: " ".join(service["healthcheck"]["test"]) for name, service in SERVICES.items() if "healthcheck" in service
    }
    assert set(checks) == {"mongo", "head", "omniboard"}
    # MongoDB's image starts twice the first time, once for itself on 127.0.0.1.
    assert "/mongo/27017" in checks["mongo"]


def test_a_command_has_time_to_end_its_run_in_order() -> None:
    assert {SERVICES[name]["stop_grace_period"] for name in ("odenet", "gpu-odenet")} == {"120s"}


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "omniboard/Dockerfile"])
def test_images_of_a_checkout_that_others_cannot_read_run(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()
    user = text.index("\nUSER ")
    assert text.rindex("\nCOPY ", 0, user) < text.index("chmod -R a+rX .") < user


def test_what_crashes_is_started_again_and_what_is_done_is_not() -> None:
    once = {name for name, service in SERVICES.items() if service["restart"] == "no"}
    assert once == {"secrets", "kernel", "prepare", "odenet", "gpu-odenet"}
    assert {service["restart"] for name, service in SERVICES.items() if name not in once} == {"unless-stopped"}


def test_memory_is_limited_by_variables() -> None:
    lasting = [service for service in SERVICES.values() if service["restart"] != "no"]
    assert all(re.fullmatch(r"\$\{ODENET_\w+_MEMORY:-\d+g\}", service["mem_limit"]) for service in lasting)
    assert all(service["shm_size"] == "${ODENET_SHM_SIZE:-2gb}" for name, service in SERVICES.items()
               if name in OURS - {"secrets", "kernel", "prepare"})  # fmt: skip


def test_only_the_gpu_profile_asks_for_a_gpu() -> None:
    assert SERVICES["gpu-worker"]["profiles"] == ["gpu"]
    with_gpu = {name: service for name, service in SERVICES.items() if "deploy" in service}
    assert set(with_gpu) == {"gpu-worker", "gpu-odenet"}
    for service in with_gpu.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
        assert (service["image"], service["build"]["args"]) == ("odenet:cuda", {"DEVICE": "cuda"})


# The logins


def _module(name: str) -> Any:
    """A script of the stack's, which is no package: the container runs it as a file."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "stack" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The maker of the logins, whose files all belong to whoever runs the tests."""
    module = _module("logins")
    monkeypatch.setattr(module, "OWNERS", dict.fromkeys(module.OWNERS, os.getuid()))
    monkeypatch.setenv("ODENET_MONGO_PORT", "27117")
    monkeypatch.setenv("ODENET_BOARD_PORT", "9100")
    return module


def _contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_the_logins_can_be_read_by_their_readers_alone(logins: Any, tmp_path: Path) -> None:
    logins.make(tmp_path)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert {stat.S_IMODE(file.parent.stat().st_mode) for file in files} == {0o700}


@pytest.mark.skipif(os.getuid() != 0, reason="giving a file away needs root")
def test_each_login_belongs_to_the_service_that_reads_it(tmp_path: Path) -> None:
    logins = _module("logins")
    logins.make(tmp_path)
    for reader, owner in logins.OWNERS.items():
        assert {path.stat().st_uid for path in (tmp_path / reader, *(tmp_path / reader).iterdir())} == {owner}


def test_every_installation_has_logins_of_its_own(logins: Any, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        logins.make(folder)
    one, two = map(_contents, folders)
    assert one.keys() == two.keys()
    assert not [name for name in one if one[name] == two[name]]
    passwords = [one["mongo/root_password"], one["mongo/odenet_password"], one["odenet/ray_token"]]
    passwords.append(json.loads(one["omniboard/settings.json"])["password"])
    assert len({*passwords}) == 4
    assert min(map(len, passwords)) >= 32


def test_the_next_start_keeps_the_logins_and_makes_what_is_missing(logins: Any, tmp_path: Path) -> None:
    logins.make(tmp_path)
    before = _contents(tmp_path)
    (tmp_path / "odenet" / "mongo_url").unlink()
    (tmp_path / "odenet" / "mongo_url.new").write_text("half wri")
    logins.make(tmp_path)
    assert _contents(tmp_path) == before


def test_the_logins_are_shown_with_the_addresses_of_this_machine(
    logins: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^There are no logins yet: .*\.$"):
        logins.show(tmp_path)
    logins.make(tmp_path)
    assert capsys.readouterr().out == ""
    logins.show(tmp_path)
    told, contents = capsys.readouterr().out, _contents(tmp_path)
    board = json.loads(contents["omniboard/settings.json"])
    assert f"http://127.0.0.1:9100\n            user odenet, password {board['password']}\n" in told
    assert f"mongodb://odenet:{contents['mongo/odenet_password']}@127.0.0.1:27117/odenet\n" in told


# The store


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[str]:
    """A MongoDB with one user, root with the password `first`; its host and port."""
    server = SecantusDBServer(
        host="127.0.0.1", port=0, storage_path=str(tmp_path / "data"), replica_set_name=None, require_auth=True
    )
    root = {
        "_id": "admin.root",
        "user": "root",
        "db": "admin",
        "credentials": derive_credentials("first").to_doc(),
        "roles": [{"role": "root", "db": "admin"}],
        "mechanisms": [SCRAM_SHA_256],
    }
    server.storage.add_user("admin", "root", root, replace=True)
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def prepare(mongo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The preparation of that MongoDB; the passwords lie in the folder `passwords` of the test."""
    module = _module("prepare_store")
    monkeypatch.setattr(module, "SERVER", mongo)
    (tmp_path / "passwords").mkdir()
    (tmp_path / "passwords" / "root_password").write_text("first")
    (tmp_path / "passwords" / "odenet_password").write_text("second")
    return module


def test_the_application_can_use_its_own_database_alone(mongo: str, prepare: Any, tmp_path: Path) -> None:
    prepare.main(tmp_path / "passwords")
    with MongoClient[dict[str, Any]](f"mongodb://odenet:second@{mongo}/odenet") as client:
        assert "uid" in client["odenet"].runs.index_information()
        assert client["odenet"]["omniboard.custom.columns"].count_documents({}) > 0
        with pytest.raises(OperationFailure, match="not authorized"):
            client["other"].runs.insert_one({})
        with pytest.raises(OperationFailure, match="not authorized"):
            client["odenet"].command("createUser", "eve", pwd="eve", roles=[])  # noqa: S106


def test_the_store_can_be_prepared_again_and_takes_a_new_password(mongo: str, prepare: Any, tmp_path: Path) -> None:
    prepare.main(tmp_path / "passwords")
    with MongoClient[dict[str, Any]](f"mongodb://odenet:second@{mongo}/odenet") as client:
        client["odenet"].runs.insert_one({"_id": 1})
    (tmp_path / "passwords" / "odenet_password").write_text("third")
    prepare.main(tmp_path / "passwords")
    with MongoClient[dict[str, Any]](f"mongodb://odenet:third@{mongo}/odenet") as client:
        assert client["odenet"].runs.count_documents({}) == 1


def test_a_store_of_another_installation_is_told_of_in_a_sentence(prepare: Any, tmp_path: Path) -> None:
    (tmp_path / "passwords" / "root_password").write_text("of another volume")
    with pytest.raises(SystemExit, match=r"volume `secrets`, as .* is of another installation: bring back"):
        prepare.main(tmp_path / "passwords")


def test_the_address_of_the_store_is_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mongo_url"
    file.write_text("mongodb://ada:p%40ss@db.example:27018/lab\n")
    monkeypatch.delenv("ODENET_MONGO_URL", raising=False)
    monkeypatch.setenv("ODENET_MONGO_URL_FILE", str(file))
    address = store_address()
    assert (address.url, address.database) == ("mongodb://ada:p%40ss@db.example:27018/lab", "lab")
    monkeypatch.setenv("ODENET_MONGO_URL", "mongodb://db.example/other")
    assert store_address().database == "other"


@pytest.mark.parametrize("content", [None, b"", b"ada:secret", b"mongodb://ada:sec@ret@host/lab", b"\xff\xfesecret"])
def test_a_file_without_an_address_is_named_and_not_quoted(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mongo_url"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.delenv("ODENET_MONGO_URL", raising=False)
    monkeypatch.setenv("ODENET_MONGO_URL_FILE", str(file))
    with pytest.raises(StoreError, match=rf"^The file {file} .*\.$") as told:
        connect()
    assert "sec" not in str(told.value)
    assert told.value.__cause__ is None


def test_a_store_that_does_not_answer_sends_the_person_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mongo_url"
    file.write_text("mongodb://ada:hidden@127.0.0.1:9/lab")
    monkeypatch.delenv("ODENET_MONGO_URL", raising=False)
    monkeypatch.setenv("ODENET_MONGO_URL_FILE", str(file))
    with pytest.raises(StoreError, match=rf"start it, or correct the file {file}\.$") as told:
        connect(timeout_seconds=0.2)
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize(
    ("release", "is_refused"),
    [
        ("6.18.44", False),
        ("6.19.0", True),
        ("6.19.12-arch1-1", True),
        ("7.0.0-30-generic", True),
        ("7.0.13", True),
        ("7.0.14", False),
        ("7.1.5-arch1-2", False),
        ("5.15.167.4-microsoft-standard-WSL2", False),
        ("6.19", True),
        ("unknown", False),
    ],
)
def test_a_kernel_on_which_mongodb_stops_is_told_in_a_sentence(release: str, is_refused: bool) -> None:
    check = [sys.executable, str(ROOT / "stack/check_kernel.py"), release]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == is_refused
    assert done.stdout == ""
    assert (f"stops at its start on Linux {release}, " in done.stderr) == is_refused
    assert re.fullmatch(r"(MongoDB 8 .*\.\n)?", done.stderr)


# The commands


@pytest.fixture
def run_command(tmp_path: Path) -> Any:
    """Runs the command's container entry with programs that only say how they were called."""

    def run(*arguments: str, ray: str = 'echo "ray $*" >> called') -> tuple[int, str, str]:
        for name, does in {"ray": ray, "odenet": 'echo "odenet $* at ${RAY_ADDRESS:-no cluster}" >> called'}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
            (tmp_path / name).chmod(0o755)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        command = [str(ROOT / "stack/command"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        called = tmp_path / "called"
        return done.returncode, called.read_text() if called.exists() else "", done.stderr

    return run


def test_a_command_does_not_bother_the_cluster(run_command: Any) -> None:
    assert run_command("run", "with", "odenet simple") == (0, "odenet run with odenet simple at no cluster\n", "")


def test_a_sweep_joins_the_cluster_without_offering_it_a_processor(run_command: Any) -> None:
    status, called, _ = run_command("sweep", "digits", "--trials", "4")
    joined, swept = called.splitlines()
    assert status == 0
    assert joined.startswith("ray start --address=head:6379 --num-cpus=0 --num-gpus=0")
    assert swept == "odenet sweep digits --trials 4 at head:6379"


def test_a_sweep_without_a_cluster_says_so_and_does_not_start(run_command: Any) -> None:
    status, called, told = run_command("sweep", "digits", ray="echo no way to head; exit 1")
    assert (status, called) == (1, "")
    assert re.fullmatch(r"no way to head\nodenet: the sweep's cluster cannot be joined; .*\.\n", told)


# The dashboard


@pytest.fixture
def dashboard(store_home: Path, tmp_path: Path) -> Iterator[tuple[int, Path, psutil.Process]]:
    """Omniboard as its container starts it, on a port of 127.0.0.1; the port, its settings and its process."""
    installed = install(tmp_path / "npm.log")
    address = EmbeddedStore(store_home).start()
    settings = tmp_path / "settings.json"
    login = {"user": "odenet", "password": "open-sesame"}
    settings.write_text(json.dumps({"mongoUri": address.url, "database": address.database, **login}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["node", str(ROOT / "omniboard/start.js"), str(settings), "127.0.0.1", str(port)]
    with subprocess.Popen(command, cwd=installed, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"port": port}
        yield port, settings, psutil.Process(process.pid)
        process.kill()


@pytest.mark.skipif(shutil.which("npm") is None, reason="not installed: npm")
def test_the_dashboard_takes_its_login_from_a_file_and_shows_it_nowhere(
    dashboard: tuple[int, Path, psutil.Process],
) -> None:
    port, settings, process = dashboard
    assert _status(port) == 401
    assert _status(port, "odenet:open-sesame") == 200
    assert _status(port, "odenet:another") == 401
    assert _status(port, "odenet:open-sesame", host="stack.example") == 421
    shown = [*process.cmdline(), *process.environ().values()]
    assert not [word for word in shown if "open-sesame" in word or "mongodb://" in word]
    assert str(settings) in shown


def _status(port: int, login: str = "", host: str = "127.0.0.1") -> int:
    headers = {"Host": f"{host}:{port}"}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10 * slowness())
    connection.request("GET", "/sacred", headers=headers)
    return connection.getresponse().status
