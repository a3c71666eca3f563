"""Side by side: python -m benchmarks [--network simple] [--repeats 7] [--threads 2]

Every candidate has a process of its own; their repeats take turns, so that what disturbs the machine disturbs all.
The small fields (mlp-2, mlp-64, cnf, hutchinson, latent-ode) and the training step of a latent ODE (latent-training)
have candidates of their own, always on one thread of the CPU.
"""

import importlib.util
import json
from argparse import Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from benchmarks.candidates import (
    BASELINE,
    CANDIDATES,
    PEERS,
    RESNET_CANDIDATES,
    candidates,
    ceiling_ms,
    exact_gradient,
    precisions,
)
from benchmarks.latent import comparison as latent
from benchmarks.measured import Measured
from benchmarks.networks import WORKLOADS, Workload
from benchmarks.options import above_zero, at_least_one, file_to_write
from benchmarks.report import Conditions, evaluations, markdown, spread
from benchmarks.small import candidates as small_candidates
from benchmarks.small import comparison as small
from benchmarks.small.problems import PROBLEMS
from benchmarks.worker import Worker, apart, parser, take_turns, use_threads

DEFAULT = ("simple", "simple-resnet", "simple-resnet-3", latent.NETWORK)
HEADINGS = (
    *("candidate", "training step, ms", "times the baseline", "of the ceiling", "inference, ms", "evaluations"),
    *("memory, MB", "first step, ms", "gradient error", "loss"),
)


def run(workload: Workload, names: list[str], repeats: int, reference: float) -> dict[str, Any]:
    """Everything that is measured of one network; gradients are held against float64 at tolerance `reference`."""
    known = candidates(workload)
    is_odenet = workload.model.body == "odenet"
    exact = apart(exact_gradient, workload, reference) if is_odenet else None
    ceilings = {name: apart(ceiling_ms, workload, name) for name in precisions(workload.device)} if is_odenet else {}
    results: dict[str, Any] = {}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(Measured, workload, known[name])) for name in names}
        for name, worker in workers.items():
            results[name], gradient = worker.ask("describe")
            if exact is not None:
                results[name]["gradient_error"] = np.linalg.norm(gradient - exact) / np.linalg.norm(exact)
        for name, samples in take_turns(workers, ["train_ms", "inference_ms"], repeats).items():
            results[name] |= samples
    return {"ceiling_ms_per_evaluation": ceilings, "candidates": results}


def table(network: str, result: dict[str, Any]) -> str:
    """The measurements of one network in Markdown."""
    results, ceilings = result["candidates"], result["ceiling_ms_per_evaluation"]
    baseline = median(results[BASELINE]["train_ms"]) if BASELINE in results else None
    rows = []
    for name, facts in results.items():
        step = median(facts["train_ms"])
        row = (
            name,
            spread(facts["train_ms"]),
            f"{baseline / step:.2f}" if baseline else "–",
            f"{ceilings[facts['precision']] * facts['nfe_forward'] / step:.0%}" if ceilings else "–",
            spread(facts["inference_ms"]),
            evaluations(facts) if ceilings else "–",
            f"{facts['memory_mb']:.0f}",
            f"{facts['first_step_ms']:.0f}",
            f"{facts['gradient_error']:.2%}" if ceilings else "–",
            f"{facts['loss']:.4f}",
        )
        rows.append(row)
    return f"### {network}\n\n" + markdown(HEADINGS, rows)


def main() -> None:
    arguments = _arguments()
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
    if missing:
        print(f"Left out, as not installed: {', '.join(missing)} (pip install -e '.[bench]').\n")
    networks = arguments.network or DEFAULT
    # What is small is always on one thread.
    threads = arguments.threads if WORKLOADS.keys() & set(networks) else 1
    conditions = Conditions(arguments.device, threads, arguments.repeats)
    use_threads(arguments.threads)
    results = []
    for network in networks:
        workload = replace(WORKLOADS[network], device=arguments.device) if network in WORKLOADS else None
        known = candidates(workload) if workload else _of_small(network)
        names = [name for name in known if name.split()[0] not in missing]
        names = [name for name in names if name in (arguments.candidate or names)]
        if not names:
            print(f"Left out: {network}, which none of the candidates can train.\n")
            continue
        if workload:
            result = run(workload, names, arguments.repeats, arguments.reference)
            text = table(network, result)
        elif network == latent.NETWORK:
            result = latent.run(names, arguments.repeats, arguments.reference, arguments.latent_iterations)
            text = small.table(network, result, latent.BASELINE)
        else:
            result = small.run(network, names, arguments.repeats, arguments.reference, arguments.iterations)
            text = small.table(network, result)
        results.append({"network": network, "threads": arguments.threads if workload else 1} | result)
        print(text, flush=True)
    if not results:
        raise SystemExit("nothing was measured: choose other candidates, or install what is left out")
    print(conditions)
    if arguments.out:
        arguments.out.write_text(json.dumps({"conditions": conditions.to_dict(), "results": results}, indent=1) + "\n")


def _of_small(network: str) -> Mapping[str, Any]:
    """The candidates of what is always on one thread."""
    return latent.CANDIDATES if network == latent.NETWORK else small_candidates.candidates(network)


def _arguments() -> Namespace:
    options = parser(__doc__, repeats=7)
    known = dict.fromkeys([*CANDIDATES, *RESNET_CANDIDATES, *small_candidates.all_names(), *latent.CANDIDATES])
    networks = [*WORKLOADS, *PROBLEMS, latent.NETWORK]
    options.add_argument("--network", action="append", choices=networks, help=f"default: {', '.join(DEFAULT)}")
    options.add_argument("--candidate", action="append", choices=list(known), help="default: all")
    options.add_argument("--reference", type=above_zero, default=1e-9, help="tolerance of the float64 reference")
    options.add_argument("--iterations", type=at_least_one, default=1000, help="of training, before cnf is timed")
    options.add_argument("--latent-iterations", type=at_least_one, default=200, help="the same of latent-training")
    options.add_argument("--out", type=file_to_write, help="file for the measurements as JSON")
    return options.parse_args()


if __name__ == "__main__":
    main()
