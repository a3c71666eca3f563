"""Writes `docs/configuration.md` from the sections of the configuration.

python -m docs.generate_configuration            # writes the page
python -m docs.generate_configuration --check    # exit status 1 where the page is not current
"""

import argparse
import ast
import inspect
import sys
import textwrap
import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.plugins import registry
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.lookup import DEFAULT, config_class

PAGE = Path(__file__).with_name("configuration.md")

INTRODUCTION = """\
# Configuration keys

<!-- Written by `python -m docs.generate_configuration`; change the sections' docstrings, not this page. -->

Every key that a run's configuration has. On the command line a key is set after `with`, as in
`odenet run with odenet_simple digits training.lr=5e-4`; values are Python literals or text. In Python they are nested
dictionaries, as in `Config.from_dict({"training": {"lr": 5e-4}})`. What is not set keeps its default, or what a
[named configuration](train.md#named-configurations) sets. A key or a value that cannot be is refused before anything
starts, with the nearest right name.
"""

TYPES = {int: "whole number", float: "number", str: "text", bool: "True or False"}
BOUNDS = {"at_least": "≥", "above": ">", "at_most": "≤", "below": "<"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with `--check` compare it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate_configuration")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where it is not current")
    page = render()
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page)
        return 0
    if PAGE.read_text() == page:
        return 0
    print(f"{PAGE.name} is not current: run `python -m docs.generate_configuration`", file=sys.stderr)
    return 1


def render() -> str:
    """The whole page."""
    sections = {section.section for section in ClassificationConfig.sections().values()}
    others = [key for key in fields(ClassificationConfig) if key.name not in sections]
    parts = [INTRODUCTION]
    for section in ClassificationConfig.sections().values():
        parts.append(f"## {section.section}\n\n{_first_paragraph(section)}\n")
        parts.append(_table(section, fields(section), f"{section.section}."))
    if others:
        parts.append("## Beside the sections\n")
        parts.append(_table(ClassificationConfig, others, ""))
    for task in registry.names("task", of_plugins=False):
        if task != DEFAULT:
            parts += _of_task(task)
    return "\n".join(parts)


def _of_task(task: str) -> list[str]:
    """The keys of another task that image classification does not have, or has with other defaults."""
    common = ClassificationConfig.sections()
    parts = [f"## The task {task}\n\nWhat is not here is as above. It lacks {_absent(task)}.\n"]
    for name, section in config_class(task).sections().items():
        keys = [key for key in fields(section) if not (name in common and _is_shared(section, common[name], key.name))]
        if keys:
            parts.append(f"### {task}: {name}\n\n{_first_paragraph(section)}\n")
            parts.append(_table(section, keys, f"{name}."))
    return parts


def _absent(task: str) -> str:
    """What image classification has and the task has not: whole sections, and keys of the others."""
    sections, absent = config_class(task).sections(), []
    for name, common in ClassificationConfig.sections().items():
        own = {key.name for key in fields(sections[name])} if name in sections else set()
        missing = [f"`{name}.{key.name}`" for key in fields(common) if key.name not in own]
        absent += missing if own else [f"the section `{name}`"]
    return ", ".join(absent)


def _is_shared(section: type, other: type, name: str) -> bool:
    """Whether both have the key, with the same default."""
    own, others = ({key.name: key for key in fields(one)} for one in (section, other))
    return name in others and _default(own[name]) == _default(others[name])


def _table(owner: type, keys: Sequence["Field[Any]"], prefix: str) -> str:
    hints, says = get_type_hints(owner), attribute_docstrings(owner)
    rows = ["| key | default | values | what it is |", "|---|---|---|---|"]
    for key in keys:
        cells = (f"`{prefix}{key.name}`", f"`{_default(key)}`", _values(hints[key.name], key), says.get(key.name, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def attribute_docstrings(owner: type) -> dict[str, str]:
    """Attribute -> the string below it, in one line; of the class and of those that it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if not is_dataclass(base):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        statements = definition.body if isinstance(definition, ast.ClassDef) else []
        for attribute, below in pairwise(statements):
            if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name):
                match below:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        found[attribute.target.id] = " ".join(text.split())
    return found


def _first_paragraph(section: type) -> str:
    return " ".join((inspect.getdoc(section) or "").partition("\n\n")[0].split())


def _default(key: "Field[Any]") -> str:
    if key.default_factory is not MISSING:
        return str(key.default_factory())
    return "none: must be set" if key.default is MISSING else str(key.default)


def _values(hint: Any, key: "Field[Any]") -> str:
    bounds = [f"{BOUNDS.get(name, name)} {bound:g}" for name, bound in key.metadata.items() if _is_number(bound)]
    if choices := key.metadata.get("one_of"):
        return ", ".join(f"`{choice}`" for choice in choices)
    return ", ".join([_type(hint), *bounds])


def _type(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_type(alternative) for alternative in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if hint is type(None):
        return "None"
    return TYPES.get(hint, f"`{inspect.formatannotation(hint)}`")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


if __name__ == "__main__":
    sys.exit(main())
