"""First-spike networks: cycles when a run ends with the first output spike, and when it goes on to its last step.

    python bench/early_exit.py

The network has the shape and dynamics of BS4NN (784-600-10, weights of -1 and +1, one spike a neuron, delay 1, 256
steps); weights are seeded and random, so that its classes mean nothing; images are FashionMNIST's.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from results import save

import spikeloom
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.connections import Dense
from spikeloom.model.inputs import LatencyInput
from spikeloom.model.network import Network, Population, Projection, Readout
from spikeloom.model.neurons.types import Neuron


def network(early_exit: bool) -> Network:
    """784-600-10."""
    rng = np.random.default_rng(4)

    def dense(outputs: int, inputs: int) -> Dense:
        return Dense(weight=rng.choice([-1, 1], (outputs, inputs)), weight_bits=1)

    return Network(
        name="bs4nn", input=LatencyInput(shape=(28, 28), bits=8, silent_zero=True), steps=256, output="out",
        readout=Readout(kind="first_spike", ties="membrane", early_exit=early_exit),
        populations=tuple(Population(name=name, shape=(size,), neuron=Neuron(
            threshold=np.array([theta]), reset="none", once=True)) for name, size, theta in (
                ("hidden", 600, 24), ("out", 10, 11))),
        projections=(Projection(source="input", target="hidden", connection=dense(600, 784)),
                     Projection(source="hidden", target="out", connection=dense(10, 600), delay=1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40)
    args = parser.parse_args()
    images = spikeloom.dataset("fashion-mnist-demo").images[:args.samples]
    fold = Fold(window_steps=1, input_per_beat=16, layers=(
        LayerFold(lanes=120, inputs_per_cycle=2, neuron_units=8), LayerFold(lanes=10)))
    rows, kept = [], {}
    for early in (False, True):
        net = network(early)
        cycles = count_cycles(make_plan(net, fold), images).latency
        last = golden.run(net, images).last_steps
        rows.append(["ends with the first output spike" if early else "runs to its last step",
                     f"{last.mean() + 1:.0f}", f"{cycles.mean():,.0f}", f"{cycles.min():,} - {cycles.max():,}"])
        kept["early" if early else "whole"] = float(cycles.mean())
    same = golden.run(network(True), images).classes == golden.run(replace(network(False)), images).classes
    save("early_exit", {**kept, "samples": len(images), "equal_classes": int(same.sum())},
         ["784-600-10, 256 steps", "steps, mean", "cycles, mean", "cycles, from and to"], rows)


if __name__ == "__main__":
    main()
