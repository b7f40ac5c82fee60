"""Bitstreams for boards, and each board's design behind its serial line in a simulation.

    python bench/boards.py            # all of them: an hour on two cores
    python bench/boards.py icebreaker
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from results import save

import spikeloom
from spikeloom.cosim.serial_run import run_on_line
from spikeloom.gen.build import build
from spikeloom.gen.bus_top import Serial
from spikeloom.gen.fold import load_fold
from spikeloom.gen.place_route import place_and_route
from spikeloom.gen.plan import make_plan

EXAMPLES = Path(__file__).parent.parent / "examples"
SEEDS = (1,)
IMAGES = 100


@dataclass(frozen=True)
class Run:
    """What goes onto a board; external weights lie in a RAM that the host fills."""

    board: str
    network: str
    fold: str
    clock_hz: int
    baud: int


RUNS = (
    Run("icebreaker", "fashion-mnist-128", str(EXAMPLES / "icebreaker-fold.json"), 39_000_000, 1_000_000),
    Run("tang-nano-20k", "fashion-mnist-128", "balanced", 108_000_000, 2_000_000),
    Run("ulx3s-25f", "fashion-mnist-128", "balanced", 75_000_000, 2_500_000),
    Run("ulx3s-85f", "fashion-mnist-400-400", "balanced", 50_000_000, 2_000_000),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boards", nargs="*", metavar="board")
    chosen = parser.parse_args().boards
    if unknown := set(chosen) - {run.board for run in RUNS}:
        parser.error(f"{unknown}: must be of {', '.join(run.board for run in RUNS)}")
    rows, results = [], []
    data = spikeloom.dataset("fashion-mnist-demo", IMAGES)
    for run in RUNS:
        if chosen and run.board not in chosen:
            continue
        network = spikeloom.load(run.network)
        fold = load_fold(run.fold, network)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "build"
            build(make_plan(network, fold), folder, interface="uart",
                  serial=Serial(clock_hz=run.clock_hz, baud=run.baud))
            placed = place_and_route(folder, board=run.board, seeds=SEEDS)
            said = run_on_line(folder, data.images, data.labels)
        bits = placed.bitstream
        assert bits is not None
        rows.append([run.board, network.topology, Path(run.fold).name,
                     f"{placed.lut:,}", f"{placed.ff:,}", str(placed.bram), f"{bits.clock_mhz:g}",
                     f"{bits.fmax_mhz:.1f}", f"{said.cycles_mean:,.1f}", f"{said.core_per_s:,.0f}",
                     f"{said.line_per_s:,.0f}", f"{said.samples}; {said.wrong}"])
        results.append(placed.to_json() | {"fold": fold.to_dict(), "baud": run.baud, "run": said.to_json()})
        print(json.dumps(rows[-1]), flush=True)
    save("boards", {"runs": results},
         ["board", "network", "fold", "LUTs", "flip-flops", "block RAMs", "clock, MHz", "reaches, MHz",
          "cycles, mean of 10", "images/s of the core", "images/s of the line", "images through the pins; wrong"], rows)


if __name__ == "__main__":
    main()
