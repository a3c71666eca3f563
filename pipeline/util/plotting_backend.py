"""A plotting backend that the environment names and this Python does not have.

Matplotlib refuses to be imported then, in a shell that a notebook has opened for one. Our figures need no backend.
"""

import importlib.util
import os

VARIABLE = "MPLBACKEND"
GROUP = "matplotlib.backend"
"""The entry points by which packages bring backends."""
KNOWN = (
    *("agg", "cairo", "pdf", "pgf", "ps", "svg", "template", "gtk3agg", "gtk3cairo", "gtk4agg", "gtk4cairo", "macosx"),
    *("nbagg", "notebook", "qtagg", "qtcairo", "qt5agg", "qt5cairo", "tkagg", "tkcairo", "webagg", "wx", "wxagg"),
    *("wxcairo", "auto"),
)
"""Those of Matplotlib itself."""


def forget_unknown_backend() -> None:
    """Take a name that Matplotlib would refuse out of the environment; call it before Matplotlib is imported."""
    name = os.environ.get(VARIABLE)
    if name and name.lower() not in KNOWN and not _is_there(name):
        del os.environ[VARIABLE]


def _is_there(name: str) -> bool:
    scheme, is_module, module = name.partition("module://")
    if not is_module:
        from importlib.metadata import entry_points

        return any(entry.name == name and _can_be_found(entry.module) for entry in entry_points(group=GROUP))
    return not scheme and _can_be_found(module)


def _can_be_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
