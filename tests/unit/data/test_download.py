"""Downloads from a real server on this machine: whole, interrupted, damaged."""

import gzip
import hashlib
import io
import json
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR100, QMNIST, FashionMNIST

from pipeline.config import ImageConfig
from pipeline.data import DataError, Splits, download, list_data_sets, load_splits, prepare
from tests.helpers.paths import SAMPLES
from tests.helpers.waiting import Patience, slowness, status_of

NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


class Server(ThreadingHTTPServer):
    """Serves `files`: of those in `cut` half, of those in `stalled` the second half when they no longer are."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.stalled: set[str] = set()
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        self.server.asked.append(name)
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        with suppress(ConnectionError):
            self.wfile.write(content[:half])
            while name in self.server.stalled:
                time.sleep(0.02)
            self.wfile.write(b"" if name in self.server.cut else content[half:])

    def log_message(self, *_: object) -> None:
        pass


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ODENET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "data"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that has the sample of Fashion-MNIST, and torchvision's class looking for it there."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for name in NAMES:
            content = (SAMPLES / "FashionMNIST" / "raw" / name).read_bytes()
            server.files[f"{name}.gz"] = gzip.compress(content)
        resources = [(name, md5(content)) for name, content in server.files.items()]
        monkeypatch.setattr(FashionMNIST, "mirrors", [server.address])
        monkeypatch.setattr(FashionMNIST, "resources", resources)
        yield server
        server.stalled.clear()
        server.shutdown()
        thread.join()


def load(name: str = "fashion_mnist") -> Splits:
    return load_splits(ImageConfig(name=name), 0, torch.device("cpu"))


def lies_in(folder: Path) -> set[str]:
    """What the data folder holds beside locks."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".lock-")}


def is_present(name: str = "fashion_mnist") -> bool:
    return next(status.present for status in list_data_sets() if status.name == name)


def assert_whole(folder: Path) -> None:
    assert lies_in(folder) == {"FashionMNIST"}
    for name in NAMES:
        path = Path("FashionMNIST") / "raw" / name
        assert (folder / path).read_bytes() == (SAMPLES / path).read_bytes()


@pytest.mark.usefixtures("server")
def test_a_download_leaves_the_data_set_in_its_place_and_nothing_else(folder: Path) -> None:
    assert not is_present()
    assert prepare("fashion_mnist") == folder / "FashionMNIST"
    assert_whole(folder)
    assert is_present()


def test_what_is_present_is_not_asked_for_again(server: Server) -> None:
    assert len(load().test) == 100
    prepare("fashion_mnist")
    assert len(server.asked) == 4


@pytest.mark.usefixtures("server")
def test_the_progress_is_on_standard_error_alone(capsys: pytest.CaptureFixture[str]) -> None:
    prepare("fashion_mnist")
    output = capsys.readouterr()
    assert output.out == ""
    assert "train-images-idx3-ubyte.gz" in output.err


def test_a_second_mirror_serves_when_the_first_is_down(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"{server.address}absent/", server.address])
    prepare("fashion_mnist")
    assert_whole(folder)


def damage(server: Server, name: str) -> Callable[[], None]:
    content = server.files[name]
    server.files[name] = content[:-9] + b"x" + content[-8:]
    return lambda: server.files.update({name: content})


def cut_off(server: Server, name: str) -> Callable[[], None]:
    server.cut.add(name)
    return server.cut.clear


def remove(server: Server, name: str) -> Callable[[], None]:
    content = server.files.pop(name)
    return lambda: server.files.update({name: content})


@pytest.mark.parametrize(
    ("spoil", "reason"), [(damage, "arrived damaged"), (cut_off, "arrived damaged"), (remove, "Not Found")]
)
def test_after_a_bad_archive_the_next_attempt_fetches_only_what_is_missing(
    server: Server, folder: Path, spoil: Callable[[Server, str], Callable[[], None]], reason: str
) -> None:
    repair = spoil(server, "t10k-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=f"fashion_mnist is not in {folder} .*{reason}.*fashion_mnist.npz"):
        load()
    kept = {path.name for path in (folder / ".partial-fashion_mnist").iterdir()}
    assert kept == {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}
    assert not is_present()
    repair()
    server.asked.clear()
    prepare("fashion_mnist")
    assert server.asked == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert_whole(folder)


@pytest.mark.usefixtures("server")
def test_without_a_network_it_fails_at_once_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as gone:
        address = gone.address
    monkeypatch.setattr(FashionMNIST, "mirrors", [address])
    started = time.monotonic()
    with pytest.raises(DataError, match=r"refused.*odenet data prepare fashion_mnist.*internet.*ODENET_DATA"):
        load()
    assert time.monotonic() - started < 2 * slowness()
    assert lies_in(folder) == set()


@pytest.mark.timeout(10)
def test_a_server_that_falls_silent_is_given_up(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.3)
    server.stalled.add("train-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match="timed out"):
        prepare("fashion_mnist")
    assert lies_in(folder) == set()


PREPARE = """
import json, sys
from torchvision.datasets import FashionMNIST
FashionMNIST.mirrors, FashionMNIST.resources = json.loads(sys.argv[1])
from pipeline.data import prepare
prepare("fashion_mnist")
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_half_downloaded_archive_is_not_taken_for_a_whole_one(
    server: Server, folder: Path, kind: signal.Signals
) -> None:
    server.stalled.add("t10k-images-idx3-ubyte.gz")
    table = json.dumps([FashionMNIST.mirrors, FashionMNIST.resources])
    process = subprocess.Popen([sys.executable, "-c", PREPARE, table], stderr=subprocess.DEVNULL)
    half = folder / ".partial-fashion_mnist" / "t10k-images-idx3-ubyte.gz"
    while not half.is_file() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(kind)
    assert status_of(process) != 0
    assert lies_in(folder) == {".partial-fashion_mnist"}
    assert not is_present()
    server.stalled.clear()
    server.asked.clear()
    prepare("fashion_mnist")
    assert server.asked == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert_whole(folder)


@pytest.mark.usefixtures("server")
def test_what_an_interrupt_left_half_unpacked_is_unpacked_again(folder: Path) -> None:
    raw = folder / ".partial-fashion_mnist" / "unpacked" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / NAMES[0]).write_bytes(b"\0\0\x08\x03half")
    (raw / "stray").touch()
    prepare("fashion_mnist")
    assert_whole(folder)
    assert not (folder / "FashionMNIST" / "raw" / "stray").exists()


def test_of_two_at_once_the_second_waits_and_finds_it_present(
    server: Server, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.stalled.add(f"{NAMES[0]}.gz")
    seen = ""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(prepare, "fashion_mnist") for _ in range(2)]
        patience = Patience(10)
        while "waiting for another process to prepare fashion_mnist" not in seen and not patience.is_over():
            seen += capsys.readouterr().err
            time.sleep(0.02)
        server.stalled.clear()
        assert [attempt.result() for attempt in both] == [folder / "FashionMNIST"] * 2
    assert server.asked == [f"{name}.gz" for name in NAMES]
    assert_whole(folder)


def test_a_folder_that_lacks_a_file_is_not_written_over(server: Server, folder: Path) -> None:
    shutil.copytree(SAMPLES / "FashionMNIST", folder / "FashionMNIST")
    (folder / "FashionMNIST" / "raw" / NAMES[3]).unlink()
    with pytest.raises(DataError, match=f"FashionMNIST is there but lacks {NAMES[3]}"):
        prepare("fashion_mnist")
    assert server.asked == []
    assert lies_in(folder) == {"FashionMNIST"}


@pytest.mark.usefixtures("server")
def test_a_full_disk_is_told_in_one_sentence(folder: Path) -> None:
    partial = folder / ".partial-fashion_mnist"
    partial.mkdir(parents=True)
    (partial / f"{NAMES[0]}.gz").symlink_to("/dev/full")
    with pytest.raises(DataError, match=f"the disk is full: free some space for fashion_mnist in {folder}"):
        prepare("fashion_mnist")
    assert lies_in(folder) == set()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ODENET_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(DataError, match=r"mnist cannot be written to .*file/data \(Not a directory\)"):
        prepare("mnist")


def test_qmnist_downloads_its_two_splits(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Fashion-MNIST's images serve as QMNIST's; the labels get QMNIST's eight columns.
    resources = {}
    for split, there in (("train", "train"), ("test", "t10k")):
        images = server.files[f"{there}-images-idx3-ubyte.gz"]
        flat = gzip.decompress(server.files[f"{there}-labels-idx1-ubyte.gz"])[8:]
        columns = np.zeros((len(flat), 8), ">i4")
        columns[:, 0] = list(flat)
        header = b"\0\0\x0c\x02" + np.array(columns.shape, ">u4").tobytes()
        files = {
            f"qmnist-{split}-images-idx3-ubyte.gz": images,
            f"qmnist-{split}-labels-idx2-int.gz": gzip.compress(header + columns.tobytes()),
        }
        server.files.update(files)
        resources[split] = [(server.address + name, md5(content)) for name, content in files.items()]
    monkeypatch.setattr(QMNIST, "resources", resources)
    assert prepare("qmnist") == folder / "QMNIST"
    assert load("qmnist").test.labels.tolist() == load().test.labels.tolist()


def test_cifar100_is_unpacked_from_its_one_archive(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {"data": np.zeros((500, 3072), np.uint8), "fine_labels": [*range(100)] * 5}
    contents = {"train": images, "test": images, "meta": {"fine_label_names": ["thing"] * 100}}
    files = {name: pickle.dumps(content) for name, content in contents.items()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{CIFAR100.base_folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    server.files[CIFAR100.filename] = packed.getvalue()
    monkeypatch.setattr(CIFAR100, "url", server.address + CIFAR100.filename)
    monkeypatch.setattr(CIFAR100, "tgz_md5", md5(packed.getvalue()))
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5(files["train"])]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5(files["test"])]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5(files["meta"])})
    assert len(load("cifar100").classes) == 100
    assert lies_in(folder) == {"cifar-100-python"}
