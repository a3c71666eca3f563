"""`python stored_source.py FOLDER MODULE,… COMMAND …`: run a command of the stored sources in FOLDER, and of no others.

Run as a file, with nothing but the standard library: what is here must not be mistaken for what is stored. A module of
these names that the folder does not have is missing, wherever else one of its name is installed.
"""

import importlib.machinery
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class NotStored(ModuleNotFoundError):
    """A module that the stored sources do not have, though another of its name may be installed."""


class StoredAlone:
    """Finds the modules of some packages below the folders of the stored sources, and nowhere else."""

    def __init__(self, names: frozenset[str], folders: Sequence[str]) -> None:
        self._names, self._folders = names, folders

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The module, as the stored sources have it.

        Raises:
            NotStored: they have not.
        """
        if fullname.partition(".")[0] not in self._names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, self._folders if path is None else path, target)
        places = [spec.origin] if spec and spec.origin else list((spec and spec.submodule_search_locations) or ())
        if spec is None or not all(str(place).startswith(tuple(f"{f}/" for f in self._folders)) for place in places):
            raise NotStored(f"the stored sources have no module {fullname}", name=fullname)
        return spec


def main(words: Sequence[str]) -> None:
    """Run the command line of the stored sources."""
    folders, names, module, *arguments = words
    sys.meta_path.insert(0, StoredAlone(frozenset(names.split(",")), folders.split(":")))
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except NotStored as error:
        sys.exit(f"odenet: {error}, and none from elsewhere is run in its place")


if __name__ == "__main__":
    main(sys.argv[1:])
