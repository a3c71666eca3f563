"""An epoch in absolute seconds, as a run trains it: python -m benchmarks.gpu.epoch --images 60000 --out epoch.json

A fifth of the images is held out and validated on. The second epoch is told: what is compiled is compiled in the first.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.runs import Runs
from benchmarks.report import Conditions, markdown
from benchmarks.worker import parser, use_threads

SETTINGS = {
    "simple ODE-Net, bf16, compiled": ("odenet_simple", "training.precision=bf16", "training.compile=True"),
    "simple ODE-Net, bf16": ("odenet_simple", "training.precision=bf16"),
    "simple ODE-Net, fp32": ("odenet_simple", "training.precision=fp32"),
    "small ResNet, fp32": ("resnet_small", "training.precision=fp32"),
}
"""What a row is called -> its words; the first one is worth most."""
HEADINGS = ("run", "second epoch, s", "images a second", "evaluations a batch", "memory, MB")


def table(facts: dict[str, dict[str, Any]], images: int) -> str:
    """A row a setting, in Markdown."""
    rows = [
        (
            name,
            f"{known['epoch_seconds']:.2f}",
            f"{images / known['epoch_seconds']:,.0f}",
            "–" if known["nfe_forward"] is None else f"{known['nfe_forward']:.1f}",
            f"{known['memory_mb']:,.0f}",
        )
        for name, known in facts.items()
    ]
    return markdown(HEADINGS, rows)


def main() -> None:
    options = parser(__doc__, repeats=None)
    options.add_argument("--images", type=int, required=True)
    options.add_argument("--size", type=int, required=True, help="pixels across")
    options.add_argument("--out", type=Path, required=True)
    arguments = options.parse_args()
    conditions = Conditions(arguments.device, arguments.threads)
    use_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), arguments.images, arguments.size, arguments.device)
        facts = {name: runs.facts([runs.start(words)])[0] for name, words in SETTINGS.items()}
    found = {"conditions": conditions.to_dict(), "facts": facts, "images": runs.trained_on}
    text = table(facts, runs.trained_on) + f"\n{conditions}\n"
    print(text)
    arguments.out.write_text(json.dumps(found | {"markdown": text}, indent=1) + "\n")


if __name__ == "__main__":
    main()
