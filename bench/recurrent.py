"""A recurrent layer of 128 neurons on 700 channels (the shape of the Spiking Heidelberg Digits), 100 steps: cycles
against the bound of its weight rows.

    python bench/recurrent.py

The bound: every event (a spike of the input, or of the layer in the step before) is one weight row of 128 weights,
added by as many lanes: ``events * ceil(128 / lanes)`` cycles. The network's weights are seeded and random, its input
is 2 % active, and so is the layer, about.
"""

from __future__ import annotations

import argparse

import numpy as np
from results import save

from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.connections import Dense
from spikeloom.model.network import Network, Population, Projection, Readout, SpikeInput
from spikeloom.model.neurons.types import Integrator, Neuron
from spikeloom.model.numerics import Shift

STEPS, INPUTS, NEURONS, CLASSES, ACTIVITY = 100, 700, 128, 20, 0.02


def network(threshold: int) -> Network:
    """700 - R128 - 20."""
    rng = np.random.default_rng(1)

    def dense(outputs: int, inputs: int) -> Dense:
        return Dense(weight=rng.integers(-7, 8, (outputs, inputs)), weight_bits=4)

    return Network(
        name="recurrent", input=SpikeInput(shape=(INPUTS,)), steps=STEPS, readout=Readout(kind="max_potential"),
        output="out", populations=(
            Population(name="hidden", shape=(NEURONS,), neuron=Neuron(
                synapse=Shift(2), membrane=Shift(3), threshold=np.array([threshold]), fraction_bits=2)),
            Population(name="out", shape=(CLASSES,), neuron=Integrator(membrane=Shift(4), fraction_bits=2))),
        projections=(Projection(source="input", target="hidden", connection=dense(NEURONS, INPUTS)),
                     Projection(source="hidden", target="hidden", connection=dense(NEURONS, NEURONS), delay=1),
                     Projection(source="hidden", target="out", connection=dense(CLASSES, NEURONS))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20)
    args = parser.parse_args()
    samples = (np.random.default_rng(2).random((args.samples, STEPS, INPUTS)) < ACTIVITY).astype(np.uint8)
    low, high = 1, 1 << 20
    while low < high:  # the threshold at which the layer is as active as its input
        middle = (low + high) // 2
        active = golden.run(network(middle), samples[:4]).spikes[0].mean()
        low, high = (middle + 1, high) if active > ACTIVITY else (low, middle)
    net = network(low)
    active = float(golden.run(net, samples).spikes[0].mean())
    rows, results = [], []
    for lanes, per_beat, units in ((128, 16, 16), (128, 64, 32), (64, 64, 32), (32, 64, 32), (32, 16, 16), (16, 32, 16),
                                   (8, 16, 8)):
        fold = Fold(input_per_beat=per_beat, layers=(
            LayerFold(lanes=lanes, neuron_units=min(units, lanes)), LayerFold(lanes=CLASSES)))
        counts = count_cycles(make_plan(net, fold), samples)
        bound = float(counts.events[:, 0].mean()) * -(-NEURONS // lanes)
        cycles = float(counts.latency.mean())
        rows.append([str(lanes), str(per_beat), f"{counts.events[:, 0].mean():,.0f}", f"{bound:,.0f}", f"{cycles:,.0f}",
                     f"{cycles / bound:.2f}"])
        results.append({"lanes": lanes, "items": per_beat, "bound": bound, "cycles": cycles})
    save("recurrent", {"steps": STEPS, "activity": ACTIVITY, "active": active, "threshold": low, "folds": results},
         ["lanes", "channels a beat", "weight rows", "bound, cycles", "cycles", "ratio"], rows)


if __name__ == "__main__":
    main()
