"""Training's forward pass of any neuron type: the golden model's numbers, and a gradient that a training can follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import random_neuron
from support.random_programs import random_neuron as random_program

torch = pytest.importorskip("torch")

from spikeloom.model.neurons.arrays import Population  # noqa: E402
from spikeloom.model.neurons.parts import Adaptation  # noqa: E402
from spikeloom.model.neurons.tensors import trained  # noqa: E402
from spikeloom.model.neurons.types import Neuron  # noqa: E402
from spikeloom.model.numerics import Shift  # noqa: E402

STEPS, COUNT, REACH = 9, 5, 20


@pytest.mark.parametrize("make", [lambda rng: random_neuron(rng, REACH, 2, COUNT),
                                  lambda rng: random_program(rng, COUNT)], ids=["parts", "random programs"])
@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_numbers_of_the_golden_model(seed: int, make) -> None:
    rng = np.random.default_rng(seed)
    neuron = make(rng)
    program, own = neuron.program, neuron.own_constants
    sums = rng.integers(-REACH, REACH + 1, (STEPS, 3, COUNT))
    population = Population(program, (3, COUNT), np.int64, own, constant_sum=False, every_potential=True)
    drive = torch.tensor(sums, dtype=torch.double, requires_grad=True)
    spikes, potentials = trained(program, drive, {name: torch.tensor(values) for name, values in own.items()}, 50.0)
    for t in range(STEPS):
        want = np.empty((3, COUNT), bool)
        potential = population.step(sums[t], want)
        np.testing.assert_array_equal(spikes[t].detach().numpy() > 0.5, want)
        np.testing.assert_array_equal(potentials[t].detach().numpy(), potential)
    (spikes.sum() + 0 * drive.sum()).backward()
    assert torch.isfinite(drive.grad).all()


def test_adaptive_neurons_learn() -> None:
    """Which of two halves of the channels is busier: from chance to right, by the integers that hardware computes."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    rates = np.where(np.arange(16) // 8 == labels[:, None], 0.3, 0.12)
    spikes = torch.tensor(rng.random((12, 120, 16)) < rates, dtype=torch.double)
    neuron = Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([40]), fraction_bits=2, reset="subtract",
                    adaptation=Adaptation(decay=Shift(3), amount=10))
    weight = torch.zeros(2, 16, dtype=torch.double).normal_(0, 2).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.1)

    def count() -> torch.Tensor:
        whole = weight + (weight.round() - weight).detach()
        return trained(neuron.program, spikes @ whole.T, {}, 40.0)[0].sum(0)

    def right() -> float:
        return float((count().argmax(1).numpy() == labels).mean())

    before = right()
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(count(), torch.tensor(labels)).backward()
        optimizer.step()
    assert before < 0.8 < 0.9 < right()
