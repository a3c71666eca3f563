"""The data sets that have a name, and where they lie."""

from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import CIFAR10, CIFAR100, MNIST, QMNIST, FashionMNIST

from pipeline.config.sections import nearest
from pipeline.data.arrays import Arrays
from pipeline.data.cifar import CifarLayout
from pipeline.data.digits import DIGITS_FOLDER, DIGITS_IMAGES, read_digits
from pipeline.data.errors import DataError
from pipeline.data.idx import MnistLayout, QmnistLayout
from pipeline.data.layout import TorchvisionLayout
from pipeline.data.npz import describe_npz, read_npz
from pipeline.util.errors import InvalidInput
from pipeline.util.paths import data_folder

_TEN_DIGITS = tuple("0123456789")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LAYOUTS: dict[str, TorchvisionLayout] = {
    "mnist": MnistLayout(MNIST, "60000 + 10000, 1 × 28 × 28", _TEN_DIGITS),
    "qmnist": QmnistLayout(QMNIST, "60000 + 60000, 1 × 28 × 28", _TEN_DIGITS),
    "fashion_mnist": MnistLayout(FashionMNIST, "60000 + 10000, 1 × 28 × 28", tuple(FashionMNIST.classes)),
    "cifar10": CifarLayout(CIFAR10, _CIFAR10),
    "cifar100": CifarLayout(CIFAR100, None),
}


@dataclass(frozen=True)
class DataSetStatus:
    """One line of the list of data sets."""

    name: str
    present: bool
    where: Path | None
    images: str
    """Training and test images, channels × height × width: '60000 + 10000, 1 × 28 × 28'."""
    note: str


def find(name: str) -> Path | None:
    """Where data set `name` lies: torchvision's folder or an `.npz`; None when it has to be downloaded.

    Raises:
        InvalidInput: `name` is neither known nor an `.npz` that is there.
    """
    if name == "digits":
        return DIGITS_FOLDER
    if name.endswith(".npz"):
        return _find_npz(name)
    if name not in LAYOUTS:
        known = ["digits", *LAYOUTS]
        raise InvalidInput(
            f"{name} is not a known data set{nearest(name, known)}; "
            f"choose from {', '.join(known)}, or name an .npz file"
        )
    layout, root = LAYOUTS[name], data_folder()
    if not layout.missing(root):
        return root / layout.folder
    npz = root / f"{name}.npz"
    return npz if npz.is_file() else None


def read(name: str, where: Path) -> Arrays:
    """The arrays of data set `name`, which `find` found at `where`.

    Raises:
        DataError: what lies there is damaged or inconsistent.
    """
    try:
        if name == "digits":
            return read_digits()
        if where.suffix == ".npz":
            return read_npz(where, LAYOUTS[name].classes if name in LAYOUTS else None)
        return LAYOUTS[name].read(where.parent)
    except OSError as error:
        raise DataError(f"{name} cannot be read from {where}: {error.strerror or error}") from error


def list_data_sets() -> list[DataSetStatus]:
    """The known data sets, present or not, then every other `.npz` in the data folder."""
    digits = DataSetStatus("digits", True, DIGITS_FOLDER, DIGITS_IMAGES, "comes with scikit-learn")
    others = [path.name for path in sorted(data_folder().glob("*.npz")) if path.stem not in LAYOUTS]
    return [digits, *(_status(name) for name in [*LAYOUTS, *others])]


def _status(name: str) -> DataSetStatus:
    where = find(name)
    if where is None:
        return DataSetStatus(name, False, None, LAYOUTS[name].images, f"odenet data prepare {name} downloads it")
    try:
        if where.suffix == ".npz":
            return DataSetStatus(name, True, where, describe_npz(where), "arrays in an .npz")
        return DataSetStatus(name, True, where, LAYOUTS[name].describe(where.parent), "torchvision's layout")
    except (DataError, OSError) as error:
        return DataSetStatus(name, False, where, "", str(error))


def _find_npz(name: str) -> Path:
    for path in (Path(name).expanduser(), data_folder() / name):
        if path.is_file():
            return path.absolute()
    raise InvalidInput(f"there is no file {name}, neither here nor in {data_folder()}")
