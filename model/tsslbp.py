"""TSSL-BP in PyTorch: neurons whose forward pass is float or the hardware's integers, and the losses.

Equations of Zhang & Li, "Temporal Spike Sequence Learning via Backpropagation for Deep Spiking Neural
Networks", NeurIPS 2020, in the form of the authors' code. Tensors are time first, ``(T, B, ...)``; every
function is elementwise over ``...``, so that it serves dense and convolution layers alike.

The synaptic filter is linear and its constant is shared by a layer, hence it stands behind the weights:
a neuron takes the *drive*, the weighted sum of spikes, and filters it itself. That is what the hardware
does, and it leaves the gradients as they are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .errors import SpikeloomError
from .network import weight_range
from .neurons.program import Program
from .neurons.real import real_program
from .neurons.types import Neuron
from .numerics import Decay

# PyTorch's threads spin while they wait for each other; beside any other process that makes training 10 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
try:
    import torch
except ModuleNotFoundError as error:  # pragma: no cover - the tests run it in an interpreter without torch
    raise SpikeloomError("training needs PyTorch, which is not installed: pip install -e '.[train]' "
                         "in spikeloom's folder") from error

from torch import Tensor
from torch.nn import functional

from .neurons.tensors import spikes_and_potentials

__all__ = ["Dynamics", "count_loss", "kernel_loss", "kernel_target", "lsq", "maybe_fused", "mse_loss", "psc", "psc_sum",
           "softmax_loss", "spike", "spike_and_potential", "sum_pool"]

_COMPILATIONS = 256  # of one function: each layer has a shape of its own; beyond that it would not be fused
_SURROGATE_WIDTH = 0.2
_ARCTAN_GAIN = math.pi  # slope of a spike 1 at the threshold, 1/2 where the potential is 1/pi away from it
_LARGEST_SLOPE = 8.0  # 1/du, "how much earlier a spike comes for more current", grows without bound near threshold


def maybe_fused(function: Callable[..., Any], fused: bool) -> Callable[..., Any]:
    """``function``, its elementwise operations fused into one loop by ``torch.compile`` where that is wanted."""
    return _compiled(function) if fused else function


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    torch._dynamo.config.recompile_limit = _COMPILATIONS
    return torch.compile(function, dynamic=False)


@dataclass(frozen=True)
class Dynamics:
    """How a population's states decay, in floats or exactly as :mod:`.golden` computes it.

    Parameters
    ----------
    program : Program
        One step, with the threshold as a parameter.
    tau_m, tau_s : float
        Time constants of membrane and synapse in steps, for the backward pass.
    filtered : bool
        Whether there is a synapse: else the drive is the synaptic current already.
    fraction_bits : int
        Shift of the drive on its way into the states (0 for floats), for the backward pass.
    integer : torch.dtype or None
        Integer type of the states, or None for floats.
    fused : bool
        Let ``torch.compile`` fuse the loops over time: faster, needs a C++ compiler and half a minute once.
    surrogate : bool
        A surrogate gradient, back through time, in place of TSSL-BP's.
    """

    program: Program
    tau_m: float
    tau_s: float
    filtered: bool = True
    fraction_bits: int = 0
    integer: torch.dtype | None = None
    fused: bool = False
    surrogate: bool = False

    @classmethod
    def real(cls, tau_m: float, tau_s: float, *, filtered: bool = True, fused: bool = False,
             surrogate: bool = False) -> Dynamics:
        """Float states; with ``filtered = False`` the synapse is left out."""
        return cls(real_program(filtered=filtered), tau_m, tau_s, filtered, fused=fused, surrogate=surrogate)

    @classmethod
    def exact(cls, synapse: Decay, membrane: Decay, fraction_bits: int, *, wide: bool = False,
              fused: bool = False, surrogate: bool = False) -> Dynamics:
        """The integer definition, int32 states (``wide``: int64), decays from :mod:`.numerics`."""
        # Two different thresholds: then it is a parameter of each neuron's own.
        neuron = Neuron(synapse=synapse, membrane=membrane, threshold=np.array([0, 1]), fraction_bits=fraction_bits)
        return cls(neuron.program, membrane.tau_steps, synapse.tau_steps, True, fraction_bits,
                   torch.int64 if wide else torch.int32, fused, surrogate)

    def parameters(self, threshold: Tensor) -> dict[str, Any]:
        """Of the program."""
        if self.integer is not None:
            return {"threshold": threshold.to(self.integer)}
        return {"threshold": threshold, "membrane_keep": 1 - 1 / self.tau_m, "synapse_keep": 1 - 1 / self.tau_s}


class _Spike(torch.autograd.Function):
    """Drive to spikes; equations A.1 forward, the O(T) form of A.3 backward."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, threshold: Tensor, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
        fused = dynamics.fused and ctx.needs_input_grad[0]  # one compilation, for the batches of the training
        states: Tensor
        spikes: Tensor
        states, spikes = maybe_fused(_forward, fused)(drive, threshold, dynamics)
        ctx.save_for_backward(states, spikes, threshold)
        ctx.set_materialize_grads(False)
        ctx.dynamics = dynamics
        return spikes, states[-1] / threshold

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, None, None]:
        dynamics: Dynamics = ctx.dynamics
        states, spikes, threshold = ctx.saved_tensors
        of_spikes, of_potential = grads
        grad = torch.zeros_like(states)
        if of_spikes is not None:
            rule = _surrogate_backward if dynamics.surrogate else _backward
            grad = maybe_fused(rule, dynamics.fused)(of_spikes, states, spikes, threshold, dynamics)
        if of_potential is not None:
            grad = grad + _potential_backward(of_potential, spikes, threshold, dynamics)
        return grad, None, None


def _forward(drive: Tensor, threshold: Tensor, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Membrane potentials before reset, and spikes."""
    spikes, states = spikes_and_potentials(dynamics.program, drive, dynamics.parameters(threshold), dynamics.integer)
    return states, spikes


def _backward(grad: Tensor, states: Tensor, spikes: Tensor, threshold: Tensor, dynamics: Dynamics) -> Tensor:
    """Gradient of the drive from G[t] = dL/ds[t], already summed over the PSC that a spike leaves behind."""
    keep_m, keep_s = 1 - 1 / dynamics.tau_m, 1 - 1 / dynamics.tau_s
    unit = 1 / threshold.to(states.dtype)  # the paper's threshold is 1
    G, u, s = grad.unbind(), [state * unit for state in states.unbind()], spikes.unbind()

    # Where no PSC is left there is no spike whose time could be moved: surrogate gradient.
    trace = torch.zeros_like(u[0])
    moved = []
    for spike in s:
        trace = trace * keep_s + spike
        moved.append(trace >= 0.25)  # a >= 1/(4 tau_s)

    h = wanted = torch.zeros_like(u[0])
    out = []
    for t in range(len(u) - 1, -1, -1):
        before = u[t - 1] * (1 - s[t - 1]) if t else torch.zeros_like(u[0])
        slope = 1 / (u[t] - before).clamp(min=1 / _LARGEST_SLOPE)  # du > 0 wherever there is a spike
        h = torch.where(s[t] > 0, slope * (G[t] + u[t] / dynamics.tau_m * h), keep_m * h)
        logistic = torch.sigmoid(((u[t] - 1) / _SURROGATE_WIDTH).clamp(-8, 8))
        delta = torch.where(moved[t], h, G[t] * logistic * (1 - logistic) / _SURROGATE_WIDTH)
        wanted = delta if not dynamics.filtered else wanted * keep_s + delta
        out.append(wanted * (unit * (1 << dynamics.fraction_bits)))
    return torch.stack(out[::-1])


def _surrogate_backward(grad: Tensor, states: Tensor, spikes: Tensor, threshold: Tensor,
                        dynamics: Dynamics) -> Tensor:
    """Gradient of the drive back through time: a spike has the slope of an arctangent, the reset has none."""
    keep_m, keep_s = 1 - 1 / dynamics.tau_m, 1 - 1 / dynamics.tau_s
    unit = 1 / threshold.to(states.dtype)
    G, u, s = grad.unbind(), [state * unit for state in states.unbind()], spikes.unbind()
    membrane = current = torch.zeros_like(u[0])
    out = []
    for t in range(len(u) - 1, -1, -1):
        slope = 1 / (1 + (_ARCTAN_GAIN * (u[t] - 1)) ** 2)
        membrane = G[t] * slope + keep_m * (1 - s[t]) * membrane
        current = membrane if not dynamics.filtered else current * keep_s + membrane
        out.append(current * (unit * (1 << dynamics.fraction_bits)))
    return torch.stack(out[::-1])


def _potential_backward(grad: Tensor, spikes: Tensor, threshold: Tensor, dynamics: Dynamics) -> Tensor:
    """Gradient of the drive from that of the last step's potential: exact, with the spikes as they are."""
    unit = (1 << dynamics.fraction_bits) / threshold.to(grad.dtype)
    membrane, current = grad, torch.zeros_like(grad)
    out: list[Tensor] = []
    for t in range(len(spikes) - 1, -1, -1):
        if out:
            membrane = membrane * (1 - 1 / dynamics.tau_m) * (1 - spikes[t])
        current = membrane if not dynamics.filtered else current * (1 - 1 / dynamics.tau_s) + membrane
        out.append(current * unit)
    return torch.stack(out[::-1])


def spike(drive: Tensor, threshold: Tensor, dynamics: Dynamics) -> Tensor:
    """Spikes of a population (A.1; reset to zero, compare ``>``) with TSSL-BP's gradient (A.3), or a surrogate.

    Parameters
    ----------
    drive : Tensor (T, B, ...)
        Weighted sums of spikes, or of a static input; expand that over T. With integer dynamics its
        values are rounded to integers of weight LSB.
    threshold : Tensor, broadcastable to (B, ...)
        Above 0, in units of the states. In the scaled form, with the synapse behind the weights and no
        factor 1/tau_s, the paper's threshold 1 is ``tau_s``.
    dynamics : Dynamics

    Returns
    -------
    Tensor (T, B, ...)
        0 or 1. Its gradient is taken to be dL/ds, which for PSCs ``a = psc(s)`` is G in A.3.
    """
    return spike_and_potential(drive, threshold, dynamics)[0]


def spike_and_potential(drive: Tensor, threshold: Tensor, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """:func:`spike`, and the membrane potential (B, ...) of the last step before its reset, in thresholds."""
    spikes: Tensor
    potential: Tensor
    spikes, potential = _Spike.apply(drive, threshold, dynamics)  # type: ignore[no-untyped-call]
    return spikes, potential


def psc(spikes: Tensor, tau_s: float) -> Tensor:
    """Post-synaptic currents (A.1): ``a[t] = (1 - 1/tau_s) a[t-1] + s[t] / tau_s``, time first."""
    current = torch.zeros_like(spikes[0])
    out = []
    for s in spikes:
        current = current * (1 - 1 / tau_s) + s / tau_s
        out.append(current)
    return torch.stack(out)


def psc_sum(spikes: Tensor, tau_s: float) -> Tensor:
    """Sum over time of :func:`psc`, (B, ...): the readout, a spike count weighted towards early spikes."""
    steps = len(spikes)
    weights = spikes.new_tensor([1 - (1 - 1 / tau_s) ** (steps - t) for t in range(steps)])
    total: Tensor = torch.tensordot(weights, spikes, dims=1)
    return total


def kernel_target(labels: Tensor, classes: int, steps: int, tau_s: float, dtype: torch.dtype) -> Tensor:
    """Desired output PSC (T, B, classes): the spike train 0,1,1,1,... of the label, filtered twice (A.2).

    From 10 steps on the train is 0,1,0,1,..., as in the authors' code.
    """
    train = [float(t > 0) if steps < 10 else float(t % 2) for t in range(steps)]
    wanted = psc(psc(torch.tensor(train, dtype=dtype), tau_s), tau_s)
    return wanted[:, None, None] * functional.one_hot(labels, classes).to(dtype)


def kernel_loss(spikes: Tensor, labels: Tensor, tau_s: float) -> Tensor:
    """``1/2 sum (a - target)**2`` over batch, class and time (A.2), from output spikes (T, B, classes)."""
    out = psc(spikes, tau_s)
    target = kernel_target(labels, out.shape[-1], len(out), tau_s, out.dtype)
    return (out - target).square().sum() / 2


class _CountLoss(torch.autograd.Function):
    """The authors' hinge on the PSC sum: its gradient leaves out the derivative of the division by T."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, labels: Tensor, wanted: float, unwanted: float) -> Tensor:
        steps, classes = len(out), out.shape[-1]
        label = functional.one_hot(labels, classes).bool()
        error = (out.sum(0) - torch.where(label, wanted, unwanted)) / steps
        error = torch.where(label, error.clamp(max=0), error.clamp(min=0))
        ctx.save_for_backward(error.expand(out.shape))
        return 0.5 * error.square().sum() * steps

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.saved_tensors[0] * grads[0], None, None, None


def count_loss(spikes: Tensor, labels: Tensor, tau_s: float, wanted: float, unwanted: float) -> Tensor:
    """Hinge on the PSC sum (A.2): at least ``wanted`` for the label, at most ``unwanted`` for the others."""
    out: Tensor = _CountLoss.apply(psc(spikes, tau_s), labels, wanted, unwanted)  # type: ignore[no-untyped-call]
    return out


def softmax_loss(spikes: Tensor, target: Tensor, tau_s: float, gain: float = 1.0,
                 decides: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of ``softmax(gain * psc_sum)``.

    ``target`` is class indices (B,) or probabilities (B, classes). The sum is at most T, so that a gain
    above 1 lets the network be surer of itself. ``decides`` (B, classes), what decides between equal sums, is added
    to them.
    """
    return functional.cross_entropy(gain * _decided(psc_sum(spikes, tau_s), decides), target)


def mse_loss(spikes: Tensor, target: Tensor, tau_s: float, wanted: float, decides: Tensor | None = None) -> Tensor:
    """Squared distance of the PSC sums from ``wanted * target``; sum over classes, mean over the batch.

    ``target`` is probabilities (B, classes). Unlike a softmax it fixes the level of every output: two
    classes that compete lie in the middle of the range, where few spike trains give equal sums, and not
    both at its end, where they tie. ``decides`` as in :func:`softmax_loss`.
    """
    return (_decided(psc_sum(spikes, tau_s), decides) - wanted * target).square().sum(-1).mean()


def _decided(score: Tensor, decides: Tensor | None) -> Tensor:
    return score if decides is None else score + decides


def sum_pool(x: Tensor, size: int, fused: bool = False) -> Tensor:
    """Sums (..., H / size, W / size) over windows of maps (..., H, W)."""
    out: Tensor = maybe_fused(_sum_pool, fused)(x, size)
    return out


def _sum_pool(x: Tensor, size: int) -> Tensor:
    *rest, height, width = x.shape
    return x.reshape(*rest, height // size, size, width // size, size).sum((-1, -3))


class _Lsq(torch.autograd.Function):
    """Round to integers; straight-through gradients of weight and step size in units of ``integer * scale``."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, bits: int, symmetric: bool, fused: bool) -> Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.options = bits, symmetric, fused
        whole: Tensor = maybe_fused(_round, fused and ctx.needs_input_grad[0])(weight, scale, bits, symmetric)
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        bits, symmetric, fused = ctx.options
        weight, scale = maybe_fused(_round_backward, fused)(grads[0], *ctx.saved_tensors, bits, symmetric)
        return weight, scale, None, None, None


def _range(bits: int, symmetric: bool) -> tuple[int, int]:
    low, high = weight_range(bits)
    return -high if symmetric else low, high


def _round(weight: Tensor, scale: Tensor, bits: int, symmetric: bool) -> Tensor:
    ratio = weight / scale
    return torch.where(ratio < 0, -1.0, 1.0) if bits == 1 else ratio.round().clamp(*_range(bits, symmetric))


def _round_backward(grad: Tensor, weight: Tensor, scale: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    ratio, (low, high) = weight / scale, _range(bits, symmetric)
    inside = (ratio >= low) & (ratio <= high)
    grad = grad / scale  # of integer * scale
    step = (_round(weight, scale, bits, symmetric) - ratio * inside) * grad
    rest = [d for d in range(weight.dim()) if scale.shape[d] == 1]
    # LSQ (Esser et al., 2020), eq. 5: without it step sizes learn faster than weights.
    damping = (weight.numel() / scale.numel() * high) ** -0.5
    return grad * inside, step.sum(rest, keepdim=True) * damping


def lsq(weight: Tensor, scale: Tensor, bits: int, symmetric: bool = False, fused: bool = False) -> Tensor:
    """Integer weights ``round(weight / scale)``, cut off at the ends of their range; learned step size.

    Parameters
    ----------
    weight : Tensor (outputs, ...)
    scale : Tensor (outputs or 1, 1, ...)
        Above 0; same rank as ``weight``.
    bits : int
        Of a weight: 1 for -1 and 1, without 0.
    symmetric : bool
        Without the most negative weight.
    fused : bool
        As in :class:`Dynamics`.

    Returns
    -------
    Tensor like ``weight``
        Integers. A gradient with respect to them is passed on as that of ``integer * scale``: the neurons'
        threshold is ``1 / scale`` of its float value, which divides the scale out again.
    """
    out: Tensor = _Lsq.apply(weight, scale, bits, symmetric, fused)  # type: ignore[no-untyped-call]
    return out
