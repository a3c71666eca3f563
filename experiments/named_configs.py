"""Named configurations: each overrides only what makes it what it is.

Models follow Bijsterbosch 2020, section 7.3, and Gładzik 2019, section 4; what is not said here is a default of
`pipeline.config`.
"""

from typing import Any

_GLADZIK_TRAINING = {
    "optimiser": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "schedule": "step",
    "max_epochs": 50,
    "patience": None,
}

MODELS: dict[str, dict[str, Any]] = {
    "odenet_simple": {"model": {"architecture": "simple", "body": "odenet", "blocks": 1, "augment": 2}},
    "resnet_small": {"model": {"architecture": "simple", "body": "resnet", "blocks": 1, "augment": 2}},
    "resnet_large": {"model": {"architecture": "simple", "body": "resnet", "blocks": 3, "augment": 2}},
    "odenet_complex": {"model": {"architecture": "complex", "body": "odenet", "augment": 1}},
    "resnet_complex": {"model": {"architecture": "complex", "body": "resnet", "augment": 0}},
    "gladzik_odenet": {
        "model": {"architecture": "gladzik", "body": "odenet", "blocks": 1, "augment": 0, "time_channel": True},
        "training": _GLADZIK_TRAINING,
        "data": {"preprocessing": "random_crop"},
    },
    "gladzik_resnet": {
        "model": {"architecture": "gladzik", "body": "resnet", "blocks": 2, "augment": 0},
        "training": _GLADZIK_TRAINING,
        "data": {"preprocessing": "random_crop"},
    },
}

DATA_SETS: dict[str, dict[str, Any]] = {
    name: {"data": {"name": name}} for name in ("digits", "mnist", "qmnist", "fashion_mnist", "cifar10", "cifar100")
}

NAMED_CONFIGS = MODELS | DATA_SETS
