"""What was injected in a session and what it did, for the table at its end and docs/reliability.md."""

import os
from collections import Counter

SEED = int(os.environ.get("FAULTS_SEED", "19"))
"""Of everything that is drawn; another one: `FAULTS_SEED=7 make test-faults`."""
INJECTED: Counter[str] = Counter()
"""Kind -> how many were injected in this session."""
FOUND: Counter[str] = Counter()
"""Kind -> how many of them did harm."""
