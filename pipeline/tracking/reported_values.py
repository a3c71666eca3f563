"""What any experiment reports of itself, as the document of its run takes it.

Sacred hands nothing more of a run to an observer that fails once, and a store takes nothing of a document that is too
large: what cannot be kept is left out by itself.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from bson import encode

from pipeline.tracking.lean_sacred import flatten
from pipeline.tracking.storable import storable
from pipeline.util.errors import shortened
from pipeline.util.plain_values import plain

log = logging.getLogger("odenet")

MOST_BYTES = 10 * 2**20
"""Of a run's configuration, info and result together: a document ends at 16 MB, and console output is in it, too."""


class ReportedValues:
    """A run's info and result; of each name is said once what becomes of it."""

    def __init__(self, of_config: int) -> None:
        """For a run whose configuration has so many bytes."""
        self._bytes = {"config": of_config}
        self._told: set[str] = set()

    def flat(self, values: Mapping[Any, Any], section: str = "") -> dict[str, Any]:
        """The values as JSON, without those that cannot be recorded.

        Args:
            section: how their names begin, as `info.`.
        """
        kept: dict[str, Any] = {}
        for key, value in dict(values).items():
            name = f"{section}{key}"
            try:
                entry = flatten(plain({key: value}))
                size = len(encode(storable(entry)))
                is_pickled = "py/reduce" in json.dumps(entry)
            except Exception as error:  # whatever the value is, also one that changes meanwhile
                said = "cannot be recorded as it is now (%s): give numbers, text, lists and dictionaries"
                self._tell(name, said, shortened(f"{type(error).__name__}: {error}", 200))
                continue
            if size + sum(self._bytes.values()) - self._bytes.get(name, 0) > MOST_BYTES:
                said = "has %.1f MB, for which a run has no room beside the rest: add it as an artifact"
                self._tell(name, said, size / 1e6)
                continue
            if is_pickled:
                said = "holds an object that is stored as a pickle: give numbers, text, lists and dictionaries"
                self._tell(name, said)
            self._bytes[name] = size
            kept |= entry
        return kept

    def _tell(self, name: str, said: str, *values: Any) -> None:
        if name not in self._told:
            self._told.add(name)
            log.warning(f"%s {said}", shortened(name, 100), *values)
