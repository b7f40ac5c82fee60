"""Random networks of all kinds, through the hardware in Amaranth's simulator, against golden and cycle model.

    python bench/random_graphs.py --networks 10000

Neurons of all parts, loops, skips, several projections, delays, input codes, readouts, windows, folds; one sample at a
time (cycles compared), or back to back with stalls. Says how many networks differ anywhere, and their seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from results import save

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

MAKERS = ("random_graph", "random_map_graph", "random_network", "random_conv_network")


def compare(seed: int, start: int) -> tuple[int, str, str]:
    """What differs in the network of a seed: nothing, spikes, classes, cycles; or the error."""
    from support import networks

    from spikeloom.gen.cycles import count_cycles, count_stream_cycles
    from spikeloom.gen.plan import make_plan
    from spikeloom.model import golden
    rng = np.random.default_rng([start, seed])
    maker = MAKERS[seed % 2] if seed % 10 else MAKERS[2 + seed // 10 % 2]
    try:
        network = getattr(networks, maker)(rng)
        fold = networks.random_fold(rng, network)
        if rng.random() < 0.2:
            fold = networks.make_external(rng, network, fold)
        plan = make_plan(network, fold)
        samples = networks.random_samples(rng, network, 3)
        isolated, stall = bool(rng.random() < 0.6), float(rng.choice([0, 0.4]))
        options = {} if isolated else {"isolated": False, "gap": stall, "stall": stall}
        want = golden.run(network, samples)
        classes, spikes, latency, finished = networks.hardware_run(plan, samples, seed=seed, **options)
        window = np.arange(network.steps) // plan.window_steps
        needed = (window <= want.last_steps[:, None] // plan.window_steps)[:, :, None]
        if any(np.where(got >= 0, got != expected, needed).any()
               for got, expected in zip(spikes, want.spikes, strict=True)):
            return seed, maker, "spikes"
        if classes != want.classes.tolist():
            return seed, maker, "classes"
        if isolated and latency != count_cycles(plan, samples, networks.MEMORY).latency.tolist():
            return seed, maker, "cycles"
        if not isolated and not stall and finished != count_stream_cycles(plan, samples, networks.MEMORY).tolist():
            return seed, maker, "cycles in a stream"
    except Exception as error:
        return seed, maker, " ".join(f"{type(error).__name__}: {error}".split())
    return seed, maker, ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--start", type=int, default=0, help="Seed of seeds.")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    found: Counter[str] = Counter()
    wrong = []
    with ProcessPoolExecutor(args.jobs) as pool:
        for done, (seed, maker, what) in enumerate(
                pool.map(partial(compare, start=args.start), range(args.networks), chunksize=8), 1):
            found[maker] += 1
            if what:
                wrong.append({"seed": seed, "maker": maker, "what": what})
                print(f"{maker}, seed {seed}: {what}", flush=True)
            if done % 200 == 0:
                print(f"{done} of {args.networks}, {len(wrong)} wrong", file=sys.stderr, flush=True)
    save("random_graphs", {"networks": args.networks, "start": args.start, "wrong": len(wrong), "kinds": dict(found),
                           "first": wrong[:5]},
         ["networks", "differ in a spike, a class or a cycle count"], [[f"{args.networks:,}", str(len(wrong))]])


if __name__ == "__main__":
    main()
