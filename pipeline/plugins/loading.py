"""Plug-ins as files, installed modules, or entry points of a package; with their sources, by content."""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import get_args

from pipeline.plugins.registry import Kind, PluginError, forget, plugin_files, registered
from pipeline.util.errors import OdenetError
from pipeline.util.files import private_folder, whole_file
from pipeline.util.paths import home

ENTRY_POINTS = "odenet.plugins"
"""The group of entry points in which a package names its modules with plug-ins."""


@dataclass(frozen=True)
class PluginSource:
    """A source file of a plug-in."""

    spec: str
    """What names the plug-in: the absolute path of a file, or a module."""
    name: str
    """Of the file, below the folder that holds the plug-in: `my_net.py`, or `lab_nets/fields.py` of a package."""
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def is_file(self) -> bool:
        """Whether the plug-in is a file and no module."""
        return self.spec.endswith(".py")


_loaded: dict[str, tuple[PluginSource, ...]] = {}
_executed: dict[str, tuple[str, ...]] = {}
"""Of each of them the files that were executed, which are copies where the plug-in itself is not here."""
_only_installed: set[str] = set()
"""Those of them that nobody named: modules that an installed package brought by its entry point."""


def load_plugins(specs: Sequence[str] = ()) -> None:
    """Import plug-ins, so that their parts are registered: first those of installed packages, then `specs`.

    A plug-in that is loaded already stays as it is, unless its file has changed.

    Args:
        specs: paths of `.py` files, or names of modules.

    Raises:
        PluginError: one is not there, fails when it is imported, or registers nothing that can be used.
    """
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.module not in _loaded:
            _load_module(entry.module)
            _only_installed.add(entry.module)
    for spec in specs:
        if spec.endswith(".py") or Path(spec).is_file():
            _load_file(Path(spec))
        else:
            _load_module(spec)
            _only_installed.discard(spec)


def loaded_sources() -> tuple[PluginSource, ...]:
    """The source files of all plug-ins that are loaded, in the order in which they were."""
    return tuple(source for sources in _loaded.values() for source in sources)


def named_sources() -> tuple[PluginSource, ...]:
    """Of the plug-ins that somebody named, not of those that are there because their package is installed."""
    return tuple(source for source in loaded_sources() if source.spec not in _only_installed)


def parts_without_source() -> list[str]:
    """What is registered by no plug-in, as in a notebook's cell, so that no run stores its source: `the field mine`."""
    files = {file for files in _executed.values() for file in files}
    parts = [part for kind in get_args(Kind) if kind != "named configuration" for part in registered(kind)]
    return [f"the {part.kind} {part.name}" for part in parts if part.where.rpartition(":")[0] not in files]


@contextmanager
def recording_source(source: PluginSource) -> Iterator[None]:
    """Within it runs record this source too, of something that no plug-in brought."""
    _loaded[source.spec] = (source,)
    try:
        yield
    finally:
        del _loaded[source.spec]


def load_sources(sources: Sequence[PluginSource]) -> None:
    """Load plug-ins of which the sources are given, as to a worker that may be on another machine.

    A plug-in that is where it was, these files unchanged, is loaded from there; otherwise a copy in `ODENET_HOME`.

    Raises:
        PluginError: as for `load_plugins`.
    """
    by_spec: dict[str, list[PluginSource]] = {}
    for source in sources:
        by_spec.setdefault(source.spec, []).append(source)
    for spec, of_plugin in by_spec.items():
        if _loaded.get(spec) == tuple(of_plugin):
            continue
        if of_plugin[0].is_file:
            _load_file(_file_with(of_plugin[0]), spec)
        else:
            if not set(of_plugin) <= set(read_module(spec)):
                sys.path.insert(0, str(_copy(of_plugin)))
                importlib.invalidate_caches()
            _load_module(spec)


@contextmanager
def naming_plugin_failures() -> Iterator[None]:
    """Within it an exception that comes from the code of a plug-in becomes a sentence with the plug-in's own line.

    Raises:
        PluginError: instead.
    """
    try:
        yield
    except OdenetError:
        raise
    except (Exception, SystemExit) as error:  # the plug-in is told of and not obeyed
        files = plugin_files()
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
        if not frames:
            raise
        raise _failure(Path(frames[-1].filename).name, f" in line {frames[-1].lineno}", error) from error


def read_file(spec: str) -> bytes | None:
    """The content of a plug-in's file as it lies there now; None where it does not."""
    try:
        return Path(spec).read_bytes()
    except OSError:
        return None


def read_module(spec: str) -> tuple[PluginSource, ...]:
    """The source files of an installed module, all those of its package where it is in one; none where it is absent.

    Nothing is executed.
    """
    root, files = _files_of_module(spec)
    return tuple(PluginSource(spec, str(file.relative_to(root)), file.read_bytes()) for file in files)


def _files_of_module(spec: str) -> tuple[Path, list[Path]]:
    """Where a module's names begin, and the Python files of the package that it is in; none where it is absent.

    Of a namespace package, which has no files of its own, those of the first module or package in it.
    """
    names = spec.split(".")
    for depth in range(1, len(names) + 1):
        try:
            found = importlib.util.find_spec(".".join(names[:depth]))
        except (ImportError, ValueError):
            break
        if found is None or (found.origin or ".py")[-3:] != ".py":
            break
        if found.origin is not None:
            origin = Path(found.origin)
            if found.submodule_search_locations is None:
                return origin.parents[depth - 1], [origin]
            return origin.parents[depth], sorted(origin.parent.rglob("*.py"))
    return Path(), []


def _load_file(path: Path, spec: str | None = None) -> None:
    file = path.expanduser().absolute()
    spec = spec or str(file)
    content = read_file(str(file))
    if content is None:
        raise PluginError(f"the plug-in {path} cannot be read: name a .py file, or a module that is installed")
    sources = (PluginSource(spec, path.name, content),)
    if _loaded.get(spec) == sources:
        return
    unload(str(file))
    name = f"odenet_plugin_{path.stem}_{hashlib.sha256(spec.encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module  # as classes and dataclasses look themselves up there
    with _telling_failure(str(path), [file], module):
        # By its content, so that what is recorded is what is executed; Python's own import may take an older .pyc.
        exec(compile(content, str(file), "exec"), vars(module))  # noqa: S102
        if str(file) not in plugin_files():
            raise PluginError(
                f'the plug-in {path} registers nothing: put a decorator such as @plugins.model("mine") on it'
            )
    _loaded[spec], _executed[spec] = sources, (str(file),)


def unload(file: str) -> None:
    """Have nothing of the plug-in any more that a file belongs to, so that it is executed when it is loaded again."""
    forget(f"{file}:")
    for spec, files in list(_executed.items()):
        if file not in files:
            continue
        for one in files:
            forget(f"{one}:")
        for name, module in list(sys.modules.items()):
            if getattr(module, "__file__", None) in files and name != "__main__":  # a script may be its own plug-in
                del sys.modules[name]
        _loaded.pop(spec, None)
        del _executed[spec]


def _load_module(spec: str) -> None:
    if spec in _loaded:
        return
    sources = read_module(spec)
    if not sources:
        raise PluginError(
            f"the plug-in {spec} is neither a file nor an installed module: correct its name, or install it"
        )
    files = _files_of_module(spec)[1]
    with _telling_failure(spec, files):
        importlib.import_module(spec)
    _loaded[spec], _executed[spec] = sources, tuple(map(str, files))


@contextmanager
def _telling_failure(plugin: str, files: Sequence[Path], module: ModuleType | None = None) -> Iterator[None]:
    """A failure within, in one sentence with the plug-in's own line; nothing of the plug-in stays then.

    What it prints is not for whoever reads our standard output, which may be JSON.

    Args:
        files: of the plug-in.
        module: of the plug-in that is one file.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit among them: the plug-in is told of and not obeyed
        if module is not None:
            sys.modules.pop(module.__name__, None)
            unload(str(module.__file__))
        if isinstance(error, PluginError):
            raise
        raise _failure(plugin, _line(error, files), error) from error


def _failure(plugin: str, line: str, error: BaseException) -> PluginError:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return PluginError(f"the plug-in {plugin} failed{line}: {type(error).__name__}: {said}; correct it there")


def _line(error: BaseException, files: Sequence[Path]) -> str:
    """Where in the plug-in it failed, with the file's name where there are several."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((str(error.filename), error.lineno))
    own = [(Path(name), line) for name, line in frames if Path(name) in files]
    if not own:
        return ""
    file, line = own[-1]
    return f" in line {line}" if len(files) == 1 else f" in line {line} of {file.parent.name}/{file.name}"


def _file_with(source: PluginSource) -> Path:
    """A file with that content: the plug-in's own, or a copy."""
    if read_file(source.spec) == source.content:
        return Path(source.spec)
    return _copy([source]) / source.name


def _copy(sources: Sequence[PluginSource]) -> Path:
    digest = hashlib.sha256(b"".join(source.content for source in sources)).hexdigest()
    folder = home() / "plugins" / digest[:16]
    for source in sources:
        path = (folder / source.name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise PluginError(f"the plug-in's file {source.name} would be written outside its folder: do not load it")
        private_folder(path.parent)
        with whole_file(path, concurrent=True) as file:  # as other workers write it, too
            file.write(source.content)
    return folder
