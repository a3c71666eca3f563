"""Trials that share a card: python -m benchmarks.gpu.sharing --shares 1 2 4 --size 28 --out sharing.json

So many runs at once, a process each, as a sweep with `--gpus-per-trial` starts them: how many images all of them train
on in a second, and what each takes of the memory.
"""

import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gpu.runs import Runs
from benchmarks.report import Conditions, markdown
from benchmarks.worker import parser, use_threads

IMAGES = {"cuda": 20_000, "cpu": 256}
WORDS = ("odenet_simple",)
HEADINGS = ("trials at once", "second epoch of each, s", "images a second, all", "memory of each, MB")


def table(facts: dict[int, list[dict[str, Any]]], images: int) -> str:
    """A row a number of trials, in Markdown."""
    rows = []
    for share, known in facts.items():
        seconds = median(one["epoch_seconds"] for one in known)
        memory = max(one["memory_mb"] for one in known)
        rows.append((str(share), f"{seconds:.2f}", f"{share * images / seconds:,.0f}", f"{memory:,.0f}"))
    return markdown(HEADINGS, rows)


def main() -> None:
    options = parser(__doc__, repeats=None)
    options.add_argument("--shares", type=int, nargs="+", required=True)
    options.add_argument("--size", type=int, required=True, help="pixels across")
    options.add_argument("--out", type=Path, required=True)
    arguments = options.parse_args()
    conditions = Conditions(arguments.device, arguments.threads)
    use_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), IMAGES[arguments.device], arguments.size, arguments.device)
        facts = {share: runs.facts([runs.start(WORDS) for _ in range(share)]) for share in arguments.shares}
    text = table(facts, runs.trained_on) + f"\n{conditions}\n"
    print(text)
    found = {"conditions": conditions.to_dict(), "facts": facts, "images": runs.trained_on, "markdown": text}
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
