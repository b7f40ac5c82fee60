"""A neuron type of your own: a resonate-and-fire neuron, from its equations to proved Verilog.

    python examples/user_neuron.py

Two registers, one function for one time step: everything else (golden model, proved widths, cycle model, Verilog,
co-simulation, the text of the equations) follows from it. The network file holds the recorded operations, no code.

Resonate-and-fire (Izhikevich, 2001), with a rotation by shear so that it needs no multiplier: input makes the neuron
oscillate, and it fires when inputs come in step with it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

import spikeloom
from spikeloom.cosim.simulate import SimResult
from spikeloom.model import golden
from spikeloom.model.connections import Dense
from spikeloom.model.network import Network, Population, Projection, Readout, SpikeInput
from spikeloom.model.network_file import load_network, save_network
from spikeloom.model.neurons.neuron_type import NeuronType, Registers
from spikeloom.model.neurons.program import Number, select
from spikeloom.model.neurons.types import Integrator
from spikeloom.model.neurons.wording import equations
from spikeloom.model.numerics import IntArray, Shift


@dataclass(frozen=True, kw_only=True, eq=False)
class Resonator(NeuronType):
    """Rotates (position, velocity) by about 1/4 radian a step, leaks, and fires at the top of its swing."""

    threshold: IntArray
    registers: ClassVar = {"position": 0, "velocity": 0}

    def step(self, x: Number, r: Registers) -> tuple[Number, Number]:
        velocity = r.velocity - (r.velocity >> 4) + (x << 4) - (r.position >> 2)
        position = r.position + (velocity >> 2)
        spike = position > self.threshold
        r.velocity = select(spike, 0, velocity)
        r.position = select(spike, 0, position)
        return spike, position


def make_network() -> Network:
    """24 resonators that hear 16 channels, and an integrator for each of 4 classes behind them."""
    rng = np.random.default_rng(0)

    def dense(outputs: int, inputs: int) -> Dense:
        return Dense(weight=rng.integers(-7, 8, (outputs, inputs)), weight_bits=4)

    return Network(
        name="resonators", input=SpikeInput(shape=(16,)), steps=30, output="out",
        readout=Readout(kind="last_potential"),
        populations=(Population(name="resonators", shape=(24,), neuron=Resonator(threshold=rng.integers(60, 120, 24))),
                     Population(name="out", shape=(4,), neuron=Integrator(membrane=Shift(4)))),
        projections=(Projection(source="input", target="resonators", connection=dense(24, 16)),
                     Projection(source="resonators", target="out", connection=dense(4, 24))))


def main(folder: Path) -> SimResult:
    """From the network to the proof, in ``folder``."""
    network = make_network()
    print("\n".join(equations(network.populations[0].neuron.program)))
    save_network(network, folder / "resonators.snn")
    assert load_network(folder / "resonators.snn").hash == network.hash
    samples = (np.random.default_rng(1).random((50, 30, 16)) < 0.15).astype(np.uint8)
    spikes = golden.run(network, samples).spikes[[layer.name for layer in network.layers].index("resonators")]
    print(f"spikes per neuron and step: {spikes.mean():.3f}")
    spikeloom.write(spikeloom.compile(network, "balanced"), folder / "build")
    result = spikeloom.simulate(folder / "build", samples)
    print(f"{result.samples} samples through the Verilog: {result.mismatches} mismatches, {result.cycles_mispredicted} "
          f"mispredicted cycle counts, {result.cycles_mean:.0f} cycles each")
    return result


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
