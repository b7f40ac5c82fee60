"""Training with TSSL-BP: float networks, and quantised ones whose forward pass is the golden model's.

In quantised training the integers of the export are those of the forward pass: weights are rounded to
steps of a learned scale, states are integers that decay as in the hardware, thresholds are rounded. The
spikes of an evaluation here and of :func:`.golden.run` on the exported network are the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from . import tsslbp  # says clearly that torch is missing
from .datasets import check_labels
from .errors import SpikeloomError
from .float_network import FloatLayer, FloatNetwork, save_float_network
from .network import (
    Conv2d,
    Dense,
    Layer,
    Network,
    Neuron,
    Readout,
    StaticInput,
    weight_range,
)
from .network_file import save_network
from .neurons.neuron_type import NeuronType
from .numerics import Multiply, decay_for_tau
from .quantize import mse_scale
from .system.arguments import an, array, called, choice, short
from .system.cache import cache_dir
from .system.paths import shown
from .system.writing import make_parents
from .topology import LayerShape, read_topology
from .train_config import TrainConfig
from .training_files import Checkpoint, EpochMetrics, check_output

import torch  # isort: skip
from torch import Tensor  # isort: skip
from torch.nn import functional  # isort: skip

from .augment import changed  # isort: skip
from .epochs import At, Epochs, OnEpoch, Progress, split  # isort: skip

__all__ = ["TrainResult", "check_data", "train"]

_EXACT = 1 << 24  # float32 holds every integer below


@dataclass(frozen=True)
class TrainResult:
    """What :func:`train` made.

    Attributes
    ----------
    network : Network or FloatNetwork
    path : Path
        Its file: ``network.snn`` or ``network.fsnn`` in the output folder.
    metrics : list of EpochMetrics
    """

    network: Network | FloatNetwork
    path: Path
    metrics: list[EpochMetrics]


class _Layer(torch.nn.Module):
    """A pool, synapses and their neurons; channels are behind the batch in every tensor."""

    def __init__(self, config: TrainConfig, shape: LayerShape, static: bool, generator: torch.Generator,
                 start: FloatLayer | Layer | None = None) -> None:
        super().__init__()
        if static and shape.pool is not None and shape.pool.kind == "or":
            raise SpikeloomError(f"training: hidden={config.hidden!r} begins with an OR pool, which needs spikes; "
                                 "allowed in front of the images are P and A")
        self.config, self.shape, self.static, geometry = config, shape, static, shape.geometry
        dims = geometry.weight_shape if geometry else (shape.outputs, shape.inputs)
        inputs = math.prod(dims[1:])
        weight = torch.randn(*dims, generator=generator) * math.sqrt(2 / inputs)  # A.5
        bias = torch.zeros(dims[0])
        self.levels = (1 << config.input_bits) - 1
        self.zero_point = round(config.mean * self.levels) if static else 0
        # One step of the input: a pixel level, or a spike; summed or averaged by the pool.
        self.unit = (1 / (self.levels * config.std) if static else 1.0) * shape.pool_gain
        scale = None
        if isinstance(start, Layer):
            weight, bias, scale = self._real(start)
            scale = scale if start.connection.weight_bits == config.weight_bits else None
        elif start is not None:
            weight = torch.tensor(start.weight)
            bias = bias if start.bias is None else torch.tensor(start.bias)
        self.weight = torch.nn.Parameter(weight)
        self.is_sparse = config.sparsity > 0 and geometry is None and shape.name != "output"
        if self.is_sparse:
            self.register_buffer("kept", torch.ones_like(weight))
        self.bias = torch.nn.Parameter(bias if config.bias else torch.zeros_like(bias), requires_grad=config.bias)
        self.synapse, self.membrane = decay_for_tau(config.tau_s), decay_for_tau(config.tau_m)
        if config.weight_bits is None:
            self.dynamics = tsslbp.Dynamics.real(config.tau_m, config.tau_s, fused=config.fused,
                                                 surrogate=config.gradient == "surrogate")
            self.real = torch.float32
            return
        granularity = "layer" if shape.name == "output" and config.ties == "membrane" else config.granularity
        if scale is None or len(scale) != (1 if granularity == "layer" else len(weight)):
            scale = torch.from_numpy(mse_scale(weight.numpy(), config.weight_bits, granularity))
        # The logarithm keeps it positive, and lets AdamW change every scale at the same relative rate.
        self.log_scale = torch.nn.Parameter(scale.float().log().view(-1, *[1] * (len(dims) - 1)))
        drive = inputs * -weight_range(config.weight_bits)[0] * (self.levels + abs(self.zero_point) if static else 1)
        drive *= shape.pool.largest if shape.pool else 1
        self.real = torch.float32 if drive < _EXACT else torch.float64
        growth = min(self.synapse.tau_steps, config.steps) * min(self.membrane.tau_steps, config.steps)
        state = drive * math.ceil(growth) << config.fraction_bits
        product = 12 if isinstance(self.synapse, Multiply) or isinstance(self.membrane, Multiply) else 0
        wide = state.bit_length() + product > 30  # 31 bits, one of them for trained biases
        self.dynamics = tsslbp.Dynamics.exact(self.synapse, self.membrane, config.fraction_bits, wide=wide,
                                             fused=config.fused, surrogate=config.gradient == "surrogate")

    def _real(self, layer: Layer) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, biases and scales of a quantised layer as real numbers: :meth:`integers` the other way round."""
        assert isinstance(layer.neuron, Neuron)
        whole = torch.tensor(layer.connection.weight).double()
        unit = self.config.tau_s * (1 << layer.neuron.fraction_bits) / torch.tensor(layer.neuron.threshold).double()
        levels = torch.full((1, *(self.shape.geometry.input_shape if self.shape.geometry else (self.shape.inputs,))),
                            float(self.pooled_zero_point), dtype=torch.double)
        at_zero = self.sums(levels, whole)[0].flatten() + torch.tensor(layer.biases)
        bias = at_zero.reshape(len(whole), -1)[:, 0] * unit
        scale = unit / self.unit
        return (whole * scale.view(-1, *[1] * (whole.dim() - 1))).float(), bias.float(), scale

    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, biases (both in weight LSB) and thresholds (state LSB) of the forward pass and the export.

        Biases are per channel, or (channels, height, width) where the image's zero point leaves its borders
        with another one.
        """
        scale = self.log_scale.exp()
        bits = self.config.weight_bits
        assert bits is not None
        weight = tsslbp.lsq(self.connected, scale, bits, self.config.symmetric, self.config.fused)
        unit = scale.detach().flatten() * self.unit
        exact = self.bias / unit
        bias = exact + (exact.round() - exact).detach()
        threshold = (self.config.tau_s * (1 << self.config.fraction_bits) / unit).round().clamp(min=1)
        if self.zero_point and self.shape.geometry and self.shape.geometry.padding:
            levels = torch.full((1, *self.shape.geometry.input_shape), float(self.pooled_zero_point), dtype=self.real)
            bias = bias[:, None, None] - self.sums(levels, weight.to(self.real))[0].to(bias)
        elif self.zero_point:
            bias = bias - self.pooled_zero_point * weight.flatten(1).sum(1)
        return weight, bias, threshold

    @property
    def connected(self) -> Tensor:
        """The weights, 0 where there is no synapse."""
        return self.weight * self.kept if self.is_sparse else self.weight

    @torch.no_grad()
    def prune(self, sparsity: float) -> None:
        """Keep the synapses with the largest weights: of each input and lane as many."""
        kept = torch.zeros_like(self.weight)
        for lane in range(min(self.config.sparsity_lanes, len(kept))):
            size = self.weight[lane::self.config.sparsity_lanes].abs()
            count = max(1, round((1 - sparsity) * len(size)))
            kept[lane::self.config.sparsity_lanes] = torch.zeros_like(size).scatter_(
                0, size.topk(count, dim=0).indices, 1.0)
        self.kept = kept

    @property
    def pooled_zero_point(self) -> int:
        """The pixel level that stands for zero, after the pool."""
        return self.zero_point * (self.shape.pool.largest if self.shape.pool else 1)

    def numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, biases and thresholds of the forward pass: integers, or the float parameters."""
        if self.config.weight_bits is None:
            return self.connected, self.bias, torch.tensor(self.config.tau_s)
        return self.integers()

    def encode(self, pixels: Tensor) -> Tensor:
        """uint8 pixels as this layer multiplies them."""
        if self.config.weight_bits is None:
            return (pixels.float() / 255 - self.config.mean) / self.config.std
        return (pixels >> (8 - self.config.input_bits)).float()

    def pooled(self, signal: Tensor) -> Tensor:
        """The signal (N, *shape) after the pool; a factor belongs to real numbers alone."""
        pool = self.shape.pool
        if pool is None:
            return signal
        if pool.kind == "or":
            return functional.max_pool2d(signal, pool.size)
        gain = self.shape.pool_gain if self.config.weight_bits is None else 1.0
        fused = self.config.fused and signal.requires_grad
        return tsslbp.sum_pool(signal, pool.size, fused) * gain

    def sums(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Weighted sums (N, *outputs) of a pooled signal (N, *inputs)."""
        geometry = self.shape.geometry
        if geometry is None:
            return functional.linear(signal.flatten(1), weight)
        return functional.conv2d(signal, weight, stride=geometry.stride, padding=geometry.padding,
                                 groups=geometry.groups)

    def connect(self, signal: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Drive (N, *outputs) of a signal (N, *inputs)."""
        out = self.sums(self.pooled(signal).to(self.real), weight.to(self.real))
        return out + self.per_channel(bias).to(self.real)

    def per_channel(self, values: Tensor) -> Tensor:
        """One value per channel, or one for all, as it broadcasts over the layer's outputs."""
        return values[:, None, None] if self.shape.geometry and values.dim() == 1 else values

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes (T, B, *outputs) of pixels (B, *inputs) or of spikes (T, B, *inputs); potentials of the last step."""
        weight, bias, threshold = self.numbers()
        if self.static:
            drive = self.connect(self.encode(signal), weight, bias)
            drive = drive.expand(self.config.steps, *drive.shape)
        else:
            drive = self.connect(signal.flatten(0, 1), weight, bias)
            drive = drive.reshape(*signal.shape[:2], *drive.shape[1:])
        spikes, potential = tsslbp.spike_and_potential(drive, self.per_channel(threshold), self.dynamics)
        return spikes.float(), potential.float()

    def export(self) -> Layer:
        """As a layer of a :class:`.Network`."""
        real = [x.detach().double().numpy() for x in self.integers()]
        if not all((np.abs(x) < 1 << 62).all() for x in real):
            raise SpikeloomError(f"layer {self.shape.name}: its weights, biases or thresholds are beyond all bounds")
        weight, bias, threshold = (x.astype(np.int64) for x in real)
        bits, geometry = self.config.weight_bits, self.shape.geometry
        assert bits is not None
        offset = bias if bias.any() else None
        return Layer(name=self.shape.name, pool=self.shape.pool,
                     connection=(Conv2d(geometry=geometry, weight=weight, weight_bits=bits, bias=offset) if geometry
                                 else Dense(weight=weight, weight_bits=bits, bias=offset)),
                     neuron=Neuron(synapse=self.synapse, membrane=self.membrane, threshold=threshold,
                                   fraction_bits=self.config.fraction_bits))

    def export_float(self) -> FloatLayer:
        """As a layer of a :class:`.FloatNetwork`."""
        return FloatLayer(name=self.shape.name, weight=self.connected.detach().numpy(),
                          bias=self.bias.detach().numpy() if self.config.bias else None,
                          tau_m=self.config.tau_m, tau_s=self.config.tau_s, geometry=self.shape.geometry,
                          pool=self.shape.pool, pool_gain=self.shape.pool_gain)


class _Model(torch.nn.Module):
    """The layers in order; dropout between them."""

    def __init__(self, config: TrainConfig, shape: tuple[int, ...],
                 start: FloatNetwork | Network | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(config.seed)
        self.config = config
        shapes = read_topology(config.hidden, shape, config.classes)
        starts: list[FloatLayer | Layer | None] = [None] * len(shapes)
        if start is not None:
            _check_start(config, shapes, start)
            starts = list(start.layers)
        self.layers = torch.nn.ModuleList(_Layer(config, layer, i == 0, generator, starts[i])
                                          for i, layer in enumerate(shapes))

    def forward(self, pixels: Tensor, generator: torch.Generator | None = None) -> tuple[list[Tensor], Tensor]:
        """Spikes (T, B, *outputs) of every layer, before dropout, and the output neurons' last potentials.

        A generator turns dropout on.
        """
        signal, out = pixels, []
        for layer in self.layers:
            spikes, potential = layer(signal)
            out.append(spikes)
            keep = 1 - (self.config.conv_dropout if spikes.dim() > 3 else self.config.dropout)
            signal = spikes
            if generator is not None and keep < 1:
                mask = torch.rand(spikes.shape[1:], generator=generator) < keep
                signal = spikes * (mask / keep)
        return out, potential


def train(config: TrainConfig, images: npt.NDArray[np.uint8], labels: npt.NDArray[Any], out_dir: str | Path, *,
          teacher: npt.NDArray[np.floating[Any]] | None = None, start: FloatNetwork | Network | None = None,
          resume: bool = False, source: str | None = None,
          progress: Progress | None = None, on_epoch: OnEpoch | None = None) -> TrainResult:
    """Train a network and write it, a checkpoint and a log to ``out_dir``.

    ``checkpoint.pt`` and ``metrics.jsonl`` are written after an epoch, every other second at most: a training that was
    interrupted goes on with ``resume`` and ends with the same bits as one that was not.

    Parameters
    ----------
    config : TrainConfig
    images : uint8 array (N, *shape)
    labels : integer array (N,)
        In 0..classes-1.
    out_dir : path
        Made if missing.
    teacher : float array (N, classes), optional
        Class probabilities of a teacher for ``config.distill``.
    start : FloatNetwork or Network, optional
        Weights and biases to start from, instead of random ones; of the same layers, pixel scaling and thresholds. A
        quantised one must have been trained with the same time constants, mean and std.
    resume : bool
        Go on from ``out_dir``'s checkpoint, which must be of the same configuration (``epochs`` may grow if the
        schedule is constant); without a checkpoint, start.
    source : str, optional
        Name or path of the data, for the network's metadata.
    progress : callable (epoch, batches done of all epochs, loss), optional
        Called after every batch, epochs from 1.
    on_epoch : callable, optional
        Called with the metrics of every epoch.

    Raises
    ------
    SpikeloomError
        If the data or ``start`` do not fit the configuration, the checkpoint is of another one or damaged, the loss
        stops being a number, or the folder cannot be written.
    """
    an(TrainConfig, config, "training: config")
    choice(resume, "training: resume", (True, False))
    called(progress, "training: progress")
    called(on_epoch, "training: on_epoch")
    if source is not None:
        an(str, source, "training: source")
    if not isinstance(start, FloatNetwork | Network | None):
        raise SpikeloomError(f"training: start must be a FloatNetwork or a Network, not {short(start)}")
    if config.epochs == 0 and start is None:
        raise SpikeloomError("training: epochs must be above 0 where there is no network to start from, not 0")
    images, labels = check_data(config, images, labels)
    soft = _check_teacher(config, teacher, len(images))
    pixels = torch.tensor(np.ascontiguousarray(images[:, None] if images.ndim == 3 else images))
    target_labels = torch.tensor(labels)
    model = _Model(config, pixels.shape[1:], start)
    average = _Model(config, pixels.shape[1:], start)
    out = check_output(out_dir, resume)
    # Denormal gradients of silent neurons are computed in microcode: an epoch took 20 times longer.
    torch.set_flush_denormal(True)
    torch.set_num_threads(config.threads)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "torch"))

    held_back, kept = split(len(pixels), config.validation, config.split_seed)
    decayed = [p for n, p in model.named_parameters() if n.endswith(".weight")]
    others = [p for n, p in model.named_parameters() if not n.endswith(".weight") and p.requires_grad]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": config.weight_decay},
                                   {"params": others, "weight_decay": 0.0}], lr=config.lr, fused=True)
    checkpoint = Checkpoint(out, asdict(config), {"model": model, "average": average, "optimiser": optimiser},
                            may_grow=("epochs",) if config.schedule == "constant" else ())
    metrics = checkpoint.load() if resume else []
    if metrics:
        try:
            _export(config, average, images.shape[1:], None)
        except SpikeloomError as error:
            raise SpikeloomError(f"{shown(checkpoint.path)}: {error}: damaged") from error

    def step(chosen: Tensor, at: At) -> tuple[float, int]:
        if config.sparsity and at.batch == 0:
            _prune(model, average, min(1.0, 2 * (at.epoch + 1) / config.epochs))
        seen = changed(pixels[chosen], config.shift, config.mirror, at.generator)
        spikes, potential = model(seen, at.generator)
        loss = _loss(config, spikes[-1], potential, target_labels[chosen], None if soft is None else soft[chosen])
        if config.activity:
            loss = loss + config.activity / len(chosen) * sum(s.sum() for s in spikes[:-1])
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise SpikeloomError(f"training: the gradient is {norm} in epoch {at.epoch + 1}, batch {at.batch + 1}; "
                                 f"try a smaller lr than {config.lr}")
        optimiser.step()
        _follow(average, model, min(config.ema, (1 + at.step) / (10 + at.step)) if config.ema else 0.0)
        with torch.no_grad():
            right = int((_classes(config, spikes[-1], potential) == target_labels[chosen]).sum())
        return loss.item(), right

    def judge() -> tuple[float | None, list[float]]:
        judged = held_back if len(held_back) else kept[:1000]
        accuracy, active = _evaluate(config, average, pixels[judged], target_labels[judged])
        return accuracy if len(held_back) else None, active

    metrics = Epochs(count=config.epochs, batch=config.batch, seed=config.seed, kept=kept, optimiser=optimiser,
                     rate=partial(_learning_rate, config), checkpoint=checkpoint,
                     per_image=config.loss in ("mse", "softmax"), progress=progress,
                     on_epoch=on_epoch).run(metrics, step, judge)
    reached = metrics[-1].validation_accuracy if metrics else None
    if not metrics and len(held_back):
        reached, _ = _evaluate(config, average, pixels[held_back], target_labels[held_back])
    network = _export(config, average, images.shape[1:], reached, source)
    make_parents(checkpoint.path)
    if isinstance(network, Network):
        path = out / "network.snn"
        save_network(network, path)
    else:
        path = out / "network.fsnn"
        save_float_network(network, path)
    return TrainResult(network, path, metrics)


MAX_WEIGHTS = 1 << 27  # four copies, with the optimiser's, take 2 GiB


def _check_size(config: TrainConfig, shape: tuple[int, ...]) -> None:
    """Refuse what no memory would hold, before it is asked for."""
    weights = sum(math.prod(layer.geometry.weight_shape) if layer.geometry else layer.inputs * layer.outputs
                  for layer in read_topology(config.hidden, shape, config.classes))
    if weights > MAX_WEIGHTS:
        raise SpikeloomError(f"training: hidden={config.hidden!r} has {weights:,} weights, allowed are {MAX_WEIGHTS:,}")


def check_data(config: TrainConfig, images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> tuple[
        npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images and labels that a training with this configuration takes.

    Raises
    ------
    SpikeloomError
        If they do not fit it, or its layers would not fit any memory.
    """
    images, labels = array(images, "training: images"), array(labels, "training: labels")
    if images.dtype != np.uint8 or images.ndim < 2:
        raise SpikeloomError(f"training: images must be uint8 of shape (N, ...), not {images.dtype} {images.shape}")
    if images.ndim > 4 or (images.size and int(images.max()) <= 1):
        raise SpikeloomError(f"training: images of shape {images.shape[1:]}, up to {images.max()}, are spikes over "
                             "time, which cannot be trained yet (eval and sim take them), or pixels not scaled to "
                             "0..255")
    if images.ndim == 2 and (config.mirror or config.shift):
        raise SpikeloomError(f"training: {'mirror' if config.mirror else 'shift'} takes images of rows and columns, "
                             f"not samples of shape {images.shape[1:]}")
    largest = int(images.max()) if images.size else 255
    if config.weight_bits is not None and largest >> (8 - config.input_bits) < min(3, (1 << config.input_bits) - 1):
        raise SpikeloomError(f"training: the largest pixel is {largest}, of which {config.input_bits} input_bits leave "
                             f"{largest >> (8 - config.input_bits)}: pixels must be scaled to 0..255, so multiply them "
                             f"by {255 // largest}")
    labels = check_labels(labels, len(images), config.classes, "training")
    if len(images) <= config.validation:
        raise SpikeloomError(f"training: validation={config.validation} must be less than the {len(images)} images")
    _check_size(config, images.shape[1:] if images.ndim != 3 else (1, *images.shape[1:]))
    return images, labels.astype(np.int64)


def _check_teacher(config: TrainConfig, teacher: npt.NDArray[np.floating[Any]] | None, count: int) -> Tensor | None:
    """The teacher's probabilities, if any are wanted."""
    if not config.distill:
        return None
    teacher = None if teacher is None else array(teacher, "training: teacher")
    if teacher is None or teacher.shape != (count, config.classes):
        raise SpikeloomError(f"training: distill={config.distill} needs a teacher of shape "
                             f"{(count, config.classes)}, not {None if teacher is None else teacher.shape}")
    if not np.isfinite(teacher).all():
        raise SpikeloomError("training: the teacher's probabilities must be finite")
    return torch.from_numpy(teacher.astype(np.float32))


def _check_start(config: TrainConfig, shapes: list[LayerShape], start: FloatNetwork | Network) -> None:
    """That a network's numbers mean the same in a training."""
    if isinstance(start, Network):
        _check_quantised_start(config, shapes, start)
        return
    wanted = [(s.geometry.weight_shape if s.geometry else (s.outputs, s.inputs), s.pool, s.pool_gain, 1.0)
              for s in shapes]
    given = [(layer.weight.shape, layer.pool, layer.pool_gain, layer.theta) for layer in start.layers]
    if given != wanted or any(s.geometry != layer.geometry for s, layer in zip(shapes, start.layers, strict=True)):
        raise SpikeloomError(f"training: the layers of network {start.name} to start from are not those of "
                             f"hidden={config.hidden!r} with thresholds of 1")
    if (start.mean, start.std) != (config.mean, config.std):
        raise SpikeloomError(f"training: the network to start from has mean={start.mean} and std={start.std}, "
                             f"not {config.mean} and {config.std}")


def _check_quantised_start(config: TrainConfig, shapes: list[LayerShape], start: Network) -> None:
    want = [(s.geometry, (s.outputs, s.inputs), s.pool) for s in shapes]
    given = [(getattr(la.connection, "geometry", None), (la.connection.outputs, la.connection.inputs), la.pool)
             for la in start.layers]
    def trained(neuron: NeuronType) -> bool:
        one = np.array([1])
        return isinstance(neuron, Neuron) and replace(neuron, threshold=one).program.hash == Neuron(
            synapse=decay_for_tau(config.tau_s), membrane=decay_for_tau(config.tau_m), threshold=one,
            fraction_bits=neuron.fraction_bits).program.hash

    if given != want or not all(trained(la.neuron) for la in start.layers):
        raise SpikeloomError(f"training: the layers of network {start.name} to start from are not those of "
                             f"hidden={config.hidden!r} with tau_s={config.tau_s} and tau_m={config.tau_m}")
    how = start.metadata.get("training", {})
    if (how.get("mean"), how.get("std")) != (config.mean, config.std):
        raise SpikeloomError(f"training: the network to start from was trained with mean={how.get('mean')} and "
                             f"std={how.get('std')}, not {config.mean} and {config.std}")


def _learning_rate(config: TrainConfig, done: float) -> float:
    return config.lr * (0.5 + 0.5 * math.cos(math.pi * done)) if config.schedule == "cosine" else config.lr


def _loss(config: TrainConfig, out: Tensor, potential: Tensor, labels: Tensor, soft: Tensor | None) -> Tensor:
    if config.loss == "kernel":
        return tsslbp.kernel_loss(out, labels, config.tau_s)
    if config.loss == "count":
        return tsslbp.count_loss(out, labels, config.tau_s, config.wanted, config.unwanted)
    label = functional.one_hot(labels, config.classes).to(out)
    decides = config.potential_gain * potential.clamp(-1, 1) if config.ties == "membrane" else None
    if config.loss == "mse":
        target = label if soft is None else label.lerp(soft, config.distill)
        return tsslbp.mse_loss(out, target, config.tau_s, config.wanted, decides)
    target = label.lerp(torch.full_like(label, 1 / config.classes), config.label_smoothing)
    target = target if soft is None else target.lerp(soft, config.distill)
    return tsslbp.softmax_loss(out, target, config.tau_s, config.gain, decides)


def _classes(config: TrainConfig, out: Tensor, potential: Tensor) -> Tensor:
    """Classes (B,) as the exported readout has them; argmax takes the first of equals."""
    weights = torch.tensor(_readout(config).step_weights).to(out)
    scores: Tensor = torch.tensordot(weights, out, dims=1)
    if config.ties == "membrane":
        scores = potential.masked_fill(scores < scores.amax(1, keepdim=True), -torch.inf)
    return scores.argmax(1)


def _readout(config: TrainConfig) -> Readout:
    return Readout.psc_sum(config.steps, decay_for_tau(config.tau_s), ties=config.ties)


@torch.no_grad()
def _evaluate(config: TrainConfig, model: _Model, pixels: Tensor, labels: Tensor) -> tuple[float, list[float]]:
    """Accuracy, and per layer the fraction of neurons that spike at all."""
    right, active = 0, torch.zeros(len(model.layers))
    for x, y in zip(torch.split(pixels, 500), torch.split(labels, 500), strict=True):
        spikes, potential = model(x)
        right += int((_classes(config, spikes[-1], potential) == y).sum())
        active += torch.stack([s.amax(0).mean() for s in spikes]) * len(x)
    return right / len(labels), [round(a, 5) for a in (active / len(labels)).tolist()]


@torch.no_grad()
def _prune(model: _Model, average: _Model, done: float) -> None:
    """Cut synapses, fewer and fewer each time until all is ``done``: Zhu and Gupta, "To prune, or not to prune" (2017),
    equation 1."""
    for layer, mean in zip(cast(Iterable[_Layer], model.layers), cast(Iterable[_Layer], average.layers), strict=True):
        if layer.is_sparse:
            layer.prune(layer.config.sparsity * (1 - (1 - done) ** 3))
            mean.kept = layer.kept.clone()


@torch.no_grad()
def _follow(average: _Model, model: _Model, decay: float) -> None:
    for mean, now in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def _export(config: TrainConfig, model: _Model, shape: tuple[int, ...], accuracy: float | None,
            source: str | None = None) -> Network | FloatNetwork:
    metadata = {"training": asdict(config), "torch": torch.__version__, "validation_accuracy": accuracy,
                **({} if source is None else {"data": source})}
    layers = cast(Iterable[_Layer], model.layers)
    if config.weight_bits is None:
        return FloatNetwork(name=config.name, shape=shape, mean=config.mean, std=config.std, steps=config.steps,
                            layers=tuple(layer.export_float() for layer in layers), metadata=metadata)
    return Network.chain(name=config.name, input=StaticInput(shape=shape, bits=config.input_bits), steps=config.steps,
                   layers=tuple(layer.export() for layer in layers), metadata=metadata,
                   readout=_readout(config))
