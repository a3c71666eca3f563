"""A configuration refuses what cannot be, and says what could."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.presets import presets, resolve, resolve_changed
from pipeline.config import ConfigError, ImageTrainingConfig, NetworkConfig
from pipeline.config.overrides import parse_arguments
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.util.errors import InvalidInput, brief


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as refused:
        ClassificationConfig.from_dict(values)
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("values", "named", "meant"),
    [
        ({"modle": {}}, "modle", "model"),
        ({"sede": 1}, "sede", "seed"),
        ({"model": {"augmnt": 2}}, "model.augmnt", "model.augment"),
        ({"solver": {"rtoll": 1}}, "solver.rtoll", "solver.rtol"),
        ({"evaluation": {"batchsize": 1}}, "evaluation.batchsize", "evaluation.batch_size"),
        ({"lr": 0.1}, "lr", "training.lr"),
        ({"epochs": 3}, "epochs", "training.max_epochs"),
        ({"model": {"lr": 0.1}}, "model.lr", "training.lr"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_right_name(values: dict[str, Any], named: str, meant: str) -> None:
    assert refusal(values) == f"unknown key {named} (did you mean {meant}?)"


def test_an_unknown_key_that_resembles_none_is_refused_without_a_guess() -> None:
    assert refusal({"model": {"xyzzy": 1}}) == "unknown key model.xyzzy"
    assert refusal({"qqqq": 1}) == "unknown key qqqq"


@pytest.mark.parametrize(
    ("section", "key", "value", "wanted"),
    [
        ("data", "name", 3, "text"),
        ("data", "subset", 100.0, "a whole number or None"),
        ("model", "augment", "two", "a whole number"),
        ("model", "augment", {"x": 1}, "a whole number"),
        ("model", "augment", None, "a whole number"),
        ("model", "augment", True, "a whole number"),
        ("training", "deterministic", 1, "True or False"),
        ("model", "final_time", "long", "a number"),
        ("model", "final_time", False, "a number"),
        ("model", "final_time", float("nan"), "a number"),
        ("solver", "rtol", float("inf"), "a number"),
        ("training", "lr", 10**400, "a number"),
        ("training", "lr", [0.1], "a number"),
        ("training", "patience", 2.5, "a whole number or None"),
        ("evaluation", "batch_size", "256", "a whole number"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(section: str, key: str, value: Any, wanted: str) -> None:
    assert refusal({section: {key: value}}) == f"{section}.{key} must be {wanted}, not {brief(value)}"


@pytest.mark.parametrize(
    ("section", "key", "value", "bound"),
    [
        ("data", "subset", 0, "at least 1"),
        ("data", "validation_fraction", 0.0, "above 0"),
        ("data", "validation_fraction", 1, "below 1"),
        ("model", "augment", -1, "at least 0"),
        ("model", "blocks", 0, "at least 1"),
        ("model", "channels", -64, "at least 1"),
        ("model", "groups", 0, "at least 1"),
        ("model", "stride", 0, "at least 1"),
        ("model", "final_time", 0, "above 0"),
        ("model", "final_time", -1.0, "above 0"),
        ("solver", "steps", 0, "at least 1"),
        ("solver", "rtol", 0.0, "at least 1e-15"),
        ("solver", "atol", -1e-3, "at least 1e-15"),
        ("solver", "max_steps", 0, "at least 1"),
        ("training", "max_epochs", 0, "at least 1"),
        ("training", "batch_size", 0, "at least 1"),
        ("training", "lr", 0, "above 0"),
        ("training", "momentum", 1.0, "below 1"),
        ("training", "weight_decay", -0.1, "at least 0"),
        ("training", "patience", 0, "at least 1"),
        ("evaluation", "batch_size", 0, "at least 1"),
    ],
)
def test_an_impossible_value_is_refused(section: str, key: str, value: Any, bound: str) -> None:
    assert refusal({section: {key: value}}) == f"{section}.{key} must be {bound}, not {value}"


@pytest.mark.parametrize(
    ("section", "key", "value", "meant"),
    [
        ("data", "preprocessing", "randomcrop", "random_crop"),
        ("model", "architecture", "simpel", "simple"),
        ("model", "body", "resnet50", "resnet"),
        ("model", "activation", "rleu", "relu"),
        ("model", "normalisation", "grup", "group"),
        ("solver", "method", "dopri_5", "dopri5"),
        ("solver", "gradient", "adjiont", "adjoint"),
        ("training", "optimiser", "adamW", "adam"),
        ("training", "schedule", "cosin", "cosine"),
        ("training", "precision", "bf-16", "bf16"),
        ("training", "device", "cud", "cuda"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_choices_and_the_nearest(
    section: str, key: str, value: str, meant: str
) -> None:
    message = refusal({section: {key: value}})
    assert message.startswith(f"{section}.{key} must be one of ")
    assert message.endswith(f", not {value!r} (did you mean {meant}?)")


@pytest.mark.parametrize("value", [None, True, 3, [], {"euler": 1}])
def test_a_choice_that_is_no_text_is_refused(value: Any) -> None:
    assert refusal({"solver": {"method": value}}).startswith("solver.method must be one of bosh3, dopri5, dopri8, ")


@pytest.mark.parametrize("value", [3, "simple", None, [1]])
def test_a_section_without_keys_is_refused(value: Any) -> None:
    assert refusal({"model": value}) == f"model is a section with keys of its own, not {value!r}"


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "0", None])
def test_a_seed_that_cannot_be_is_refused_however_the_configuration_is_made(seed: Any) -> None:
    assert refusal({"seed": seed}).startswith("seed must be ")
    with pytest.raises(ConfigError, match=r"^seed must be "):
        ClassificationConfig(seed=seed)


def test_sections_check_themselves_and_wrong_input_is_wrong_use() -> None:
    with pytest.raises(InvalidInput, match=r"^model\.augment must be at least 0, not -1$") as refused:
        NetworkConfig(augment=-1)
    assert refused.value.exit_status == 2


def test_what_is_missing_keeps_its_default() -> None:
    assert ClassificationConfig.from_dict({}) == ClassificationConfig()
    assert ClassificationConfig.from_dict({"training": {"lr": 0.1}}).training == ImageTrainingConfig(lr=0.1)
    defaults = ClassificationConfig()
    assert (defaults.model.augment, defaults.model.final_time, defaults.training.patience) == (2, 1.0, 5)
    assert (defaults.solver.method, defaults.solver.rtol, defaults.solver.gradient) == ("dopri5", 1e-3, "auto")
    assert (defaults.data.validation_fraction, defaults.data.subset) == (0.2, None)


@pytest.mark.parametrize("name", [*presets()])
def test_a_configuration_survives_the_way_through_its_dictionary(name: str) -> None:
    config = resolve([name], {"seed": 7, "training": {"lr": 0.25}}).config
    assert type(config).from_dict(config.to_dict()) == config
    assert config.training.lr == 0.25
    assert config.seed == 7


def test_named_configurations_merge_deeply() -> None:
    merged = resolve(["gladzik_odenet", "cifar10"], {"model": {"blocks": 2}, "training": {"lr": 0.01}}).config
    preset = presets()["gladzik_odenet"]
    assert (merged.data.name, merged.data.preprocessing) == ("cifar10", "random_crop")
    assert merged.model == NetworkConfig(**preset["model"] | {"blocks": 2})
    assert merged.training == ImageTrainingConfig(**preset["training"] | {"lr": 0.01})


def test_of_two_named_configurations_the_later_wins() -> None:
    assert resolve(["mnist", "cifar10"], {}).config.data.name == "cifar10"
    assert resolve(["cifar10", "mnist"], {}).config.data.name == "mnist"


def test_the_command_line_wins_over_named_configurations_whatever_the_order() -> None:
    for arguments in (["gladzik_resnet", "training.lr=0.5"], ["training.lr=0.5", "gladzik_resnet"]):
        merged = resolve(*parse_arguments(arguments)).config
        assert merged.training.lr == 0.5
        assert merged.training.momentum == 0.9


def test_what_is_resolved_may_be_changed_without_changing_the_named_configurations() -> None:
    before = resolve(["gladzik_odenet"], {})
    resolve(["gladzik_odenet"], {}).config.to_dict()["training"]["lr"] = 99
    assert resolve(["gladzik_odenet"], {}) == before


def test_a_change_of_a_stored_run_counts_whichever_spelling_was_stored() -> None:
    of_sacred = {"training": {"optimiser": "sgd", "lr": 0.1, "optimizer": "sgd"}}
    for key in ("optimiser", "optimizer"):
        changed = resolve_changed("classification", of_sacred, {"training": {key: "adam"}}).config.training
        assert (changed.optimiser, changed.lr) == ("adam", 0.1)


def test_training_optimizer_is_accepted_for_training_optimiser() -> None:
    assert resolve(*parse_arguments(["training.optimizer=sgd"])).config.training.optimiser == "sgd"
    with pytest.raises(ConfigError, match=r"training\.optimiser must be one of .*\(did you mean sgd\?\)"):
        resolve(*parse_arguments(["training.optimizer=sdg"]))


def test_an_unknown_named_configuration_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^odenet_simpl is not a named .*\(did you mean odenet_simple\?\)"):
        resolve(["odenet_simpl"], {})
    with pytest.raises(ConfigError, match=r"training\.lr=0\.01"):
        resolve(["training.lr"], {})


@pytest.mark.parametrize("argument", ["=x", "=", " =1", "model.=1", ".augment=1", "model..augment=1"])
def test_an_update_without_a_whole_key_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match=r"names no key; write it as in training\.lr=0\.01$"):
        parse_arguments([argument])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("3", 3),
        ("True", True),
        ("None", None),
        ("cuda", "cuda"),
        ("'3'", "3"),
        ("a=b", "a=b"),
        ("", ""),
        (" 4 ", 4),
        ("[1, 2]", [1, 2]),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("TrainingConfig()", "TrainingConfig()"),
        ("{[]: 1}", "{[]: 1}"),
        pytest.param("(" * 5000, "(" * 5000, id="deeply nested"),
    ],
)
def test_values_on_the_command_line_are_literals_or_text(text: str, value: Any) -> None:
    parsed = parse_arguments([f"some.key={text}"])[1]["some"]["key"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_names_and_updates_are_told_apart_and_siblings_kept() -> None:
    names, updates = parse_arguments(["mnist", "model.blocks=2", "seed=3", "resnet_small", "model.augment=0"])
    assert names == ["mnist", "resnet_small"]
    assert updates == {"model": {"blocks": 2, "augment": 0}, "seed": 3}
    assert parse_arguments(["model.blocks=2", "model={'augment': 1}"])[1] == {"model": {"blocks": 2, "augment": 1}}


def test_a_number_too_large_for_the_store_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"training\.max_epochs must be below 2\*\*63"):
        ClassificationConfig.from_dict({"training": {"max_epochs": 10**20}})


def test_long_values_and_keys_are_shortened_in_messages() -> None:
    for values in ({"training": {"lr": "x" * 9000}}, {"x" * 9000: 1}, {"model": {"y" * 9000: 1}}, {"seed": "z" * 9000}):
        assert len(refusal(values)) < 400


def test_numbers_of_numpy_are_numbers_of_a_configuration() -> None:
    config = ClassificationConfig.from_dict(
        {"training": {"lr": np.float64(0.1), "max_epochs": np.int64(3)}, "model": {"time_channel": np.bool_(True)}}
    )
    assert (config.training.lr, config.training.max_epochs, config.model.time_weights) == (0.1, 3, "channel")
    assert {type(config.training.lr), type(config.training.max_epochs)} == {float, int}


def test_a_configuration_file_may_have_dotted_keys_and_numbers_without_a_point(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("training.lr: 1e-3\ntraining:\n  max_epochs: 3\nmodel.channels: 8\n")
    config = resolve(["digits", str(file)], {}).config
    assert (config.training.lr, config.training.max_epochs) == (1e-3, 3)
    assert config.to_dict()["model"]["channels"] == 8


@pytest.mark.parametrize("key", ["training..lr", ".lr", "training."])
def test_a_dotted_key_without_a_name_is_refused(tmp_path: Path, key: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"'{key}': 1\n")
    with pytest.raises(ConfigError, match=r"write it as in training\.lr: 0\.01"):
        resolve([str(file)], {})


def test_a_key_of_endless_sections_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no key"):
        parse_arguments([".".join("a" * 3000) + "=1"])


@pytest.mark.parametrize("key", ["training.lr", "training.weight_decay", "model.final_time"])
def test_a_number_that_float32_cannot_compute_with_is_refused(key: str) -> None:
    section, name = key.split(".")
    assert refusal({section: {name: 1e308}}) == f"{key} must be at most 1e+30, not 1e+308"
