"""The suite can fail: hardware with one fault each, put into a component before it is emitted, and found by comparing.

Faults in the text of the emitted Verilog are in test_generated.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from support.networks import random_samples

from spikeloom.cosim.compare import CLASS
from spikeloom.cosim.simulate import SimResult, simulate
from spikeloom.gen.build import build
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import Plan, make_plan, neuron_config
from spikeloom.model import golden
from spikeloom.model.bounds import layer_bounds
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from spikeloom.model.neurons.program import Operation
from spikeloom.model.neurons.transform import unrolled
from spikeloom.model.numerics import Decay, Multiply, Shift, signed_bits
from spikeloom.rtl import accelerator, layer, stepping_neuron
from spikeloom.rtl.event_queue import EventQueue
from spikeloom.rtl.fifo import Queue
from spikeloom.rtl.neuron import NeuronConfig, operation_value
from spikeloom.rtl.readout import Readout as ReadoutHardware

Patch = pytest.MonkeyPatch
SAMPLES = 60


def network_of(static: bool) -> Network:
    """12-8-4, four steps; each neuron with a threshold and a bias of its own, decays of both kinds, both resets."""
    rng = np.random.default_rng(12)

    def layer(name: str, inputs: int, outputs: int, synapse: Decay, membrane: Decay, threshold: int,
              **kind: Any) -> Layer:
        return Layer(name=name, neuron=Neuron(synapse=synapse, membrane=membrane, fraction_bits=1,
                                              threshold=rng.integers(threshold // 2, threshold, outputs), **kind),
                     connection=Dense(weight=rng.integers(-6, 8, (outputs, inputs)), weight_bits=4,
                                      bias=rng.integers(-4, 5, outputs)))

    return Network.chain(
        name="faulty", input=StaticInput(shape=(12,), bits=2) if static else SpikeInput(shape=(12,)), steps=4,
        layers=(layer("first", 12, 8, Shift(1), Multiply(3000), 30 if static else 20, reset="subtract"),
                layer("second", 8, 4, Shift(2), Shift(1), 20, compare=">=")),
        readout=Readout.psc_sum(4, Shift(1)))


def with_ties(network: Network) -> Network:
    return dataclasses.replace(network, readout=dataclasses.replace(network.readout, ties="membrane"))


STATIC, SPIKES = network_of(True), network_of(False)
FOLD = Fold(name="faulty", input_per_beat=2, layers=(LayerFold(lanes=4, neuron_units=2, inputs_per_cycle=2),
                                                     LayerFold(lanes=2, pipelined=False)))
WINDOWS = dataclasses.replace(FOLD, window_steps=2)


def samples_of(network: Network) -> np.ndarray:
    """Random ones, and for each neuron of the first layer the two that drive it to its ends."""
    rng = np.random.default_rng(1)
    samples = random_samples(rng, network, SAMPLES)
    for n, weights in enumerate(network.layers[0].connection.weight):
        for end, chosen in enumerate((weights > 0, weights < 0)):
            samples[2 * n + end] = chosen * np.uint8(255 if network.static else 1)
    return samples


def run(network: Network, fold: Fold, folder: Path, fault: Callable[[Plan, Patch], Plan]) -> SimResult:
    with pytest.MonkeyPatch.context() as patch:
        build(fault(make_plan(network, fold), patch), folder)
    return simulate(folder, samples_of(network))


def changed(plan: Plan, index: int, neuron: NeuronConfig, **synapse_fields: Any) -> Plan:
    """A plan in which one layer has other neurons, and fields of its synapses are others."""
    layer = plan.layers[index]
    layer = dataclasses.replace(layer, neurons=dataclasses.replace(layer.neurons, neuron=neuron),
                                synapse=dataclasses.replace(layer.synapse, **synapse_fields))
    return dataclasses.replace(plan, layers=(*plan.layers[:index], layer, *plan.layers[index + 1:]))


def other(plan: Plan, index: int, *, window_steps: int | None = None, gives_potential: bool | None = None,
          **neuron_fields: Any) -> Plan:
    """A plan in which one layer's neurons have other equations, all else as it is."""
    network, layer, now = plan.network, plan.network.layers[index], plan.layers[index].neurons.neuron
    layers = list(network.layers)
    layers[index] = dataclasses.replace(layer, neuron=dataclasses.replace(layer.neuron, **neuron_fields))
    changed_network = Network.chain(name=network.name, input=network.input, layers=layers, steps=network.steps,
                                    readout=network.readout)
    return changed(plan, index, neuron_config(
        changed_network, index, plan.channels[index + 1],
        plan.window_steps if window_steps is None else window_steps, layer_bounds(changed_network, index),
        gives_potential=now.gives_potential if gives_potential is None else gives_potential))


def no_fault(plan: Plan, patch: Patch) -> Plan:
    return plan


def decay_rounds_to_zero(plan: Plan, patch: Patch) -> Plan:
    def wrong(operation: Operation, arguments: list[Any]) -> Any:
        x = arguments[0]
        if operation.name == "shift_right" and operation.value == 2:
            return Mux(x < 0, -(-x >> 2), x >> 2)
        return operation_value(operation, arguments)
    patch.setattr(stepping_neuron, "operation_value", wrong)
    return plan


def decays_swapped(plan: Plan, patch: Patch) -> Plan:
    n = plan.network.layers[1].neuron
    return other(plan, 1, synapse=n.membrane, membrane=n.synapse)


def accumulator_too_narrow(plan: Plan, patch: Patch) -> Plan:
    bits, neuron = plan.layers[0].synapse.accumulator_bits - 1, plan.layers[0].neurons.neuron
    narrow = dataclasses.replace(neuron, accumulator=(-(1 << bits - 1), (1 << bits - 1) - 1))
    return changed(plan, 0, narrow, accumulator_bits=bits)


def drive_too_narrow(plan: Plan, patch: Patch) -> Plan:
    neuron = plan.layers[0].neurons.neuron
    graph, spans = neuron.graph, list(neuron.graph_spans)
    biased = [p for p, op in enumerate(graph.operations) if op.name == "add"
              and {graph.operations[a].name for a in op.arguments} == {"sum", "parameter"}]
    for position in biased:
        bits = signed_bits(*spans[position]) - 1
        spans[position] = (-(1 << bits - 1), (1 << bits - 1) - 1)
    assert biased
    return changed(plan, 0, dataclasses.replace(neuron, graph_spans=tuple(spans)))


def equal_fires(plan: Plan, patch: Patch) -> Plan:
    return other(plan, 0, compare=">=")


def equal_does_not_fire(plan: Plan, patch: Patch) -> Plan:
    return other(plan, 1, compare=">")


def resets_to_zero(plan: Plan, patch: Patch) -> Plan:
    return other(plan, 0, reset="zero")


def state_forgotten(plan: Plan, patch: Patch) -> Plan:
    """Each window starts from the reset values."""
    neuron = plan.layers[0].neurons.neuron
    graph = unrolled(neuron.program, neuron.steps, constant_sum=False, keeps_state=False).without("potential")
    wide = tuple((-(1 << 40), 1 << 40) for _ in graph.operations)
    return changed(plan, 0, dataclasses.replace(neuron, keeps_state=False, graph=graph, graph_spans=wide))


def of_layer(index: int, wrong: Callable[..., Any], method: str) -> Callable[[Plan, Patch], Plan]:
    """Memory contents of one layer changed."""
    def fault(plan: Plan, patch: Patch) -> Plan:
        right = getattr(Plan, method)
        patch.setattr(Plan, method, lambda self, k: wrong(self, right(self, k)) if k == index else right(self, k))
        return plan
    return fault


def base_off_by_one(plan: Plan, memories: list[list[int]]) -> list[list[int]]:
    return [[*memory[1:], memory[0]] for memory in memories]


def lanes_rotated(plan: Plan, memories: list[list[int]]) -> list[list[int]]:
    return [[row >> 4 | (row & 15) << 12 for row in memory] for memory in memories]


def banks_swapped(plan: Plan, memories: list[list[int]]) -> list[list[int]]:
    return memories[::-1]


def constants_off_by_one(plan: Plan, words: list[int]) -> list[int]:
    return [*words[1:], words[0]]


def wrong_readout_weight(plan: Plan, patch: Patch) -> Plan:
    (weights,) = plan.readout.step_weights
    return dataclasses.replace(plan, readout=dataclasses.replace(plan.readout, step_weights=((0, *weights[1:]),)))


def ties_to_the_lowest_index(plan: Plan, patch: Patch) -> Plan:
    plan = other(plan, 1, gives_potential=False)
    return dataclasses.replace(plan, readout=dataclasses.replace(plan.readout, membrane_bits=0))


class LossyQueue(EventQueue):
    """Of two events in one cycle, the second is lost."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.inner = inner = EventQueue(self.config)
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        m.d.comb += [inner.room.eq(self.room), self.o.eq(inner.o),
                     self.o.mask[1].eq(Mux(inner.o.mask[0].any(), 0, inner.o.mask[1]))]
        return m


def event_dropped(plan: Plan, patch: Patch) -> Plan:
    patch.setattr(layer, "EventQueue", lambda config: (LossyQueue if config.banks == 2 else EventQueue)(config))
    return plan


class LateReadout(ReadoutHardware):
    """Right, one cycle too late."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.inner = inner = ReadoutHardware(self.config)
        m.submodules.queue = queue = Queue(inner.o.payload.shape(), 2)
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        wiring.connect(m, inner.o, queue.i)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m


def one_cycle_late(plan: Plan, patch: Patch) -> Plan:
    patch.setattr(accelerator, "Readout", LateReadout)
    return plan


@pytest.mark.parametrize(("network", "fold"), [(STATIC, FOLD), (SPIKES, WINDOWS)], ids=["static", "windows"])
def test_sound(network: Network, fold: Fold, tmp_path: Path) -> None:
    """Without a fault there is nothing to find, and the samples are lively."""
    result = run(network, fold, tmp_path / "build", no_fault)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)
    want = golden.run(network, samples_of(network))
    assert len(set(want.classes.tolist())) > 1
    for spikes in want.spikes:
        assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize(("network", "fold"), [(STATIC, FOLD), (SPIKES, WINDOWS)], ids=["static", "windows"])
def test_sound_with_ties_by_membrane(network: Network, fold: Fold, tmp_path: Path) -> None:
    result = run(with_ties(network), fold, tmp_path / "build", no_fault)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)
    want, by_index = (golden.run(each, samples_of(network)).classes for each in (with_ties(network), network))
    assert result.classes.tolist() == want.tolist()
    assert 10 < (want != by_index).sum() < SAMPLES, "the rule decides some of the samples"


# Each takes a compilation of its own, and shows little that another one does not.
SLOW = (decays_swapped, drive_too_narrow, equal_fires, resets_to_zero)


@pytest.mark.parametrize(("network", "fold", "fault", "layer"), [
    pytest.param(network, fold, fault, layer, id=name, marks=[pytest.mark.slow] if fault in SLOW else [])
    for name, (network, fold, fault, layer) in {
        "decay rounds to zero": (STATIC, FOLD, decay_rounds_to_zero, "second"),
        "decays swapped": (STATIC, FOLD, decays_swapped, "second"),
        "accumulator too narrow": (STATIC, FOLD, accumulator_too_narrow, "first"),
        "drive too narrow": (STATIC, FOLD, drive_too_narrow, "first"),
        "equal fires": (STATIC, FOLD, equal_fires, "first"),
        "equal does not fire": (STATIC, FOLD, equal_does_not_fire, "second"),
        "resets to zero": (STATIC, FOLD, resets_to_zero, "first"),
        "state forgotten": (SPIKES, WINDOWS, state_forgotten, "first"),
        "event dropped": (STATIC, FOLD, event_dropped, "first"),
        "base off by one": (STATIC, FOLD, of_layer(0, base_off_by_one, "weights"), "first"),
        "base off by one, second layer": (STATIC, FOLD, of_layer(1, base_off_by_one, "weights"), "second"),
        "lanes rotated": (STATIC, FOLD, of_layer(0, lanes_rotated, "weights"), "first"),
        "banks swapped": (STATIC, FOLD, of_layer(0, banks_swapped, "weights"), "first"),
        "constants off by one": (STATIC, FOLD, of_layer(1, constants_off_by_one, "constants"), "second"),
        "wrong readout weight": (STATIC, FOLD, wrong_readout_weight, CLASS),
        "ties to the lowest index": (with_ties(STATIC), FOLD, ties_to_the_lowest_index, CLASS),
    }.items()])
def test_fault_is_found(network: Network, fold: Fold, fault: Callable[[Plan, Patch], Plan], layer: str,
                        tmp_path: Path) -> None:
    """In the layer that has it, with a place, and got differing from want."""
    result = run(network, fold, tmp_path / "build", fault)
    assert not result.ok
    assert result.mismatches > 0
    first = result.first_mismatch
    assert first is not None
    assert first.layer == layer
    want = golden.run(network, samples_of(network))
    if layer == CLASS:
        assert first.want == want.classes[first.sample] != first.got == result.classes[first.sample]
        assert result.cycles_mispredicted == 0
    else:
        index = [la.name for la in network.layers].index(layer)
        assert first.want == want.spikes[index][first.sample, first.step, first.neuron] == 1 - first.got


def test_a_cycle_too_late_is_found(tmp_path: Path) -> None:
    result = run(STATIC, FOLD, tmp_path / "build", one_cycle_late)
    assert (result.mismatches, result.first_mismatch) == (0, None)
    assert result.cycles_mispredicted == SAMPLES
    assert not result.ok
