"""The spiking neuron over real numbers: the same step with factors as decays, for float networks and training."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np

from ..numerics import Shift
from .neuron_type import Registers
from .program import Number, Program, Recorder
from .types import Neuron

__all__ = ["real_program"]


@cache
def real_program(*, filtered: bool = True) -> Program:
    """One step of :class:`.Neuron` with a first-order synapse, leak, threshold and reset to zero.

    Parameters of the program: ``membrane_keep`` and, if it is ``filtered``, ``synapse_keep``, the fractions that are
    kept in a step; ``threshold``.
    """
    recorder = Recorder()

    def keeps(name: str) -> object:
        return lambda x: x * recorder.record("parameter", (), f"{name}_keep")

    plain = Neuron(threshold=np.array([0]), synapse=Shift(1) if filtered else None, membrane=Shift(1))
    neuron = copy.copy(plain)
    object.__setattr__(neuron, "threshold", recorder.record("parameter", (), "threshold"))
    object.__setattr__(neuron, "membrane", keeps("membrane"))
    if filtered:
        object.__setattr__(neuron, "synapse", keeps("synapse"))
    resets = {name: reset for name, reset in plain.registers.items() if filtered or name != "current"}
    registers = Registers({name: recorder.record("register", (), name) for name in resets})
    spike, potential = neuron.step(recorder.record("sum", (), 0), registers)
    outputs: dict[str, Number] = {"spike": spike, "potential": potential}
    outputs |= {f"next {name}": number for name, number in registers}
    graph = recorder.graph(outputs)
    return Program(graph.operations, graph.outputs, graph.truths, resets,
                   tuple(str(name) for name in graph.leaves("parameter")))
