"""A neuron type of your own: a resonate-and-fire neuron, from its equations to proved Verilog.

    python examples/user_neuron.py

Two registers, one function for one time step: everything else (training, golden model, proved widths, cycle model,
Verilog, co-simulation, the text of the equations) follows from it. The network file holds the recorded operations, no
code.

Resonate-and-fire (Izhikevich, 2001), with a rotation by shear so that it needs no multiplier: input makes the neuron
oscillate, and it fires when inputs come in step with it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

import spikeloom
from spikeloom.cosim.simulate import SimResult
from spikeloom.model import golden
from spikeloom.model.connections import Dense
from spikeloom.model.network import Network, Population, Projection, Readout, SpikeInput
from spikeloom.model.network_file import load_network, save_network
from spikeloom.model.neurons.neuron_type import NeuronType, Registers
from spikeloom.model.neurons.program import Number, select
from spikeloom.model.neurons.tensors import trained
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


RESONATORS = Resonator(threshold=np.random.default_rng(0).integers(60, 120, 24))
OUTPUTS = Integrator(membrane=Shift(4))


def make_network(hidden: npt.NDArray[np.int64], output: npt.NDArray[np.int64]) -> Network:
    """24 resonators that hear 16 channels, and an integrator for each of 4 classes behind them."""
    return Network(
        name="resonators", input=SpikeInput(shape=(16,)), steps=30, output="out",
        readout=Readout(kind="last_potential"),
        populations=(Population(name="resonators", shape=(24,), neuron=RESONATORS),
                     Population(name="out", shape=(4,), neuron=OUTPUTS)),
        projections=(Projection(source="input", target="resonators", connection=Dense(weight=hidden, weight_bits=4)),
                     Projection(source="resonators", target="out", connection=Dense(weight=output, weight_bits=4))))


def make_data(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Samples (N, 30, 16) of four classes: channels 4 k to 4 k + 3 swing with the resonators in class k."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    swing = 0.2 + 0.2 * np.cos(np.arange(30) / 4 + rng.uniform(0, 2 * np.pi, (count, 1)))
    chance = np.full((count, 30, 16), 0.2)
    chance[np.arange(16) // 4 == labels[:, None, None] + np.zeros((1, 30, 1))] = np.repeat(swing, 4)
    return (rng.random(chance.shape) < chance).astype(np.uint8), labels


def train(samples: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], epochs: int) -> Network:
    """The network after some epochs. Weights are rounded on the way forward: what is trained is what is built."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(3 * torch.randn(24, 16)), torch.nn.Parameter(2 * torch.randn(4, 24))]
    optimizer = torch.optim.Adam(weights, lr=0.3)
    threshold = torch.tensor(RESONATORS.threshold)

    def rounded(weight: torch.Tensor) -> torch.Tensor:
        return weight + (weight.round().clamp(-7, 7) - weight).detach()

    x = torch.tensor(samples, dtype=torch.float32).swapaxes(0, 1)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(100):
            drive = x[:, batch] @ rounded(weights[0]).T
            spikes, _ = trained(RESONATORS.program, drive, {"threshold": threshold}, width=80)
            _, potentials = trained(OUTPUTS.program, spikes @ rounded(weights[1]).T, {}, width=80)
            loss = torch.nn.functional.cross_entropy(potentials[-1] / 10, torch.tensor(labels)[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return make_network(*(rounded(weight).detach().long().numpy() for weight in weights))


def main(folder: Path) -> SimResult:
    """From the network to the proof, in ``folder``."""
    print("\n".join(equations(RESONATORS.program)))
    samples, labels = make_data(1000, seed=1)
    test_samples, test_labels = make_data(500, seed=2)
    for epochs in (0, 10):
        network = train(samples, labels, epochs)
        right = golden.run(network, test_samples).classes == test_labels
        print(f"accuracy after {epochs} epochs: {right.mean():.1%}")
    save_network(network, folder / "resonators.snn")
    assert load_network(folder / "resonators.snn").hash == network.hash
    test_samples, test_labels = test_samples[:100], test_labels[:100]
    spikes = golden.run(network, test_samples).spikes[0]
    print(f"spikes per neuron and step: {spikes.mean():.3f}")
    spikeloom.write(spikeloom.compile(network, "balanced"), folder / "build")
    result = spikeloom.simulate(folder / "build", test_samples, test_labels)
    print(f"{result.samples} samples through the Verilog: {result.mismatches} mismatches, {result.cycles_mispredicted} "
          f"mispredicted cycle counts, {result.cycles_mean:.0f} cycles each")
    return result


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
