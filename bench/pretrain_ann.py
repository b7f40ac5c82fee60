"""Starting weights of a shipped spiking network: the same layers, trained on spike rates instead of spikes.

    python bench/pretrain_ann.py fashion-mnist-15c5-40c5-300 --teacher teacher.npy --out start.fsnn

A neuron whose drive is constant gives one of few numbers of spikes in T steps. Here it passes on that number, divided
by T, in a single pass instead of T steps (in the first half of the epochs the straight line through these stairs,
whose gradient is taken for theirs); batch normalisation makes it learn fast. Then the normalisation is folded into
weights and biases, the output layer is fitted to the PSC sums that the recipe wants, and every layer is scaled such
that its spiking neurons spike as often on average. `bench/train_shipped.py --start` goes on from there.

The images that the recipe holds back for validation are held back here too; the test images are not read.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # docs/training.md
import torch
from torch import Tensor, nn
from torch.nn import functional
from train_shipped import RECIPES

from spikeloom.model import datasets, float_network, tsslbp
from spikeloom.model.float_network import FloatLayer, FloatNetwork, save_float_network
from spikeloom.model.topology import LayerShape, read_topology
from spikeloom.model.train_config import TrainConfig

EPOCHS = {"fashion-mnist-15c5-40c5-300": 20, "fashion-mnist-32c5-64c5-1024": 14}
_RIDGE = 1e-3  # keeps the weights of neurons that hardly spike small
_SILENT = 0.8  # the output of an impossible class, as a part of the smallest drive with a spike


class _Stairs(torch.autograd.Function):
    """Mean spikes per step of a constant drive; the gradient is that of :func:`_line`."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, rises: tuple[float, ...]) -> Tensor:
        ctx.save_for_backward(drive)
        ctx.line = _ends(rises)
        return (_climb_fast if drive.requires_grad else _climb)(drive, rises)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _slope_fast(grads[0], *ctx.saved_tensors, *ctx.line), None


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


_climb_fast, _slope_fast, _line_fast = (torch.compile(f, dynamic=False) for f in (_climb, _slope, _line))


class _Layer(nn.Module):
    """Weighted sums of rates (N, *inputs), normalised except in the output layer: the drive (N, *outputs)."""

    def __init__(self, shape: LayerShape) -> None:
        super().__init__()
        self.shape, geometry, last = shape, shape.geometry, shape.name == "output"
        dims = geometry.weight_shape if geometry else (shape.outputs, shape.inputs)
        self.weight = nn.Parameter(torch.randn(dims) * (2 / np.prod(dims[1:])) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(dims[0]), requires_grad=last)
        self.norm = None if last else (nn.BatchNorm2d if geometry else nn.BatchNorm1d)(dims[0])
        if self.norm is not None:
            nn.init.constant_(self.norm.weight, 0.5)  # two neurons of ten spike at first

    def forward(self, signal: Tensor) -> Tensor:
        if self.shape.pool is not None:
            signal = tsslbp.sum_pool(signal, self.shape.pool.size, self.training) * self.shape.pool_gain
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
        weight, bias = self.weight, self.bias
        if self.norm is not None:
            assert self.norm.running_var is not None
            assert self.norm.running_mean is not None
            gain = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
            bias = self.norm.bias - self.norm.running_mean * gain
            weight = weight * gain.view(-1, *[1] * (weight.dim() - 1))
        return FloatLayer(name=self.shape.name, weight=weight.numpy(), bias=bias.numpy(), tau_m=config.tau_m,
                          tau_s=config.tau_s, geometry=self.shape.geometry, pool=self.shape.pool,
                          pool_gain=self.shape.pool_gain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=EPOCHS)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--teacher", type=Path, required=True,
                        help=".npy of class probabilities, from bench/teacher.py")
    parser.add_argument("--out", type=Path, required=True, help=".fsnn file to write")
    parser.add_argument("--epochs", type=int, help="instead of the shipped network's")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--gain", type=float, default=4.0, help="of the drives in the softmax")
    parser.add_argument("--temperature", type=float, default=2.0, help="makes the teacher's probabilities less sure")
    parser.add_argument("--dropout", type=float, default=0.2, help="of rates in dense layers")
    args = parser.parse_args()
    config, epochs = RECIPES[args.name], args.epochs or EPOCHS[args.name]

    torch.set_flush_denormal(True)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    data = datasets.load(args.data, "train")
    levels = (1 << config.input_bits) - 1
    images = torch.tensor(data.images[:, None] >> (8 - config.input_bits)).float()
    images = (images / levels - config.mean) / config.std
    label = functional.one_hot(torch.tensor(data.labels), config.classes).float()
    soft = torch.from_numpy(np.load(args.teacher, allow_pickle=False)) ** (1 / args.temperature)
    target = label.lerp(soft / soft.sum(1, keepdim=True), config.distill)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed))
    held_back, kept = order[:config.validation], order[config.validation:]

    rises, top = _stairs(config)
    layers = nn.ModuleList(_Layer(s) for s in read_topology(config.hidden, data.images.shape[1:], config.classes))
    optimiser = torch.optim.AdamW(layers.parameters(), lr=args.lr, weight_decay=0.01, fused=True)
    steps = epochs * -(-len(kept) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.lr, total_steps=steps, pct_start=0.15)
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        layers.train()
        for chosen in torch.split(kept[torch.randperm(len(kept))], config.batch):
            x = images[chosen]
            if config.mirror:
                x = torch.where((torch.rand(len(x)) < 0.5)[:, None, None, None], x.flip(3), x)
            out = _run(layers, x, rises, args.dropout, smooth=epoch < epochs / 2)[-1]
            loss = functional.cross_entropy(args.gain * out, target[chosen])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
        layers.eval()
        right, active = _judge(layers, images[held_back], label[held_back].argmax(1), rises)
        print(f"epoch {epoch + 1}: loss {total / len(kept):.4f}, validation {right:.4f}, active {active}, "
              f"{time.perf_counter() - started:.0f} s", flush=True)

    some, low = kept[:10_000], _SILENT * rises[0]
    _fit_output(layers, images[some], rises, low + (top - low) * target[some])
    right, active = _judge(layers, images[held_back], label[held_back].argmax(1), rises)
    print(f"output layer for its wanted PSC sums: validation {right:.4f}, active {active}")

    network = FloatNetwork(
        name=args.name, shape=data.images.shape[1:], mean=config.mean, std=config.std, steps=config.steps,
        layers=tuple(layer.folded(config) for layer in layers),
        metadata={"epochs": epochs, "lr": args.lr, "gain": args.gain, "temperature": args.temperature,
                  "dropout": args.dropout, "rate_validation_accuracy": right})
    some = some[:500]
    with torch.no_grad():
        rates = [r.mean().item() for r in _rates(_run(layers, images[some], rises), rises)]
    network = _scaled(network, rates, data.images[some])
    spiking = float_network.run(network, data.images[held_back]).classes == data.labels[held_back]
    print(f"spiking, before it is trained: validation {spiking.mean():.4f}")
    save_float_network(network, args.out)


def _run(layers: nn.ModuleList, x: Tensor, rises: tuple[float, ...], dropout: float = 0.0,
         smooth: bool = False) -> list[Tensor]:
    """Drives of all layers; with ``smooth`` neurons pass on the line through their stairs."""
    drives = []
    for layer in layers:
        drives.append(layer(x))
        x = (_line_fast if smooth else _Stairs.apply)(drives[-1], rises)
        if x.dim() == 2 and dropout and layer is not layers[-1]:
            x = functional.dropout(x, dropout)
    return drives


def _rates(drives: list[Tensor], rises: tuple[float, ...]) -> list[Tensor]:
    return [_Stairs.apply(d, rises) for d in drives]  # type: ignore[no-untyped-call]


@torch.no_grad()
def _fit_output(layers: nn.ModuleList, images: Tensor, rises: tuple[float, ...], target: Tensor) -> None:
    """The output layer whose drives have the least squared distance from ``target``."""
    output = layers[-1]
    rates = torch.cat([_rates(_run(layers[:-1], x, rises), rises)[-1].flatten(1) for x in torch.split(images, 500)])
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
        drives = _run(layers, x, rises)
        right += int((drives[-1].argmax(1) == y).sum())
        active += torch.stack([(d > rises[0]).float().mean() for d in drives]) * len(x)
    return right / len(labels), [round(a, 3) for a in (active / len(labels)).tolist()]


def _stairs(config: TrainConfig) -> tuple[tuple[float, ...], float]:
    """Constant drives from which a neuron has 1, 2, ... T spikes, and the one whose PSC sum is ``wanted``."""
    drive = torch.linspace(0, 2 * config.tau_s, 4001)
    spikes = tsslbp.spike(drive.expand(config.steps, 1, -1), torch.tensor(config.tau_s),
                          tsslbp.Dynamics.real(config.tau_m, config.tau_s))[:, 0]
    counts = spikes.sum(0).cummax(0).values
    rises = tuple(drive[counts >= n][0].item() for n in range(1, config.steps + 1))
    sums = tsslbp.psc_sum(spikes[:, None], config.tau_s)[0]
    return rises, drive[sums >= config.wanted][0].item()


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
        print(f"{layer.name}: rate {rate:.4f}, gain {gain:.3f}")
        bias = None if layer.bias is None else layer.bias * gain
        done.append(dataclasses.replace(layer, weight=layer.weight * gain, bias=bias))
        signal = spikes.movedim(0, 1).numpy()
    return dataclasses.replace(network, layers=tuple(done))


if __name__ == "__main__":
    main()
