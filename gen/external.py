"""Which layers keep their weights in external memory, for a device whose block RAM cannot hold them all."""

from __future__ import annotations

from dataclasses import replace

from spikeloom.model.network import Network
from spikeloom.rtl.layer import LayerConfig

from .devices import Device
from .fold import Fold, LayerFold
from .plan import make_plan

__all__ = ["block_bits", "fit_to_device", "memory_is_scarce", "outside", "weight_memory_bits"]

USABLE = 0.8  # of a device's block RAM: memories do not fill their blocks, and others take some too


def weight_memory_bits(config: LayerConfig) -> int:
    """Bits of a layer's weight memories on chip."""
    synapse, queue = config.synapse, config.synapse.queue
    if config.sparse is not None:
        return sum(bits * rows for bits, rows in config.sparse.memories.values())
    own_lanes = synapse.lanes - synapse.fetched_lanes
    return queue.banks * queue.passes * queue.rows * own_lanes * synapse.weight_bits


def block_bits(device: Device) -> int:
    """Bits of a device's block RAM."""
    return (device.ram_bits or 0) - device.single_port_bits


def memory_is_scarce(network: Network, fold: Fold, device: Device) -> bool:
    """Whether a fold's weights on chip fill so much of a device that those in external memory, which are slower, are
    worth a try."""
    return 2 * sum(weight_memory_bits(layer) for layer in make_plan(network, fold).layers) > block_bits(device)


def outside(layer: LayerFold, bus_bits: int) -> LayerFold:
    """The fold of a layer with all its weights in external memory."""
    return replace(layer, inputs_per_cycle=1, external_bus_bits=bus_bits, on_chip_lanes=0, outer="groups",
                   multipliers=0, sparse=False)


def fit_to_device(network: Network, fold: Fold, device: Device, bus_bits: int = 64) -> Fold:
    """The fold with as few layers as possible, the largest first, moved to external memory.

    Their ``inputs_per_cycle`` becomes 1 and ``external_bus_bits`` ``bus_bits``. A device without known limits
    takes everything.

    Raises
    ------
    SpikeloomError
        If the fold does not suit the network.
    """
    if device.bram is None:
        return fold
    room = int(USABLE * block_bits(device))
    sizes = [weight_memory_bits(config) for config in make_plan(network, fold).layers]
    layers = list(fold.layers)
    for index in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        if sum(sizes) <= room:
            break
        layers[index] = outside(layers[index], bus_bits)
        sizes[index] = 0
    return replace(fold, layers=tuple(layers))
