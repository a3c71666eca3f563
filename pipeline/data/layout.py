"""What the data sets in torchvision's layout have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.arrays import Arrays


@dataclass(frozen=True)
class Archive:
    """A file to download: where it may lie, first choice first, and the md5 that proves it whole."""

    urls: tuple[str, ...]
    name: str
    md5: str


@dataclass(frozen=True)
class TorchvisionLayout(ABC):
    """A data set as torchvision lays it out below a root folder.

    Attributes:
        source: the name of torchvision's class.
        folder: the one folder below the root that holds everything.
        unpack_into: the folder below the root in which the archives are unpacked.
        images: how many images of which size the official data set has.
        classes: their names, where the files do not give them.
    """

    source: str
    folder: str
    unpack_into: str
    images: str
    classes: tuple[str, ...] | None

    @property
    def torchvision_class(self) -> Any:
        """torchvision's class, imported when it is asked for: that takes a second, and lists do not need it."""
        import torchvision.datasets

        return getattr(torchvision.datasets, self.source)

    @abstractmethod
    def archives(self) -> list[Archive]:
        """What has to be downloaded."""

    @abstractmethod
    def files(self) -> list[str]:
        """Every file that the data set consists of, below the root."""

    @abstractmethod
    def read(self, root: Path) -> Arrays:
        """The data set below `root`, verified.

        Raises:
            DataError: a file is missing, truncated or not the official one.
        """

    def describe(self, root: Path) -> str:  # noqa: ARG002
        """How many images of which size lie below `root`, found out quickly.

        Raises:
            DataError: a file is seen to be damaged.
        """
        return self.images  # where nothing else has the right md5 sums, and those are checked when it is read

    def missing(self, root: Path) -> list[str]:
        """The files that are not there."""
        return [file for file in self.files() if not (root / file).is_file()]
