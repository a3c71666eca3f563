"""Everything on one NVIDIA card, in ten minutes, without a network: python -m benchmarks.gpu [--out DIR] [--minutes 10]

First a minute's check, then each part in a process of its own, the most worth first, until the time is up; what is done
is in DIR at once, as JSON and Markdown. `python -m benchmarks.gpu.merge DIR` takes it into docs/performance-gpu.md.
Without a card it says so and ends with status 0; `--rehearse` tries all parts at small sizes on the CPU.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.check import checks
from benchmarks.gpu.parts import Part, parts
from benchmarks.report import Conditions, gpu, markdown

NO_CARD = (
    "torch finds no GPU here, so nothing is measured; `--rehearse` tries the parts at small sizes on the CPU. "
    "What would be measured:"
)


def main() -> None:
    arguments = _arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found: dict[str, Any] = {"card": gpu() if device == "cuda" else None, "check": checks(device), "parts": []}
    print(markdown(("check", "found"), found["check"].items()), flush=True)
    if device == "cpu" and not arguments.rehearse:
        print(NO_CARD)
        print("\n".join(f"- {part.title} ({part.minutes:g} min)" for part in parts("cuda")))
        return
    found["conditions"] = Conditions("cuda" if device == "cuda" else "cpu", os.cpu_count() or 1).to_dict()
    arguments.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * arguments.minutes
    for part in parts(device):
        found["parts"].append(carry_out(part, arguments.out, ends - time.monotonic()))
        (arguments.out / "measured.json").write_text(json.dumps(found, indent=1) + "\n")
        (arguments.out / "measured.md").write_text(page(found))
        print(f"{part.title}: {found['parts'][-1]['ended']}", flush=True)
    print(f"Written: {arguments.out}/measured.json and measured.md")
    if any(part["ended"].startswith("failed") for part in found["parts"]):
        raise SystemExit(1)


def carry_out(part: Part, out: Path, seconds_left: float) -> dict[str, Any]:
    """Name, title, how it ended, what it printed and the JSON that it wrote; cut off where the time is up."""
    told: dict[str, Any] = {"name": part.name, "title": part.title}
    if seconds_left < 60 * part.minutes:
        return told | {
            "ended": f"left out: it needs {part.minutes:g} min, and {max(0, seconds_left) / 60:.1f} are left"
        }
    file = out / f"{part.name}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, *part.arguments, *(() if part.is_tests else (str(file),))]
    began = time.monotonic()
    # In a session of its own, so that what it started ends with it and does not go on with the card.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        printed, said = process.communicate(timeout=seconds_left)
    except subprocess.TimeoutExpired:
        return told | {"ended": "cut off as the time was up"}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    told |= {"seconds": time.monotonic() - began, "printed": printed.strip()}
    nothing_to_test = part.is_tests and process.returncode == 5  # pytest's word for it
    if process.returncode != 0 and not nothing_to_test:
        last = (said.strip() or printed.strip()).splitlines()[-1:] or [f"status {process.returncode}"]
        return told | {"ended": f"failed: {last[0]}", "said": said}
    measured = json.loads(file.read_text()) if file.exists() else None
    return told | {"ended": "done", "measured": measured}


def page(found: dict[str, Any]) -> str:
    """The section of one card, in Markdown."""
    lines = [f"## {found['card'] or 'Rehearsal on a CPU: not a measurement'}", ""]
    lines += [markdown(("check", "found"), found["check"].items())]
    for part in found["parts"]:
        lines += [f"### {part['title']}", ""]
        lines += [_as_deeper(part["printed"]) if part["ended"] == "done" else f"{part['ended']}.", ""]
    return "\n".join(lines)


def _as_deeper(printed: str) -> str:
    """With its headings one level below that of the part."""
    return re.sub(r"(?m)^### ", "#### ", printed)


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("gpu-measurements"), help="folder for what is measured")
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--rehearse", action="store_true", help="without a card: try the parts on the CPU")
    return options.parse_args()


if __name__ == "__main__":
    main()
