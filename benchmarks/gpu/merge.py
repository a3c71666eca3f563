"""Take what was measured on a card into the docs: python -m benchmarks.gpu.merge DIR [--page docs/performance-gpu.md]

A card's section takes the place of an older one of the same card.
"""

import argparse
import json
import re
from pathlib import Path

from benchmarks.gpu.__main__ import page

PAGE = Path("docs/performance-gpu.md")


def merged(text: str, section: str) -> str:
    """The page with the section, in the place of one of the same heading or at the end."""
    heading = section.splitlines()[0]
    head, *sections = re.split(r"(?m)^(?=## )", text)
    kept = [one for one in sections if one.splitlines()[0] not in (heading, "## Not measured yet")]
    return head.rstrip() + "\n\n" + "\n".join(one.rstrip() + "\n" for one in [*kept, section])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--page", type=Path, default=PAGE)
    arguments = options.parse_args()
    try:
        found = json.loads((arguments.folder / "measured.json").read_text())
    except (OSError, ValueError) as error:
        options.error(f"{arguments.folder} holds no measurements: {error}")
    if found["card"] is None:
        options.error(f"{arguments.folder} is of a rehearsal on a CPU, which measures nothing")
    arguments.page.write_text(merged(arguments.page.read_text(), page(found)))
    print(f"{arguments.page}: {found['card']}")


if __name__ == "__main__":
    main()
