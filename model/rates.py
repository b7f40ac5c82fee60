"""Starting weights of a spiking network: the same layers, trained on spike rates instead of spikes.

A neuron whose drive is constant gives one of few numbers of spikes in T steps. Here it passes on that number, divided
by T, in a single pass instead of T steps (in the first half of the epochs the straight line through these stairs,
whose gradient is taken for theirs); batch normalisation makes it learn fast. Then the normalisation is folded into
weights and biases, the output layer is fitted to the PSC sums that the loss of the spikes wants, and every layer is
scaled such that its spiking neurons spike as often on average.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from . import float_network, tsslbp  # tsslbp says clearly that torch is missing
from .errors import SpikeloomError
from .float_network import FloatLayer, FloatNetwork
from .topology import LayerShape, read_topology
from .train_config import RatesConfig, TrainConfig
from .training_files import Checkpoint, check_output
from .tsslbp import maybe_fused

import torch  # isort: skip
from torch import Tensor, nn  # isort: skip
from torch.nn import functional  # isort: skip

from .augment import changed  # isort: skip
from .epochs import At, Epochs, OnEpoch, Progress, rise_and_fall, split  # isort: skip

__all__ = ["train_on_rates"]

_RIDGE = 1e-3  # keeps the weights of neurons that hardly spike small
_SILENT = 0.8  # the output of an impossible class, as a part of the smallest drive with a spike
_RISE = 0.15  # part of the training in which the rate rises
_FITTED, _SCALED = 10_000, 500  # images
_log = logging.getLogger("spikeloom")


class _Stairs(torch.autograd.Function):
    """Mean spikes per step of a constant drive; the gradient is that of :func:`_line`."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, rises: tuple[float, ...], fused: bool) -> Tensor:
        ctx.save_for_backward(drive)
        ctx.line, ctx.fused = _ends(rises), fused
        return maybe_fused(_climb, fused and ctx.needs_input_grad[0])(drive, rises)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return maybe_fused(_slope, ctx.fused)(grads[0], *ctx.saved_tensors, *ctx.line), None, None


def _ends(rises: tuple[float, ...]) -> tuple[float, float]:
    """Drives at which the line through the stairs begins and ends."""
    return rises[0] / 2, rises[-1]


def _line(drive: Tensor, rises: tuple[float, ...]) -> Tensor:
    low, high = _ends(rises)
    return ((drive - low) / (high - low)).clamp(0, 1)


def _climb(drive: Tensor, rises: tuple[float, ...]) -> Tensor:
    rate = torch.zeros_like(drive)
    for rise in rises:
        rate = rate + torch.where(drive > rise, 1 / len(rises), 0.0)
    return rate


def _slope(grad: Tensor, drive: Tensor, low: float, high: float) -> Tensor:
    return torch.where((drive > low) & (drive < high), grad / (high - low), 0.0)


class _Layer(nn.Module):
    """Weighted sums of rates (N, *inputs), normalised except in the output layer: the drive (N, *outputs)."""

    def __init__(self, shape: LayerShape, fused: bool) -> None:
        super().__init__()
        self.shape, self.fused, geometry, last = shape, fused, shape.geometry, shape.name == "output"
        dims = geometry.weight_shape if geometry else (shape.outputs, shape.inputs)
        self.weight = nn.Parameter(torch.randn(dims) * (2 / np.prod(dims[1:])) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(dims[0]), requires_grad=last)
        self.norm = None if last else (nn.BatchNorm2d if geometry else nn.BatchNorm1d)(dims[0])
        if self.norm is not None:
            nn.init.constant_(self.norm.weight, 0.5)  # two neurons of ten spike at first

    def forward(self, signal: Tensor) -> Tensor:
        if self.shape.pool is not None:
            if self.shape.pool.kind == "or":
                signal = functional.max_pool2d(signal, self.shape.pool.size)
            else:
                fused = self.fused and self.training
                signal = tsslbp.sum_pool(signal, self.shape.pool.size, fused) * self.shape.pool_gain
        geometry = self.shape.geometry
        if geometry is None:
            drive = functional.linear(signal.flatten(1), self.weight, self.bias)
        else:
            drive = functional.conv2d(signal, self.weight, stride=geometry.stride, padding=geometry.padding,
                                      groups=geometry.groups)
        return drive if self.norm is None else self.norm(drive)

    @torch.no_grad()
    def folded(self, config: TrainConfig) -> FloatLayer:
        """As a spiking layer."""
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if self.norm is not None:
            assert self.norm.running_var is not None
            assert self.norm.running_mean is not None
            gain = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
            bias = self.norm.bias - self.norm.running_mean * gain
            weight = weight * gain.view(-1, *[1] * (weight.dim() - 1))
        return FloatLayer(name=self.shape.name, weight=weight.numpy(), bias=bias.numpy(), tau_m=config.tau_m,
                          tau_s=config.tau_s, geometry=self.shape.geometry, pool=self.shape.pool,
                          pool_gain=self.shape.pool_gain)


def train_on_rates(config: RatesConfig, student: TrainConfig, images: npt.NDArray[np.uint8],
                   labels: npt.NDArray[np.int64], folder: Path, *,
                   teacher: npt.NDArray[np.floating[Any]] | None = None, resume: bool = False,
                   progress: Progress | None = None, on_epoch: OnEpoch | None = None) -> FloatNetwork:
    """A network that the training of ``student`` can start from.

    Parameters
    ----------
    config : RatesConfig
    student : TrainConfig
        Layers, images a step, their scaling and changes, split, seed and threads are taken from here.
    images, labels, teacher, resume, progress, on_epoch
        As in :func:`.train`.
    folder : path
        For checkpoint and log; made if missing.

    Raises
    ------
    SpikeloomError
        If the network has no biases, the folder has another training's files, or its checkpoint is damaged.
    """
    if not student.bias:
        raise SpikeloomError("training: bias must be True where weights start from rates: the normalisation becomes "
                             "biases")
    out = check_output(folder, resume)
    torch.set_flush_denormal(True)
    torch.set_num_threads(student.threads)
    torch.manual_seed(student.seed)
    levels = (1 << student.input_bits) - 1
    maps = images[:, None] if images.ndim == 3 else images
    pixels = torch.tensor(maps >> (8 - student.input_bits))
    label = functional.one_hot(torch.tensor(labels), student.classes).float()
    target = label
    if teacher is not None:
        soft = torch.from_numpy(teacher.astype(np.float32)) ** (1 / config.temperature)
        target = label.lerp(soft / soft.sum(1, keepdim=True), student.distill)
    held_back, kept = split(len(pixels), student.validation, student.split_seed)

    def encoded(chosen: Tensor) -> Tensor:
        return (pixels[chosen].float() / levels - student.mean) / student.std

    rises, top = _stairs(student)
    layers = nn.ModuleList(_Layer(shape, student.fused)
                           for shape in read_topology(student.hidden, images.shape[1:], student.classes))
    optimiser = torch.optim.AdamW(layers.parameters(), lr=config.lr, weight_decay=student.weight_decay, fused=True)
    checkpoint = Checkpoint(out, asdict(config) | {f"student_{name}": value for name, value in asdict(student).items()},
                            {"model": layers, "optimiser": optimiser})

    def step(chosen: Tensor, at: At) -> tuple[float, int]:
        layers.train()
        x = changed(encoded(chosen), student.shift, student.mirror, at.generator)
        drives, passed = _run(layers, x, rises, config.dropout, smooth=at.epoch < config.epochs / 2,
                              fused=student.fused)
        loss = functional.cross_entropy(config.gain * drives[-1], target[chosen])
        if student.activity:  # a rate of 1 is a spike in every step
            loss = loss + student.activity * student.steps / len(chosen) * sum(r.sum() for r in passed[:-1])
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        return loss.item(), int((drives[-1].argmax(1) == label[chosen].argmax(1)).sum())

    def judge() -> tuple[float | None, list[float]]:
        layers.eval()
        judged = held_back if len(held_back) else kept[:1000]
        accuracy, active = _judge(layers, encoded(judged), label[judged].argmax(1), rises)
        return accuracy if len(held_back) else None, active

    Epochs(count=config.epochs, batch=student.batch, seed=student.seed, kept=kept, optimiser=optimiser,
           rate=partial(rise_and_fall, highest=config.lr, rise=_RISE), checkpoint=checkpoint, progress=progress,
           on_epoch=on_epoch).run(checkpoint.load() if resume else [], step, judge)

    layers.eval()
    some, low = kept[:_FITTED], _SILENT * rises[0]
    _fit_output(layers, encoded(some), rises, low + (top - low) * target[some])
    network = FloatNetwork(
        name=student.name, shape=images.shape[1:], mean=student.mean, std=student.std, steps=student.steps,
        layers=tuple(layer.folded(student) for layer in cast(Iterable[_Layer], layers)))
    some = some[:_SCALED]
    with torch.no_grad():
        rates = [r.mean().item() for r in _run(layers, encoded(some), rises)[1]]
    network = _scaled(network, rates, images[some.numpy()])
    if len(held_back):
        judged_images = held_back.numpy()
        spiking = float((float_network.run(network, images[judged_images]).classes == labels[judged_images]).mean())
        _log.info("%s: %.2f %% on validation images with spikes, before they are trained", student.name, 100 * spiking)
    return network


def _run(layers: nn.ModuleList, x: Tensor, rises: tuple[float, ...], dropout: float = 0.0,
         smooth: bool = False, fused: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Drives and rates of all layers; with ``smooth`` neurons pass on the line through their stairs."""
    drives, rates = [], []
    for layer in layers:
        drives.append(layer(x))
        x = maybe_fused(_line, fused)(drives[-1], rises) if smooth else _climbed(drives[-1], rises, fused)
        rates.append(x)
        if x.dim() == 2 and dropout and layer is not layers[-1]:
            x = functional.dropout(x, dropout)
    return drives, rates


def _climbed(drive: Tensor, rises: tuple[float, ...], fused: bool) -> Tensor:
    rate: Tensor = _Stairs.apply(drive, rises, fused)  # type: ignore[no-untyped-call]
    return rate


@torch.no_grad()
def _fit_output(layers: nn.ModuleList, images: Tensor, rises: tuple[float, ...], target: Tensor) -> None:
    """The output layer whose drives have the least squared distance from ``target``."""
    output = cast(_Layer, layers[-1])
    rates = torch.cat([_run(layers[:-1], x, rises)[1][-1].flatten(1) for x in torch.split(images, 500)])
    rates = functional.pad(rates, (0, 1), value=1.0).double()
    ridge = _RIDGE * len(rates) * torch.eye(rates.shape[1])
    solution = torch.linalg.solve(rates.T @ rates + ridge, rates.T @ target.double()).float()
    output.weight.copy_(solution[:-1].T)
    output.bias.copy_(solution[-1])


@torch.no_grad()
def _judge(layers: nn.ModuleList, images: Tensor, labels: Tensor,
           rises: tuple[float, ...]) -> tuple[float, list[float]]:
    """Accuracy, and per layer the part of neurons that spike."""
    right, active = 0, torch.zeros(len(layers))
    for x, y in zip(torch.split(images, 500), torch.split(labels, 500), strict=True):
        drives, _ = _run(layers, x, rises)
        right += int((drives[-1].argmax(1) == y).sum())
        active += torch.stack([(d > rises[0]).float().mean() for d in drives]) * len(x)
    return right / len(labels), [round(a, 3) for a in (active / len(labels)).tolist()]


def _stairs(config: TrainConfig) -> tuple[tuple[float, ...], float]:
    """Constant drives from which a neuron has 1, 2, ... T spikes, and the one whose PSC sum is ``wanted``."""
    drive = torch.linspace(0, 2 * config.tau_s, 4001)
    spikes = tsslbp.spike(drive.expand(config.steps, 1, -1), torch.tensor(config.tau_s),
                          tsslbp.Dynamics.real(config.tau_m, config.tau_s))[:, 0]
    counts = spikes.sum(0).cummax(0).values
    # Slow neurons may not reach T spikes, few steps not the sum that is wanted.
    rises = tuple(drive[counts >= n][0].item() for n in range(1, int(counts.max()) + 1))
    sums = tsslbp.psc_sum(spikes[:, None], config.tau_s)[0]
    return rises, drive[sums >= min(config.wanted, sums.max().item())][0].item()


def _scaled(network: FloatNetwork, rates: list[float], images: np.ndarray) -> FloatNetwork:
    """Every layer scaled such that its neurons spike with the given mean rate."""
    signal = (images.reshape(len(images), -1) / np.float32(255) - network.mean) / network.std
    done: list[FloatLayer] = []
    for index, (layer, rate) in enumerate(zip(network.layers, rates, strict=True)):
        drive = torch.from_numpy(layer.drive(signal, network.input_shape(index)))
        drive = drive.expand(network.steps, *drive.shape) if drive.dim() == 2 else drive.movedim(1, 0)
        dynamics = tsslbp.Dynamics.real(layer.tau_m, layer.tau_s)
        low, high = 0.25, 8.0
        for _ in range(8):
            gain = (low * high) ** 0.5
            spikes = tsslbp.spike(drive * gain, torch.tensor(layer.tau_s), dynamics)
            low, high = (gain, high) if spikes.mean() < rate else (low, gain)
        _log.debug("%s: rate %.4f, gain %.3f", layer.name, rate, gain)
        bias = None if layer.bias is None else layer.bias * gain
        done.append(dataclasses.replace(layer, weight=layer.weight * gain, bias=bias))
        signal = spikes.movedim(0, 1).numpy()
    return dataclasses.replace(network, layers=tuple(done))
