"""spikeloom: trained spiking neural networks to Verilog, proved spike for spike.

The journey, one call a step::

    import spikeloom

    network = spikeloom.load("fashion-mnist-400-400")       # or a file; or train, or quantize a float network
    data = spikeloom.dataset("fashion-mnist-demo")
    print(spikeloom.evaluate(network, data).accuracy)       # integer golden model
    plan = spikeloom.compile(network, "fast")               # a fold by name, file or Fold
    spikeloom.write(plan, "build/api")                      # Verilog, memories, manifest
    print(spikeloom.prove("build/api", data.images, data.labels))
    print(spikeloom.synthesize("build/api", "lfe5u-85f"))
    print(spikeloom.estimate_energy("build/api", data.images[:21], "lfe5u-85f").total_nj)
    spikeloom.report("build/api", "report.html", data)

Each call imports what it needs: evaluating needs no hardware library, and only training needs PyTorch. Bad input
ends as one :class:`SpikeloomError`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from spikeloom.model.errors import SpikeloomError

if TYPE_CHECKING:
    from spikeloom.cosim.prove import Proof
    from spikeloom.cosim.serial_run import RunResult
    from spikeloom.cosim.simulate import SimResult
    from spikeloom.gen.energy import EnergyEstimate
    from spikeloom.gen.explore import Exploration
    from spikeloom.gen.fold import Fold
    from spikeloom.gen.manifest import Manifest
    from spikeloom.gen.place_route import PlaceRouteResult
    from spikeloom.gen.plan import Plan
    from spikeloom.gen.synth import SynthResult
    from spikeloom.gen.weight_sets import WeightSet
    from spikeloom.model.datasets import Dataset
    from spikeloom.model.float_network import FloatNetwork
    from spikeloom.model.network import Network
    from spikeloom.model.recipe import Recipe
    from spikeloom.model.train import TrainResult
    from spikeloom.model.train_config import TrainConfig

__version__ = "0.1.0"
__all__ = ["Evaluation", "SpikeloomError", "compile", "dataset", "estimate_energy", "evaluate", "explore", "load",
           "place_and_route", "prove", "quantize", "report", "run", "simulate", "synthesize", "train", "weight_set",
           "write"]

P = ParamSpec("P")
R = TypeVar("R")


def _door(verb: Callable[P, R]) -> Callable[P, R]:
    """Arguments that the verb does not take end as a :class:`SpikeloomError`, too."""

    @functools.wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return _passed_on(verb, verb.__name__, *args, **kwargs)

    return call


def _passed_on(run: Callable[..., R], name: str, /, *args: Any, **options: Any) -> R:
    """Call what a verb stands for; options that it does not take are errors of the verb."""
    signature = inspect.signature(run)
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise SpikeloomError(f"{name}: {error}; it takes {', '.join(signature.parameters)}") from None
    return run(*args, **options)


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


@_door
def load(name_or_path: str | Path) -> Network:
    """A network: by shipped name, from a network file, or from a build folder."""
    from spikeloom import shipped
    return shipped.load(name_or_path)


@_door
def dataset(name_or_path: str | Path, samples: int | None = None, *, split: Any = None, fetch: bool = True,
            steps: int | None = None, progress: Any = None) -> Dataset:
    """A data set: see :func:`spikeloom.model.datasets.load`."""
    from spikeloom.model import datasets
    return datasets.load(name_or_path, samples=samples, split=split, fetch=fetch, progress=progress,
                         steps=datasets.EVENT_STEPS if steps is None else steps)


@_door
def train(config: TrainConfig | Recipe, data: Dataset, out_dir: str | Path, **options: Any) -> TrainResult:
    """Train a network: see :func:`spikeloom.model.train.train`, and for a recipe
    :func:`spikeloom.model.train_recipe.train_by_recipe`. Needs PyTorch."""
    from spikeloom.model.datasets import Dataset
    from spikeloom.model.recipe import Recipe
    from spikeloom.model.system.arguments import an
    from spikeloom.model.train import train as run
    from spikeloom.model.train_recipe import train_by_recipe
    an(Dataset, data, "data")
    if isinstance(config, Recipe):
        return _passed_on(train_by_recipe, "train", config, data, out_dir, **options)
    return _passed_on(run, "train", config, data.images, data.labels, out_dir, **options)


@_door
def quantize(network: FloatNetwork | str | Path, *, weight_bits: int, granularity: Any = "channel",
             fraction_bits: int = 4, input_bits: int = 4, calibration: Any = None) -> Network:
    """Quantise a float network, or the file of one: see :func:`spikeloom.model.quantize.quantize`."""
    from spikeloom import shipped
    from spikeloom.model.float_network import FloatNetwork, load_float_network
    from spikeloom.model.quantize import quantize as run
    if not isinstance(network, FloatNetwork):
        path = shipped.find(network, ".fsnn")
        try:
            return quantize(load_float_network(path), weight_bits=weight_bits, granularity=granularity,
                            fraction_bits=fraction_bits, input_bits=input_bits, calibration=calibration)
        except SpikeloomError as error:
            raise SpikeloomError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    return run(network, weight_bits=weight_bits, granularity=granularity, fraction_bits=fraction_bits,
               input_bits=input_bits, calibration=calibration)


@_door
def evaluate(network: Network, data: Dataset, progress: Callable[[int], None] | None = None) -> Evaluation:
    """Accuracy and activity of the integer golden model.

    Raises
    ------
    SpikeloomError
        If the samples do not fit the network, or a label is none of its classes.
    """
    import numpy as np

    from spikeloom.model import golden
    from spikeloom.model.datasets import Dataset, check_labels
    from spikeloom.model.network import Network
    from spikeloom.model.system.arguments import an, called
    an(Network, network, "network")
    an(Dataset, data, "data")
    called(progress, "progress")
    given = check_labels(data.labels, len(data.images), network.classes, f"network {network.name}, data {data.name}")
    right, active = 0, np.zeros(len(network.layers))
    start = 0
    for result in golden.batches(network, data.images, progress=progress):
        labels = given[start:start + len(result.classes)]
        right += int((result.classes == labels).sum())
        active += [spikes.any(axis=1).mean() * len(labels) for spikes in result.spikes]
        start += len(labels)
    return Evaluation(len(data), right / len(data), (active / len(data)).tolist())


@_door
def compile(network: Network, fold: Fold | str | Path = "balanced", device: str | None = None,
            bus_bits: int = 64) -> Plan:
    """Shapes, widths and memories of the hardware; ``fold`` is a preset, a JSON file or a Fold.

    With a ``device``, weights that its block RAM cannot hold go to external memory, behind buses of ``bus_bits``.
    """
    from spikeloom.gen.devices import find_device
    from spikeloom.gen.external import fit_to_device
    from spikeloom.gen.fold import Fold, load_fold
    from spikeloom.gen.plan import make_plan
    from spikeloom.model.network import Network
    from spikeloom.model.system.arguments import an, whole
    an(Network, network, "network")
    chosen = fold if isinstance(fold, Fold) else load_fold(fold, network)
    whole(bus_bits, "bus_bits", 32, 512)
    if device is None:
        return make_plan(network, chosen)
    return make_plan(network, fit_to_device(network, chosen, find_device(an(str, device, "device")), bus_bits))


@_door
def explore(network: Network, device: str, samples: Any, **options: Any) -> Exploration:
    """Folds that are worth having on a device: see :func:`spikeloom.gen.explore.explore`."""
    from spikeloom.gen.explore import explore as run
    from spikeloom.model.network import Network
    from spikeloom.model.system.arguments import an
    return _passed_on(run, "explore", an(Network, network, "network"), an(str, device, "device"), samples, **options)


@_door
def write(plan: Plan, folder: str | Path, *, top: str = "snn_top", interface: Any = "stream", serial: Any = None,
          core_clock: bool = False, flash_offset: int | None = None, overwrite: bool = False,
          progress: Callable[[str], None] | None = None) -> Manifest:
    """Generate a build folder: see :func:`spikeloom.gen.build.build`."""
    from spikeloom.gen.build import build
    from spikeloom.gen.plan import Plan
    from spikeloom.model.system.arguments import an
    from spikeloom.model.system.paths import path_of
    return build(an(Plan, plan, "plan"), path_of(folder, "folder"), top=top, interface=interface, serial=serial,
                 core_clock=core_clock, flash_offset=flash_offset, overwrite=overwrite, progress=progress)


@_door
def weight_set(folder: str | Path, network: Network) -> WeightSet:
    """What is written at run time into the hardware of a build folder with ``weight_sets``, so that it becomes that of
    another network of the same shape: see :func:`spikeloom.gen.weight_sets.weight_set`."""
    from spikeloom.cosim.build_folder import BuildFolder
    from spikeloom.model.system.paths import path_of
    return BuildFolder.load(path_of(folder, "folder")).loading(network)[1]


@_door
def run(folder: str | Path, samples: Any, labels: Any = None, **options: Any) -> RunResult:
    """Samples through a board, or a simulated one: see :func:`spikeloom.cosim.serial_run.run_on_line`."""
    from spikeloom.cosim.serial_run import run_on_line
    from spikeloom.model.system.paths import path_of
    return _passed_on(run_on_line, "run", path_of(folder, "folder"), samples, labels, **options)


@_door
def simulate(folder: str | Path, samples: Any, labels: Any = None, **options: Any) -> SimResult:
    """Co-simulate a build folder: see :func:`spikeloom.cosim.simulate.simulate`."""
    from spikeloom.cosim.simulate import simulate as run
    from spikeloom.model.system.paths import path_of
    return _passed_on(run, "simulate", path_of(folder, "folder"), samples, labels, **options)


@_door
def prove(folder: str | Path, samples: Any, labels: Any = None, **options: Any) -> Proof:
    """Co-simulate a build folder one sample at a time, and in bad weather: see :func:`spikeloom.cosim.prove.prove`."""
    from spikeloom.cosim.prove import prove as run
    from spikeloom.model.system.paths import path_of
    return _passed_on(run, "prove", path_of(folder, "folder"), samples, labels, **options)


@_door
def synthesize(folder: str | Path, device: str, *, progress: Callable[[str], None] | None = None,
               cache: bool = True) -> SynthResult:
    """Synthesise a build folder: see :func:`spikeloom.gen.synth.synthesize`."""
    from spikeloom.gen.synth import synthesize as run
    from spikeloom.model.system.arguments import an
    from spikeloom.model.system.paths import path_of
    return run(path_of(folder, "folder"), an(str, device, "device"), progress=progress, cache=cache)


@_door
def place_and_route(folder: str | Path, device: str | None = None, **options: Any) -> PlaceRouteResult:
    """Place and route a build folder: see :func:`spikeloom.gen.place_route.place_and_route`."""
    from spikeloom.gen.place_route import place_and_route as run
    from spikeloom.model.system.paths import path_of
    return _passed_on(run, "place_and_route", path_of(folder, "folder"), device, **options)


@_door
def estimate_energy(folder: str | Path, samples: Any, device: str, **options: Any) -> EnergyEstimate:
    """Estimate the energy of an inference: see :func:`spikeloom.cosim.energy.estimate_energy`."""
    from spikeloom.cosim.energy import estimate_energy as run
    from spikeloom.model.system.arguments import an
    from spikeloom.model.system.paths import path_of
    return _passed_on(run, "estimate_energy", path_of(folder, "folder"), samples, an(str, device, "device"), **options)


@_door
def report(folder: str | Path, file: str | Path, data: Dataset, *, device: str | None = None, energy: bool = False,
           clock_mhz: float = 100.0, command: str = "", date: str = "",
           progress: Callable[[str], None] | None = None) -> Path:
    """Write one self-contained HTML page: see :func:`spikeloom.html_report.write_report`."""
    from spikeloom.html_report import write_report
    from spikeloom.model.datasets import Dataset
    from spikeloom.model.system.arguments import an
    from spikeloom.model.system.paths import path_of
    return write_report(path_of(folder, "folder"), path_of(file, "file"), an(Dataset, data, "data"), device=device,
                        energy=energy, clock_mhz=clock_mhz, command=command, date=date, progress=progress)
