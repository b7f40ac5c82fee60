"""spikeloom: trained spiking neural networks to Verilog, proved spike for spike.

The journey, one call a step::

    import spikeloom

    network = spikeloom.load("fashion-mnist-400-400")       # or a file; or train, or quantize a float network
    data = spikeloom.dataset("fashion-mnist-demo")
    print(spikeloom.evaluate(network, data).accuracy)       # integer golden model
    plan = spikeloom.compile(network, "fast")               # a fold by name, file or Fold
    spikeloom.write(plan, "build/fast")                     # Verilog, memories, manifest
    print(spikeloom.simulate("build/fast", data.images, data.labels))
    print(spikeloom.synthesize("build/fast", "lfe5u-85f"))
    spikeloom.report("build/fast", "report.html", data)

Each call imports what it needs: evaluating needs no hardware library, and only training needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloom.model.errors import SpikeloomError

if TYPE_CHECKING:
    from spikeloom.cosim.simulate import SimResult
    from spikeloom.gen.fold import Fold
    from spikeloom.gen.manifest import Manifest
    from spikeloom.gen.plan import Plan
    from spikeloom.gen.synth import SynthResult
    from spikeloom.model.datasets import Dataset
    from spikeloom.model.network import Network
    from spikeloom.model.train import TrainConfig, TrainResult

__version__ = "0.1.0"
__all__ = ["Evaluation", "SpikeloomError", "compile", "dataset", "evaluate", "load", "quantize", "report", "simulate",
           "synthesize", "train", "write"]


@dataclass(frozen=True)
class Evaluation:
    """What the golden model makes of a data set.

    Attributes
    ----------
    samples : int
    accuracy : float
        0..1.
    active : list of float
        For each layer, the fraction of neurons that spike at all in a sample.
    """

    samples: int
    accuracy: float
    active: list[float]


def load(name_or_path: str | Path) -> Network:
    """A network: by shipped name, from a network file, or from a build folder."""
    from spikeloom import shipped
    return shipped.load(name_or_path)


def dataset(name_or_path: str | Path, samples: int | None = None, **options: Any) -> Dataset:
    """A data set: see :func:`spikeloom.model.datasets.load`."""
    from spikeloom.model import datasets
    return datasets.load(name_or_path, samples=samples, **options)


def train(config: TrainConfig, data: Dataset, out_dir: str | Path, **options: Any) -> TrainResult:
    """Train a network: see :func:`spikeloom.model.train.train`. Needs PyTorch."""
    from spikeloom.model.train import train as run
    return run(config, data.images, data.labels, out_dir, **options)


def quantize(name_or_path: str | Path, **options: Any) -> Network:
    """Quantise a float network file: see :func:`spikeloom.model.quantize.quantize`."""
    from spikeloom import shipped
    from spikeloom.model.float_network import load_float_network
    from spikeloom.model.quantize import quantize as run
    return run(load_float_network(shipped.find(name_or_path, ".fsnn")), **options)


def evaluate(network: Network, data: Dataset, progress: Callable[[int], None] | None = None) -> Evaluation:
    """Accuracy and activity of the integer golden model."""
    import numpy as np

    from spikeloom.model import golden
    right, active = 0, np.zeros(len(network.layers))
    start = 0
    for result in golden.batches(network, data.images, progress=progress):
        labels = data.labels[start:start + len(result.classes)]
        right += int((result.classes == labels).sum())
        active += [spikes.any(axis=1).mean() * len(labels) for spikes in result.spikes]
        start += len(labels)
    return Evaluation(len(data), right / len(data), (active / len(data)).tolist())


def compile(network: Network, fold: Fold | str = "balanced", device: str | None = None, bus_bits: int = 64) -> Plan:
    """Shapes, widths and memories of the hardware; ``fold`` is a preset, a JSON file or a Fold.

    With a ``device``, weights that its block RAM cannot hold go to external memory, behind buses of ``bus_bits``.
    """
    from spikeloom.gen.devices import find_device
    from spikeloom.gen.external import fit_to_device
    from spikeloom.gen.fold import load_fold
    from spikeloom.gen.plan import make_plan
    chosen = load_fold(fold, network) if isinstance(fold, str) else fold
    return make_plan(network, fit_to_device(network, chosen, find_device(device), bus_bits) if device else chosen)


def write(plan: Plan, folder: str | Path, **options: Any) -> Manifest:
    """Generate a build folder: see :func:`spikeloom.gen.build.build`."""
    from spikeloom.gen.build import build
    return build(plan, folder, **options)


def simulate(folder: str | Path, samples: Any, labels: Any = None, **options: Any) -> SimResult:
    """Co-simulate a build folder: see :func:`spikeloom.cosim.simulate.simulate`."""
    from spikeloom.cosim.simulate import simulate as run
    return run(folder, samples, labels, **options)


def synthesize(folder: str | Path, device: str, **options: Any) -> SynthResult:
    """Synthesise a build folder: see :func:`spikeloom.gen.synth.synthesize`."""
    from spikeloom.gen.synth import synthesize as run
    return run(folder, device, **options)


def report(folder: str | Path, file: str | Path, data: Dataset, **options: Any) -> Path:
    """Write one self-contained HTML page: see :func:`spikeloom.html_report.write_report`."""
    from spikeloom.html_report import write_report
    return write_report(folder, file, data, **options)
