"""Programs over PyTorch's tensors: the forward pass of a training, exact, and with a gradient for any neuron type.

Imported by training only.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .program import LEAVES, Operation, Program

__all__ = ["spikes_and_potentials", "trained"]

_GAIN = math.pi  # slope of a spike 1 at the threshold, 1/2 where the potential is 1/pi thresholds away from it

_EXACT: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "shift_left": operator.lshift,
    "shift_right": operator.rshift, "greater": operator.gt, "at_least": operator.ge, "not": operator.invert,
    "and": operator.and_, "or": operator.or_, "select": torch.where,
}


def spikes_and_potentials(program: Program, drive: Tensor, parameters: Mapping[str, Any],
                          integer: torch.dtype | None) -> tuple[Tensor, Tensor]:
    """Spikes and potentials (T, B, ...), both in the drive's type, of a drive (T, B, ...).

    The states are of type ``integer``, and the drive is rounded to it (not truncated: dropout's 1/(1-p) is the one
    thing that makes it fractional); None: they are real numbers.
    """
    registers = {name: torch.full_like(drive[0], reset, dtype=integer) for name, reset in program.registers.items()}
    spikes, potentials = [], []
    for given in drive.unbind():
        x = given if integer is None else given.round().to(integer)
        results = _step(program, x, registers, parameters, _EXACT)
        registers = {name: results[program.outputs[f"next {name}"]] for name in registers}
        spikes.append(results[program.outputs["spike"]].to(drive.dtype))
        potentials.append(results[program.outputs["potential"]].to(drive.dtype))
    return torch.stack(spikes), torch.stack(potentials)


def _step(program: Program, x: Any, registers: Mapping[str, Any], parameters: Mapping[str, Any],
          functions: Mapping[str, Callable[..., Any]]) -> list[Any]:
    results: list[Any] = []
    for operation in program.operations:
        if operation.name in LEAVES:
            results.append(_leaf(operation, x, registers, parameters))
        else:
            arguments = [results[a] for a in operation.arguments]
            if operation.value is not None:
                arguments.append(operation.value)
            results.append(functions[operation.name](*arguments))
    return results


def _leaf(operation: Operation, x: Any, registers: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    if operation.name == "sum":
        return x
    if operation.name == "register":
        return registers[str(operation.value)]
    if operation.name == "parameter":
        return parameters[str(operation.value)]
    return operation.value == "True" if isinstance(operation.value, str) else operation.value


class _Compare(torch.autograd.Function):
    """Whether a difference is above 0, or at least 0; its slope is an arctangent's, in units of ``width``."""

    @staticmethod
    def forward(ctx: Any, difference: Tensor, equal: bool, width: Tensor) -> Tensor:
        ctx.save_for_backward(difference, width)
        return (difference >= 0 if equal else difference > 0).to(difference.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        difference, width = ctx.saved_tensors
        return grads[0] / (1 + (_GAIN * difference / width) ** 2) / width, None, None


def trained(program: Program, drive: Tensor, parameters: Mapping[str, Tensor], width: float) -> tuple[Tensor, Tensor]:
    """Spikes and potentials (T, B, neurons) with a gradient back through time, for a program of any neuron type.

    Values are integers in floating point, exactly those of the golden model as long as they stay within the 24 or 53
    bits of its mantissa. A comparison has the slope of an arctangent where it is a spike's or decides; a shift, which
    rounds, has that of the division; a reset is taken as it is, without a gradient of its own.

    Parameters
    ----------
    program : Program
    drive : Tensor (T, B, neurons)
        Weighted inputs with their bias, integers in float32 or float64.
    parameters : mapping of str to Tensor (neurons,)
        The neurons' own constants.
    width : float
        In state LSB: how far from the threshold a potential still has a slope. The threshold itself is a good choice.
    """
    scale = drive.new_tensor(width)

    def real(value: Any) -> Any:
        return value.to(drive.dtype) if isinstance(value, Tensor) else float(value)

    def compare(a: Any, b: Any, equal: bool) -> Tensor:
        out: Tensor = _Compare.apply(a - b + drive.new_zeros(()), equal, scale)  # type: ignore[no-untyped-call]
        return out

    def shifted(value: Any, count: int) -> Any:
        exact = value / (1 << count)
        return exact + (torch.floor(exact) - exact).detach() if isinstance(exact, Tensor) else math.floor(exact)

    functions: dict[str, Callable[..., Any]] = {
        "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
        "shift_left": lambda a, count: a * float(1 << count), "shift_right": shifted,
        "greater": lambda a, b: compare(a, b, False), "at_least": lambda a, b: compare(a, b, True),
        "not": lambda a: 1 - a, "and": operator.mul, "or": lambda a, b: a + b - a * b,
        "select": lambda c, a, b: torch.where(c.detach() > 0.5, drive.new_zeros(()) + a, drive.new_zeros(()) + b),
    }
    own = {name: real(value) for name, value in parameters.items()}
    registers: dict[str, Any] = {name: torch.full_like(drive[0], float(reset))
                                 for name, reset in program.registers.items()}
    spikes, potentials = [], []
    for x in drive.unbind():
        results = [value if isinstance(value, Tensor) else drive.new_tensor(float(value))
                   for value in _step(program, x, registers, own, functions)]
        registers = {name: results[program.outputs[f"next {name}"]] for name in registers}
        spikes.append(results[program.outputs["spike"]].expand(drive[0].shape))
        if program.gives_potential:
            potentials.append(results[program.outputs["potential"]].expand(drive[0].shape))
    return torch.stack(spikes), torch.stack(potentials) if potentials else torch.zeros_like(drive)
