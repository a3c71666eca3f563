"""The whole configuration of a run, one class a task."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Self, get_type_hints

from pipeline.config.section import ConfigError, Section, check_type
from pipeline.config.sections import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    SolverConfig,
    TrainingConfig,
)
from pipeline.methods import TABLEAUS
from pipeline.plugins import registry
from pipeline.util.errors import LONGEST_VALUE, brief, shortened
from pipeline.util.nested import flatten
from pipeline.util.plain_values import plain

ALIASES = {"training.optimizer": "training.optimiser"}
"""Another spelling -> the key."""
FORMER = {"model.time_channel": ("model.time_weights", {True: "channel", False: "none"})}
"""A key that stored configurations may have -> the one that there is now, and its values for the former ones."""
OPTIONS: Mapping[str, tuple[registry.Kind, ...]] = {
    "data.options": ("data set",),
    "model.options": ("model", "field"),
    "series.encoder_options": ("encoder",),
    "series.decoder_options": ("decoder",),
    "training.optimiser_options": ("optimiser",),
    "training.schedule_options": ("schedule",),
}
"""Key -> the kinds of parts whose options it holds."""


@dataclass(frozen=True)
class Config:
    """What every experiment is made of: a section a stage, and the seed.

    A task whose stages have other settings subclasses the sections, adds some of its own, and names them as fields.
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = 0
    """Of the split into training and validation, the first weights, the order of the items and random crops."""

    SEED_LIMIT: ClassVar[int] = 2**32
    """What NumPy accepts, which Sacred seeds."""

    def __post_init__(self) -> None:
        check_type("seed", self.seed, int)
        if not 0 <= self.seed < self.SEED_LIMIT:
            raise ConfigError(f"seed must be at least 0 and below 2**32, not {brief(self.seed)}")
        # A test takes no gradient, so the solver's section alone refuses nothing here.
        if self.solver.gradient == "adjoint" and self.solver.method not in TABLEAUS:
            raise ConfigError(
                f"solver.gradient is adjoint, which does not go with solver.method={self.solver.method}: use "
                "solver.gradient=auto, or an explicit method such as dopri5"
            )

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """The sections by their names."""
        return {
            name: kind
            for name, kind in get_type_hints(cls).items()
            if isinstance(kind, type) and issubclass(kind, Section)
        }

    @classmethod
    def keys(cls) -> list[str]:
        """Every key, dotted."""
        return [f"{name}.{f.name}" for name, section in cls.sections().items() for f in fields(section)] + ["seed"]

    @classmethod
    def kinds(cls) -> dict[str, Any]:
        """Every key but the seed -> the type of its values, the options of plug-ins' parts included.

        An option is of any type where parts disagree about it: which of them is chosen, a configuration says.
        """
        sections = cls.sections()
        kinds = {f"{name}.{f.name}": get_type_hints(s)[f.name] for name, s in sections.items() for f in fields(s)}
        for key, of_kinds in OPTIONS.items():
            if key not in kinds:
                continue
            task = sections[key.partition(".")[0]].task
            parts = [part for kind in of_kinds for part in registry.registered(kind) if part.is_of(task)]
            for name, annotation in ((f"{key}.{one.name}", one.annotation) for part in parts for one in part.options):
                kinds[name] = annotation if kinds.get(name, annotation) == annotation else Any
        for part in registry.registered("callback"):
            of_part = {f"{part.name}.{option.name}": option.annotation for option in part.options}
            kinds |= {f"training.callback_options.{name}": annotation for name, annotation in of_part.items()}
        return kinds

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, as they are stored."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration that `values` describes; what is missing keeps its default.

        Raises:
            ConfigError: an unknown key at any depth, a wrong type or an impossible value, named.
        """
        sections, values = cls.sections(), plain(values)
        for key in values:
            if key not in (*sections, "seed"):
                raise ConfigError(f"unknown key {shortened(str(key), LONGEST_VALUE)}{cls._nearest_key(key)}")
        parsed: dict[str, Any] = {
            name: cls._parse_section(section, values.get(name, {})) for name, section in sections.items()
        }
        return cls(**parsed, seed=values.get("seed", cls.seed))

    @classmethod
    def complete(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` flat, with the defaults of the keys that they lack, unknown keys as they are.

        For comparing a stored configuration, which may be older than some keys. Options have no defaults here: they are
        of the part that is chosen.
        """
        return cls._defaults() | dict(_current(key, value) for key, value in flatten(values).items())

    @classmethod
    @cache
    def _defaults(cls) -> dict[str, Any]:
        """Made once, as thousands of runs are compared."""
        every = {f"{name}.{key}": value for name, s in cls.sections().items() for key, value in asdict(s()).items()}
        return flatten({key: value for key, value in every.items() if key not in OPTIONS})

    @classmethod
    def _parse_section(cls, section: type[Section], values: Any) -> Section:
        if not isinstance(values, Mapping):
            raise ConfigError(f"{section.section} is a section with keys of its own, not {brief(values)}")
        known, parsed = {f.name for f in fields(section)}, {}
        for name, given in values.items():
            key, value = with_name_of_now(f"{section.section}.{name}", given)
            if (name := key.partition(".")[2]) not in known:
                raise ConfigError(f"unknown key {shortened(str(key), LONGEST_VALUE)}{cls._nearest_key(key)}")
            parsed[name] = value
        return section(**parsed)

    @classmethod
    def _nearest_key(cls, key: str) -> str:
        """As `nearest`, where the section may be missing or another's: lr is training.lr, and so is model.lr."""
        section, _, name = key[:LONGEST_VALUE].rpartition(".")
        known = [*cls.keys(), *cls.sections()]
        same_name = [k for k in known if k.rpartition(".")[2] == name]
        same_section = [k for k in known if k.rpartition(".")[0] == section]
        for candidates, cutoff in ((same_name, 0.5), (same_section, 0.5), (known, 0.75)):
            full_names = {k.rpartition(".")[2]: k for k in candidates}
            matches = difflib.get_close_matches(name, full_names, n=1, cutoff=cutoff)
            if matches:
                return f" (did you mean {full_names[matches[0]]}?)"
        return ""


def with_names_of_now(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections whose keys are called as they are now, so that one that is called otherwise comes on top of it."""
    renamed = {}
    for section, entries in values.items():
        renamed[section] = entries
        if isinstance(entries, Mapping):
            pairs = (with_name_of_now(f"{section}.{key}", value) for key, value in entries.items())
            renamed[section] = {key.removeprefix(f"{section}."): value for key, value in pairs}
    return renamed


def with_name_of_now(key: str, value: Any) -> tuple[str, Any]:
    """A dotted key and its value as they are called now."""
    return _current(ALIASES.get(key, key), value)


def _current(key: str, value: Any) -> tuple[str, Any]:
    """The key and the value as they are called now."""
    now, values = FORMER.get(key, (key, {}))
    return (now, values[value]) if isinstance(value, bool) and value in values else (key, value)
