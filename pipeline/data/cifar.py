"""CIFAR-10 and CIFAR-100 in torchvision's layout."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.arrays import Arrays, checked_arrays
from pipeline.data.errors import DataError
from pipeline.data.layout import Archive, TorchvisionLayout


@dataclass(frozen=True)
class CifarLayout(TorchvisionLayout):
    """The layout of torchvision's `CIFAR10` and `CIFAR100`.

    The official files are pickles, so they are read through torchvision's class alone, which unpickles nothing
    before every file's md5 is found to be the official one.

    Attributes:
        names: of the files in the folder.
    """

    names: tuple[str, ...]

    def archives(self) -> list[Archive]:
        source = self.torchvision_class
        return [Archive((source.url,), source.filename, source.tgz_md5)]

    def files(self) -> list[str]:
        return [f"{self.folder}/{name}" for name in self.names]

    def read(self, root: Path) -> Arrays:
        try:
            train, test = (self.torchvision_class(root, train=is_train) for is_train in (True, False))
        except RuntimeError as error:  # how torchvision says that an md5 is wrong
            raise DataError(
                f"a file in {root / self.folder} is not the official one, so none was read; "
                "remove the folder and prepare the data set again"
            ) from error
        labels = np.asarray(train.targets), np.asarray(test.targets)
        return checked_arrays(root / self.folder, train.data, labels[0], test.data, labels[1], tuple(train.classes))
