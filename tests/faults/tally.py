"""What was injected in a session and what it did, for the table at its end and docs/reliability.md."""

import os
import random
from collections import Counter

_GIVEN = os.environ.get("ODENET_FAULT_SEED")
SEED = int(_GIVEN or "19")
"""Of all wrong inputs; another one: `ODENET_FAULT_SEED=7 make test-faults`."""
INJECTED: Counter[str] = Counter()
"""Kind -> how many were injected in this session."""
FOUND: Counter[str] = Counter()
"""Kind -> how many of them did harm."""
SEEDS: dict[str, int] = {}
"""Kind -> the seed that all it drew follows from."""


def new_seed() -> int:
    """Of faults that a busy machine injects at other moments each time: the given one, or one that nobody has tried."""
    return int(_GIVEN) if _GIVEN else random.SystemRandom().randrange(2**32)
