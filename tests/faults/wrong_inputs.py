"""A seeded generator of wrong inputs: for every command, option, environment variable and kind of file."""

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from PIL import Image

from odenet.main import COMMANDS, odenet
from pipeline.tasks.lookup import DEFAULT, config_class

QUICK = (
    *("odenet_simple", "digits", "data.subset=100", "model.channels=4", "model.groups=2", "solver.method=euler"),
    *("training.device=cpu", "training.compile=False", "training.max_epochs=1", "data.validation_fraction=0.3"),
)
NUMBERS = (
    *(
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "-0.0",
        "1e400",
        "1e308",
        "1e-400",
        "9" * 30,
        "9" * 5000,
        str(2**63),
        str(2**31),
    ),
    *("", " ", "None", "True", "x", "1,2", "1 2", "0x10", "1_0", "٣", "１", "1e", "--", "-", "½", "'3'", "[1]", "1j"),
)
TEXTS = (
    *(
        "",
        " ",
        "None",
        "[small]",
        ":rose:",
        "[/bold]",
        "\x1b[31mred",
        "é" * 300,
        "日本",
        "\udc80",
        "a\nb",
        "a\tb",
        "%s",
        "{}",
    ),
    *(
        "'",
        '"',
        "$where",
        "$gt",
        "a.b.c",
        "..",
        ".",
        "/",
        "~",
        "\\",
        "x" * 70_000,
        "'" * 40,
        "(" * 400,
        "{'a': {'b': 1}}",
    ),
)
PATHS = (
    *(
        "",
        " ",
        "~nobody",
        "~nobody/x",
        "/dev/null",
        "/dev/null/x",
        "/proc/self/mem",
        "/nowhere/x",
        "a" * 300,
        "a/" * 2500,
    ),
    *("/proc/nowhere", "\udc80.npz", "a\nb", ".", "..", "/", "/usr/../etc/shadow/x", "file.txt", "file.txt/x", "loop"),
    *(
        "closed",
        "closed/x",
        "dangling",
        "folder",
        "socket:",
        "http://x/y",
        "file:///x",
        "-",
        "--",
        "*.png",
        "x.npz",
        "x.yaml",
    ),
)
URLS = (
    *(
        "x",
        "mongodb://",
        "mongodb://:",
        "mongodb://a:b",
        "mongodb://h:99999",
        "mongodb://h:x",
        "mongodb://[::1",
        "http://h",
    ),
    *(
        "mongodb://u:p@ss@h",
        "mongodb://u:%zz@h",
        "mongodb://u:p\x01w@h/%00",
        "mongodb://h/a b",
        "mongodb://h/a.b",
        "mongodb+srv://h",
    ),
    *("mongodb+srv://nowhere.invalid/x", "mongodb+srv://a.b.invalid:27017", "mongodb://h/?authMechanism=NONE", " "),
    *("mongodb://h/?tls=true&tlsCAFile=/nowhere.pem", "mongodb://h/?tlsCertificateKeyFile=/nowhere.pem&tls=true"),
    *("mongodb://h/?authMechanism=MONGODB-AWS", "mongodb://u:p@h/?authMechanism=GSSAPI", "mongodb://h/?timeoutMS=x"),
    *(
        "mongodb://h/?replicaSet=",
        "mongodb://h/?maxPoolSize=-1",
        "mongodb://h/?w=x&journal=true",
        "mongodb://h/?nope=1",
    ),
    *(
        "mongodb://h/?compressors=snappy,zstd",
        "mongodb://h/?readPreference=odd",
        "mongodb://\udc80",
        "mongodb://h/" + "d" * 80,
    ),
    *(
        "mongodb://h/?tls=true&tlsInsecure=true&tlsAllowInvalidCertificates=true",
        "mongodb://h1,h2/?directConnection=true",
    ),
    *("mongodb://h/?proxyHost=x", "mongodb://h/?uuidRepresentation=odd", "mongodb://h/?w=0"),
)


@dataclass(frozen=True)
class WrongInput:
    """A command line in a folder, with what stands in the environment."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""

    def __str__(self) -> str:
        variables = "".join(f"{name}={value!r:.120} " for name, value in self.environment.items())
        return f"{variables}odenet {' '.join(f'{word!r:.120}' for word in self.words)}"


class Generator:
    """Draws wrong inputs; those that are files lie in `folder`, which is the working directory of the commands."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        self._folder = folder
        self._files = 0
        (folder / "file.txt").write_text("text")
        (folder / "loop").symlink_to("loop")
        (folder / "dangling").symlink_to("nowhere")
        (folder / "folder").mkdir()
        (folder / "closed").mkdir(mode=0)

    def of(self, kind: str) -> Iterator[WrongInput]:
        """The inputs of a kind."""
        return KINDS[kind](self)

    # Command lines

    def _words(self) -> Iterator[WrongInput]:
        for name in COMMANDS:
            yield WrongInput((name[:-1] + "x",))
            yield WrongInput((name, *self._some(TEXTS, 2)))
            yield WrongInput((name, "--" + self._one(("nope", "jsn", "yes=1", "json=x", "hepl"))))
        for text in TEXTS:
            yield WrongInput((text,))

    def _options(self) -> Iterator[WrongInput]:
        for path, command in _commands(odenet, ()):
            if path[:1] in (("board",), ("data",)) and path[1:] not in (("list",),):
                continue  # those wait for a browser and for the network
            for parameter in command.params:
                if not isinstance(parameter, click.Option) or parameter.is_flag or parameter.name == "plugin":
                    continue
                pool = PATHS if "path" in type(parameter.type).__name__.lower() else NUMBERS
                for value in self._some(pool, 7):
                    yield WrongInput((*path, *_needed(path, command), parameter.opts[0], value))
            arguments = [p for p in command.params if isinstance(p, click.Argument)]
            for value in self._some(NUMBERS if arguments and "id" in str(arguments[0].name) else PATHS, 8):
                if arguments and path[0] not in ("store", "sweep", "gc") and value != "--":
                    yield WrongInput((*path, value, *_needed(path, command)[1:]))
        for value in NUMBERS:
            yield WrongInput(("board", "--port", value) if not _is_port(value) else ("show", value))

    def _values(self) -> Iterator[WrongInput]:
        keys = config_class(DEFAULT).keys()
        for key in keys:
            for value in self._some((*NUMBERS, *TEXTS), 5):
                command = self._one(("describe", "describe", "run", "rerun"))
                words = (*QUICK, f"{key}={value}") if command != "rerun" else (f"{key}={value}",)
                head = (command, "1") if command == "rerun" else (command,)
                if key not in ("training.max_epochs", "training.batch_size", "model.blocks", "model.channels"):
                    yield WrongInput((*head, "with", *words))
                else:
                    yield WrongInput(("describe", "with", *QUICK, f"{key}={value}"))
        for word in ("=", "=1", "a=", ".a=1", "a..b=1", "lr=1", "a" * 3000 + "=1", ".".join("a" * 3000) + "=1", *TEXTS):
            yield WrongInput(("describe", "with", word))
            yield WrongInput(("resume", "1", "with", word))

    def _filters(self) -> Iterator[WrongInput]:
        for command in ("runs", "export"):
            for text in TEXTS:
                yield WrongInput((command, f"config.data.name={text}"))
                yield WrongInput((command, f"{text}={self._one(TEXTS)}"))
            for number in self._some(NUMBERS, 12):
                yield WrongInput((command, f"config.seed={number}"))

    # The environment

    def _environment(self) -> Iterator[WrongInput]:
        for path in PATHS:
            if "\0" not in path:
                words = self._one(("runs", "doctor", "data list", "gc --dry-run")).split()
                yield WrongInput(tuple(words), {"ODENET_HOME": path or " "})
                yield WrongInput(("data", "list"), {"ODENET_DATA": path or " "})
                yield WrongInput(("describe", "with", "mnist"), {"ODENET_DATA": path or " "})
                yield WrongInput(("runs",), {"ODENET_MONGO_URL_FILE": path or " "})
        for url in URLS:
            yield WrongInput((self._one(("runs", "show", "models")),), {"ODENET_MONGO_URL": url})
        for text in TEXTS[:-4]:
            yield WrongInput(("runs",), {"COLUMNS": text})
            yield WrongInput((), {"_ODENET_COMPLETE": text})

    # Files

    def _configurations(self) -> Iterator[WrongInput]:
        valid = "model: {architecture: simple, channels: 8}\ntraining:\n  lr: 1e-3\n  max_epochs: 1\nseed: 3\n"
        for text in (*_YAML, *(self._damaged(valid.encode()) for _ in range(30))):
            file = self._file("yaml", text)
            yield WrongInput(("describe", "with", "digits", file))

    def _spaces(self) -> Iterator[WrongInput]:
        valid = "with: [odenet_simple, digits, training.max_epochs=1]\nminimise: validation.loss\nspace:\n  %s\n"
        for node in _NODES:
            yield WrongInput(("sweep", self._file("yaml", valid % node)))
        good = (valid % "training.lr: {loguniform: [1e-4, 1e-1]}").encode()
        for text in (*_YAML, *(self._damaged(good) for _ in range(25))):
            yield WrongInput(("sweep", self._file("yaml", text)))

    def _arrays(self) -> Iterator[WrongInput]:
        for arrays in _data_sets():
            file = self._npz(arrays)
            yield WrongInput((self._one(("run", "describe")), "with", *QUICK[:1], *QUICK[2:], f"data.name={file}"))
            yield WrongInput(("evaluate", "1", "--solver", "euler", "--steps", "1", "--data", file))
        good = (self._folder / self._npz(_data_set())).read_bytes()
        for _ in range(25):
            file = self._file("npz", self._damaged(good))
            yield WrongInput(("describe", "with", *QUICK, f"data.name={file}"))
            yield WrongInput(("evaluate", "1", "--predict", file))

    def _raw_files(self) -> Iterator[WrongInput]:
        for kind in ("empty", "short", "swapped", "flat", "huge", "folder", "dangling", "text", "gz"):
            for name in ("mnist", "qmnist", "fashion_mnist", "cifar10", "cifar100"):
                root = _raw(self._folder, name, kind)
                for words in (("data", "list"), ("describe", "with", name, "data.subset=50")):
                    yield WrongInput(words, {"ODENET_DATA": root})

    def _images(self) -> Iterator[WrongInput]:
        good = _png()
        names = [
            self._file("png", content) for content in (b"", b"x", *(self._damaged(good) for _ in range(20)), _jpeg())
        ]
        for name in names:
            yield WrongInput(("evaluate", "1", "--predict", name))
        for path in PATHS:
            yield WrongInput(("evaluate", "1", "--predict", path or " "))
        for mode, size in (("I;16", (8, 8)), ("1", (1, 1)), ("P", (8, 8)), ("LA", (8, 3000)), ("RGBA", (1, 9000))):
            file = self._path("png")
            Image.new(mode, size).save(self._folder / file)
            yield WrongInput(("evaluate", "1", "--predict", file))
        folder = self._folder / "photos"
        folder.mkdir()
        (folder / "._a.png").write_bytes(b"\0\5\x16\7")
        (folder / "b.jpg").write_bytes(_jpeg())
        yield WrongInput(("evaluate", "1", "--predict", "photos"))
        (folder / "c.png").write_bytes(good)
        yield WrongInput(("evaluate", "1", "--predict", "photos"))

    def _plugins(self) -> Iterator[WrongInput]:
        for text in _PLUGINS:
            yield WrongInput(("describe", "with", "digits", "--plugin", self._file("py", text)))
        for path in PATHS:
            yield WrongInput(("describe", "with", "digits", "--plugin", path))

    def _backups(self) -> Iterator[WrongInput]:
        good = (self._folder / "good.zip").read_bytes() if (self._folder / "good.zip").exists() else b"PK"
        for _ in range(35):
            yield WrongInput(("restore", self._file("zip", self._damaged(good))))
        for name, content in (
            ("a", b""),
            ("backup.json", b"{}"),
            ("../x", b"x"),
            ("/etc/x", b"x"),
            ("manifest.json", b"["),
        ):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr(name, content)
            yield WrongInput(("restore", self._file("zip", buffer.getvalue())))
        for path in PATHS:
            yield WrongInput((self._one(("restore", "backup")), path if path != "/dev/null" else "folder"))

    def _names(self) -> Iterator[WrongInput]:
        for text in TEXTS:
            yield WrongInput(("tag", "1", text))
            yield WrongInput(("note", "1", text))
            yield WrongInput(("promote", "1", text))
            yield WrongInput(("promote", "--remove", text))
        for path in PATHS:
            yield WrongInput(("attach", "1", path))
        for answer in ("", "n", "x", "\0", "é"):
            yield WrongInput(("rm", "2"), stdin=answer)

    # Drawing

    def _one(self, pool: Sequence[str]) -> str:
        return self._random.choice(pool)

    def _some(self, pool: Sequence[str], number: int) -> list[str]:
        return self._random.sample(pool, min(number, len(pool)))

    def _damaged(self, content: bytes) -> bytes:
        """The content with bytes changed, cut, doubled or zeroed."""
        damaged = bytearray(content)
        for _ in range(self._random.choice((1, 1, 3, 20))):
            place = self._random.randrange(len(damaged) + 1)
            match self._random.randrange(5):
                case 0:
                    damaged[place : place + 1] = bytes([self._random.randrange(256)])
                case 1:
                    del damaged[place:]
                case 2:
                    damaged[place:place] = damaged[place // 2 : place]
                case 3:
                    damaged[place : place + 8] = bytes(8)
                case _:
                    damaged[place:place] = self._random.choice(
                        (b"\xff\xfe", b"{", b"[", b": ", b"\n- ", b"!!python/x ")
                    )
        return bytes(damaged)

    def _path(self, ending: str) -> str:
        self._files += 1
        return f"{self._files}.{ending}"

    def _file(self, ending: str, content: str | bytes) -> str:
        name = self._path(ending)
        (self._folder / name).write_bytes(
            content.encode(errors="surrogateescape") if isinstance(content, str) else content
        )
        return name

    def _npz(self, arrays: Mapping[str, np.ndarray]) -> str:
        name = self._path("npz")
        np.savez(self._folder / name, **arrays)  # type: ignore[arg-type]
        return name


KINDS: dict[str, Callable[[Generator], Iterator[WrongInput]]] = {
    "commands and words": Generator._words,
    "options of every command": Generator._options,
    "configuration values": Generator._values,
    "filters": Generator._filters,
    "environment variables": Generator._environment,
    "YAML configurations": Generator._configurations,
    "YAML spaces": Generator._spaces,
    "data sets (.npz)": Generator._arrays,
    "data sets (raw files)": Generator._raw_files,
    "images": Generator._images,
    "plug-ins": Generator._plugins,
    "backups": Generator._backups,
    "names, tags and notes": Generator._names,
}
"""Kind of wrong input -> what draws it."""


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


def _needed(path: tuple[str, ...], command: click.Command) -> tuple[str, ...]:
    """Words that the command wants, so that the wrong one is what it stumbles over."""
    match path:
        case ("tag",) | ("note",) | ("promote",):
            return ("1", "x")
        case ("attach",):
            return ("1", "file.txt")
        case ("compare",):
            return ("1", "2")
        case ("evaluate",):
            return ("1",)
        case ("sweep",):
            return ("nowhere",)
        case ("rm",):
            return ("99",)
        case ("report",):
            return ("--out", "page.html")
        case ("backup",) | ("restore",):
            return ("folder",)
    return ("1",) if any("id" in str(p.name) for p in command.params if isinstance(p, click.Argument)) else ()


def _is_port(text: str) -> bool:
    try:
        return 0 <= int(text) < 65536
    except ValueError:
        return False


_YAML: tuple[str | bytes, ...] = (
    *(
        "",
        "- a",
        "3",
        "x",
        "a: &a [*a]",
        "a: &a {b: *a}",
        "1: 2",
        "true: 1",
        "2020-01-01: 1",
        "null: 1",
        "? [a, b]\n: 1",
    ),
    *(
        "seed: 2020-01-01",
        "seed: !!set {a, b}",
        "seed: !!binary aGk=",
        "seed: !!python/object:os.system x",
        "a: !!int x",
    ),
    *(
        "[" * 5000,
        "{a: " * 3000,
        "a:\n\tb: 1",
        "a: 1\na: 2",
        "%YAML 9.9\n---\na: 1",
        "--- a\n--- b",
        "a: *b",
        "&a : 1",
        "\ufeffx",
    ),
    *(
        "seed: 0x" + "f" * 5000,
        "seed: " + "9" * 5000,
        "seed: 99:99:99:99",
        "seed: 2020-99-99",
        "seed: .nan",
        "seed: -.inf",
    ),
    *(
        "training: 3",
        "training: [lr]",
        "training: {lr: {a: 1}}",
        "training.lr: x",
        "training..lr: 1",
        ".: 1",
        "model: null",
    ),
    *(
        "task: 3",
        "task: nope",
        "with: 3",
        "space: {}",
        "minimise: 3",
        "with: [digits]\nminimise: validation.loss\nspace: 3",
    ),
    *(b"\xff\xfe\x00a", b"caf\xe9: 1", b"\x00", b"a: \x01", b"\x80\x81" * 50, "a: b\n" * 20_000),
    "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n",
)
_NODES = (
    *("training.lr: {uniform: [0, 1e999]}", "training.lr: {loguniform: [0, 1]}", "training.lr: {uniform: [1, 1]}"),
    *("training.lr: {quniform: [0.1, 0.2, 5]}", "training.lr: {choice: []}", "training.lr: {choice: [0.1, {a: 1}]}"),
    *("training.lr: {uniform: [.nan, 1]}", "training.lr: {uniform: [-1e308, 1e308]}", "training.lr: {nope: [1, 2]}"),
    *("training.lr: {uniform: 3}", "training.lr: {uniform: [1]}", "training.lr: {uniform: {a: 1}}", "training.lr: []"),
    *("x: {choice: [{}, {}]}", "x: {choice: [{training.lr: 0.1}, {}]}", "x: {choice: [{}, {training.lr: 0.1}]}"),
    *(
        "x: {choice: [{x: {choice: [{}, {}]}}, {}]}",
        "training.lr: {choice: [1, 1]}",
        "training.lr: {choice: [null, 0.1]}",
    ),
    *(
        "3: {uniform: [0, 1]}",
        "seed: {uniformint: [0, 9]}",
        "training: {uniform: [0, 1]}",
        "training.lr: {uniform: [1, 0]}",
    ),
    *("model.channels: {uniformint: [1, 1e30]}", "model.channels: {qloguniform: [1e-3, 1e300, 1]}"),
    *(
        "model.channels: {uniform: [1, 2]}",
        "model.channels: {quniform: [1.5, 1.6, 1]}",
        "training.lr: {loguniform: [1e-320, 1]}",
    ),
    *(
        "training.optimiser: {uniform: [0, 1]}",
        "training.optimiser: {choice: [adam, [sgd]]}",
        "training.lr: {choice: abc}",
    ),
    *("training.lr: {uniform: [0, 1], loguniform: [1, 2]}", "training.lr: {}", "data.name: {choice: [digits, nope]}"),
    *(
        "model.blocks: {choice: [1, true]}",
        "training.lr: {uniform: [true, 2]}",
        "training.lr: {quniform: [0, 1, 1e-320]}",
    ),
    *(
        "training.lr: 0.1",
        "training.lr: {choice: [2020-01-01, 1]}",
        "x: {choice: [{training.lr: 1}, {training.lr: {uniform: [0, 1]}}]}",
    ),
    *(
        "training.lr: {choice: [0.1, 0.2]}\n  y: {choice: [{training.lr: 0.1}, {}]}",
        "training.lr: {uniform: ['0', '1']}",
    ),
)
_PLUGINS: tuple[str | bytes, ...] = (
    *(
        "",
        "x",
        "import nowhere",
        "1/0",
        "raise SystemExit(3)",
        "raise SystemExit",
        "raise KeyError",
        "def f(:",
        "\tx",
        "exit()",
    ),
    *("import sys; sys.exit('no')", "raise BaseException('x')", "from pipeline import plugins\nplugins.model('x')"),
    *(
        "from pipeline import plugins\n@plugins.model('simple')\ndef f(): ...",
        "from pipeline import plugins\n@plugins.model(3)\ndef f(): ...",
    ),
    *(
        "from pipeline import plugins\n@plugins.model('n')\ndef f(a, b, c, *, d): ...",
        "f(" * 3000,
        "x = " + "-" * 20000 + "1",
    ),
    *(
        "from pipeline import plugins\n@plugins.metric('m')\ndef f(a): ...",
        "raise Exception('a\\nb\\x1b[31m')",
        b"\xff\xfe",
        b"x = '\0'",
    ),
    *("def f(): f()\nf()", "from pipeline import plugins\n@plugins.data_set('d', shape=3, classes='x')\ndef f(): ..."),
    *(
        "# -*- coding: nope -*-\nx = 1",
        "import odenet.nowhere",
        "raise MemoryError",
        "raise UnicodeDecodeError('a', b'', 0, 1, 'x')",
    ),
)


def _data_set(**others: np.ndarray) -> dict[str, np.ndarray]:
    labels = np.arange(60) % 10
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    return {"x_train": images, "y_train": labels, "x_test": images[:20], "y_test": labels[:20], **others}


def _data_sets() -> Iterator[dict[str, np.ndarray]]:
    names = np.array([*"abcdefghij"])
    images = np.zeros((60, 8, 8), np.uint8)
    for key in ("x_train", "y_train", "x_test", "y_test"):
        yield {name: value for name, value in _data_set().items() if name != key}
        for wrong in (
            images,
            images.astype(float),
            images[:0],
            images[0, 0],
            np.array(3),
            np.array(["a"]),
            images[..., None],
        ):
            yield _data_set(**{key: wrong})
        yield _data_set(**{key: _data_set()[key] - 3})
        yield _data_set(**{key: np.zeros((60, 0, 8), np.uint8)})
    for classes in (
        names[:3],
        names[[0] * 10],
        np.array([*names, *names]),
        names.reshape(2, 5),
        np.arange(10),
        np.array("x"),
    ):
        yield _data_set(classes=classes)
    yield _data_set(y_train=np.zeros(60, int), y_test=np.zeros(20, int))
    yield _data_set(x_train=np.zeros((60, 1, 1), np.uint8), x_test=np.zeros((20, 1, 1), np.uint8))
    yield _data_set(x_train=np.zeros((60, 8, 8, 5), np.uint8), x_test=np.zeros((20, 8, 8, 5), np.uint8))
    yield {"x": images.astype(object).astype(str)}


def _raw(folder: Path, name: str, kind: str) -> str:
    """A data folder in which a data set's files are such."""
    from pipeline.data.catalogue import layout_of

    layout, root = layout_of(name), f"raw-{name}-{kind}"
    assert layout is not None
    for number, file in enumerate(layout.files()):
        path = folder / root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        is_labels = bool(number % 2) != (kind == "swapped")
        shape = [5] if is_labels or kind == "flat" else [5, 4, 4]
        header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
        body = header + bytes(int(np.prod(shape)))
        match kind:
            case "folder":
                path.mkdir()
            case "dangling":
                path.symlink_to("nowhere")
            case "empty":
                path.write_bytes(b"")
            case "short":
                path.write_bytes(body[:-3])
            case "huge":
                path.write_bytes(bytes([0, 0, 8, 200]) + b"\xff" * 800)
            case "text":
                path.write_text("<html>not found</html>")
            case "gz":
                path.with_name(f"{path.name}.gz").write_bytes(b"\x1f\x8b" + body)
            case _:
                path.write_bytes(body)
    return root


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 7).save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 7).save(buffer, "JPEG")
    return buffer.getvalue()


def describe(wrong: Sequence[tuple[WrongInput, str]]) -> str:
    """Those that did harm, and how."""
    return json.dumps(
        [{"input": str(given)[:600], "harm": harm} for given, harm in wrong], indent=1, ensure_ascii=False
    )
