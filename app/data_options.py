"""Which data a command works on: as it was told, or as its network says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import spikeloom
from spikeloom.console import bar
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import short
from spikeloom.model.system.paths import path_of

if TYPE_CHECKING:
    from spikeloom.model.datasets import Dataset
    from spikeloom.model.network import Network

__all__ = ["data_for", "data_option", "default_data", "json_option", "load_data", "samples_option", "split_option"]

RANDOM_SAMPLES = 100
OF_SHAPE = {(28, 28): "fashion-mnist", (1, 28, 28): "fashion-mnist", (3, 32, 32): "cifar10", (2, 34, 34): "n-mnist"}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
data_option = click.option("--data", help="A data set's name, or files: .npz with images and labels, IDX, ...  "
                           "[default: what the network was trained on]")
split_option = click.option("--split", type=click.Choice(["train", "test", "all"]), help="Which part of the data.  "
                            "[default: test; of a single file that the network was not trained on, all]")
samples_option = click.option("--samples", type=click.IntRange(1), help="At most the first N samples.")


def default_data(network: Network) -> str | None:
    """The data that a network was trained on, or a known set of its shape; None if there is neither."""
    named = network.metadata.get("data")
    return named if isinstance(named, str) else OF_SHAPE.get(network.input.shape)


def data_for(network: Network, data: str | None, samples: int | None, split: str | None = None, *,
             labelled: bool = True) -> Dataset:
    """Samples to measure a network on: never those that it was trained on, unless the user says so.

    Where no labels are needed and nobody knows any data, they are random.
    """
    from spikeloom.model import datasets
    named = data or default_data(network)
    if named is None and not labelled:
        click.echo(f"network {network.name} does not say on which data it was trained: these are random samples; "
                   "name others by --data", err=True)
        return _random(network, samples or RANDOM_SAMPLES)
    if named is None:
        raise SpikeloomError(f"network {network.name} does not say on which data it was trained: name some by --data, "
                             f"with samples of shape {network.input.shape}")
    known = named in datasets.names()
    if not known and data is None and not path_of(named, "data").exists():
        raise SpikeloomError(f"network {network.name} says that it was trained on {short(named)}, which is not here: "
                             f"name data by --data, with samples of shape {network.input.shape}")
    trained_on = network.metadata.get("data")
    if split is None and not known and isinstance(trained_on, str) and _same(named, trained_on):
        split = "test"
    return load_data(named, samples, split, network)


def _random(network: Network, count: int) -> Dataset:
    """Samples of the network's shape, seeded; their labels mean nothing."""
    import numpy as np

    from spikeloom.gen.testbench import random_samples
    from spikeloom.model.datasets import Dataset
    images = random_samples(network, count, seed=1)
    return Dataset("random samples", "test", images, np.zeros(count, np.int64), tuple(map(str, range(network.classes))))


def _same(a: str, b: str) -> bool:
    return path_of(a, "data").resolve() == path_of(b, "data").resolve()


def load_data(data: str, samples: int | None, split: str | None, network: Network | None = None) -> Dataset:
    """Load data, with progress; events in as many steps as the network has."""
    options: dict[str, Any] = {} if network is None or network.takes_values else {"steps": network.steps}
    with bar(f"data {data}") as advance:
        loaded = spikeloom.dataset(data, samples, split=split, **options,
                                   progress=lambda done, total: advance(done=done, total=total or None))
        advance(1, total=1)
    return loaded
