"""The whole test set through the Verilog by four workers of a Dask cluster, one of which is killed on the way.

    pip install -e '.[cluster]'
    python bench/cluster.py

All workers are processes of this machine. Fails if the result differs from that without a cluster.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import numpy as np
from distributed import LocalCluster
from results import save

import spikeloom
from spikeloom.cosim.cluster import simulate_on_cluster

NETWORK, FOLD, WORKERS = "fashion-mnist-400-400", "fast", 4


def main() -> None:
    network, data = spikeloom.load(NETWORK), spikeloom.dataset("fashion-mnist")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "build"
        spikeloom.write(spikeloom.compile(network, FOLD), folder)
        plain = spikeloom.simulate(folder, data.images, data.labels)
        with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster:
            victims = [next(iter(cluster.workers.values())).pid]

            def kill(_stage: str, done: int, total: int) -> None:
                if done > total / 3 and victims:
                    os.kill(victims.pop(), signal.SIGKILL)

            spread = simulate_on_cluster(cluster.scheduler_address, folder, data.images, data.labels, progress=kill)
    assert not victims
    for name in ("latencies", "classes", "invalid"):
        assert np.array_equal(getattr(plain, name), getattr(spread, name)), name
    assert (plain.mismatches, plain.cycles_mispredicted) == (spread.mismatches, spread.cycles_mispredicted)
    save("cluster", {"network": NETWORK, "fold": FOLD, "workers": WORKERS, "plain": plain.to_json(),
                     "spread": spread.to_json()},
         ["images", "by", "mismatches", "cycles mispredicted", "accuracy", "cycles, mean"],
         [[f"{result.samples:,}", how, str(result.mismatches), str(result.cycles_mispredicted),
           f"{result.accuracy:.2%}", f"{result.cycles_mean:.1f}"]
          for how, result in (("processes", plain), (f"{WORKERS} Dask workers, one killed", spread))])


if __name__ == "__main__":
    main()
