"""Pictures, PNG and JPEG alike, as arrays of pixels."""

import io
import struct
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.data.errors import DataError
from pipeline.util.errors import InvalidInput

FORMATS = ("PNG", "JPEG")
ENDINGS = (".png", ".jpg", ".jpeg", ".jfif")
OTHERS = (".gif", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".avif", ".ppm", ".pgm", ".pbm", ".pnm")
"""Endings of pictures that are not read."""
Size = tuple[int, int]
"""Height and width."""
_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)
"""Orientations of a camera that was held upright."""
_GREY = ("1", "L", "LA")


class PictureError(InvalidInput):
    """A file that is no picture, or none that can be read."""


@dataclass(frozen=True)
class Picture:
    """A picture that is not read yet.

    Attributes:
        name: in messages.
        source: its file, or what would be in one.
    """

    name: str
    source: Path | bytes

    def look(self) -> tuple[Size, bool]:
        """Its size, as it is to be seen, and whether it is grey, from the beginning of the file.

        Raises:
            PictureError: it is none.
        """
        with self._opened() as image:
            width, height = image.size
            is_lying = _has_exif(image) and image.getexif().get(_ORIENTATION) in _LYING
            return ((width, height) if is_lying else (height, width)), _is_grey(image)

    def read(self, channels: int, size: Size | None = None) -> tuple[NDArray[np.uint8], bool]:
        """Pixels of shape (height, width, channels), and whether it had another size.

        It becomes grey (ITU-R 601 luma) or RGB, stands as the camera says, is laid on black where it is transparent,
        and is resized, bilinearly with antialiasing and without regard to its proportions, where its size differs.

        Raises:
            PictureError: it is none.
        """
        with self._opened() as image:
            if image.mode.startswith("I"):  # Pillow would cut off all that is brighter than 255
                raise PictureError(f"{self.name} has 16 bits per channel; save it with 8")
            upright = ImageOps.exif_transpose(image) if _has_exif(image) else image
            is_opaque = upright.mode in ("1", "L", "RGB") and "transparency" not in upright.info
            opaque = upright if is_opaque else _on_black(upright)
            converted = opaque.convert("L" if channels == 1 else "RGB")
        height, width = size or (converted.height, converted.width)
        is_resized = converted.size != (width, height)
        if is_resized:
            converted = converted.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(converted, dtype=np.uint8).reshape(height, width, channels), is_resized

    @contextmanager
    def _opened(self) -> Iterator[Image.Image]:
        source = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                opened = Image.open(source, formats=FORMATS)
            with opened as image:
                yield image
        except FileNotFoundError as error:
            raise PictureError(f"{self.name} cannot be read as a PNG or JPEG image: there is no such file") from error
        except Image.DecompressionBombError as error:
            raise PictureError(f"{self.name} is too large to be read ({error}): save it smaller") from error
        except (OSError, SyntaxError, ValueError, struct.error) as error:
            raise PictureError(
                f"{self.name} cannot be read as a PNG or JPEG image ({error}); convert it to one"
            ) from error


def _has_exif(image: Image.Image) -> bool:
    """Whether it says how it stands; of a PNG before its pixels, which Pillow would decode to look behind them."""
    return image.format != "PNG" or "exif" in image.info


def _is_grey(image: Image.Image) -> bool:
    """Whether it has no colours, also where it has a palette of greys."""
    if image.mode != "P" or image.palette is None:
        return image.mode in _GREY
    colours = np.frombuffer(bytes(image.palette.palette), dtype=np.uint8)
    colours = colours[: len(colours) // 3 * 3].reshape(-1, 3)
    return image.palette.mode == "RGB" and bool((colours == colours[:, :1]).all())


def visible_files(folder: Path) -> list[Path]:
    """What is in a folder, by name, without what is hidden, as macOS's `._a.png`."""
    return [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]


def by_format(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Of some files the pictures that can be read, and those of other formats, both by their endings."""
    found = [file for file in files if file.suffix.lower() in ENDINGS]
    return found, [file for file in files if file.suffix.lower() in OTHERS]


def told_of_others(others: Sequence[Path]) -> str:
    """`2 pictures of other formats, such as a.gif`."""
    return f"{len(others)} pictures of other formats, such as {others[0].name}"


def _on_black(image: Image.Image) -> Image.Image:
    opaque = Image.new("RGBA", image.size, "black")
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque


@dataclass(frozen=True)
class Looked:
    """What pictures are, before they are read."""

    sizes: Counter[Size]
    grey: int
    """How many of them are."""

    @classmethod
    def at(cls, pictures: Sequence[Picture]) -> "Looked":
        """
        Raises:
            PictureError: one of them is none.
        """
        found = [picture.look() for picture in pictures]
        return cls(Counter(size for size, _ in found), sum(is_grey for _, is_grey in found))


def read_pictures(
    origin: Path, splits: dict[str, Sequence[Picture]], size: Size | None, notes: list[str]
) -> dict[str, NDArray[np.uint8]]:
    """The pictures of each split, uint8 of shape (n, height, width, channels), all of one size and kind.

    Args:
        size: that they are resized to.
        notes: is given a sentence for what was done.

    Raises:
        DataError: they have several sizes, and nobody says which they are to have; or one is no picture.
    """
    try:
        everything = [picture for pictures in splits.values() for picture in pictures]
        looked = Looked.at(everything)
        size = _common_size(origin, looked.sizes, size, notes)
        channels = 1 if looked.grey == len(everything) else 3
        if channels == 3 and looked.grey:
            notes.append(f"{looked.grey} of {len(everything)} images are grey and became RGB as the others")
        read = {name: [picture.read(channels, size)[0] for picture in pictures] for name, pictures in splits.items()}
    except PictureError as error:
        raise DataError(str(error)) from error
    return {name: np.stack(images) for name, images in read.items()}


def _common_size(origin: Path, sizes: Counter[Size], wanted: Size | None, notes: list[str]) -> Size:
    if wanted is not None:
        if others := sum(number for size, number in sizes.items() if size != wanted):
            notes.append(f"{others} of {sizes.total()} images were resized to {_times(wanted)}")
        return wanted
    if len(sizes) > 1:
        smallest, largest = (pick(sizes, key=lambda size: size[0] * size[1]) for pick in (min, max))
        raise DataError(
            f"the images of {origin} have {len(sizes)} sizes, from {_times(smallest)} to {_times(largest)}: have them "
            "resized to one, as with data.image_size=32"
        )
    return next(iter(sizes))


def _times(size: Size) -> str:
    return f"{size[0]} × {size[1]}"
