"""CIFAR-10 and CIFAR-100 in torchvision's layout."""

from pathlib import Path

import numpy as np

from pipeline.data.arrays import Arrays, checked_arrays
from pipeline.data.errors import DataError
from pipeline.data.layout import Archive, TorchvisionLayout


class CifarLayout(TorchvisionLayout):
    """The layout of torchvision's `CIFAR10` and `CIFAR100`.

    The official files are pickles, so they are read through torchvision's class alone, which unpickles nothing
    before every file's md5 is found to be the official one.
    """

    def archives(self) -> list[Archive]:
        return [Archive((self.source.url,), self.source.filename, self.source.tgz_md5)]

    def files(self) -> list[str]:
        batches = [name for name, _ in self.source.train_list + self.source.test_list]
        return [f"{self.folder}/{name}" for name in [*batches, self.source.meta["filename"]]]

    def read(self, root: Path) -> Arrays:
        try:
            train, test = self.source(root, train=True), self.source(root, train=False)
        except RuntimeError as error:  # how torchvision says that an md5 is wrong
            raise DataError(
                f"a file in {root / self.folder} is not the official one, so none was read; "
                "remove the folder and prepare the data set again"
            ) from error
        labels = np.asarray(train.targets), np.asarray(test.targets)
        return checked_arrays(root / self.folder, train.data, labels[0], test.data, labels[1], tuple(train.classes))
