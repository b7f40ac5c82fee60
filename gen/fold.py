"""The fold: how much of each layer stands side by side in hardware, and how much takes turns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.geometry import Shape, as_map
from spikeloom.model.layers import INPUT, Layer
from spikeloom.model.network import Conv2d, Network
from spikeloom.model.system.arguments import an, choice, short
from spikeloom.model.system.paths import path_of, shown
from spikeloom.model.system.reading import MIB, read_bytes
from spikeloom.model.system.records import STRICT, read_dataclass
from spikeloom.rtl.lane_block import pair_bits

from .limits import spiking_limits

MAX_FILE_BYTES = MIB
WINDOW_STEPS = 16  # of a window, if nobody says how many: lanes and neurons grow with them

__all__ = ["PRESETS", "Fold", "LayerFold", "best_updates", "check_fold", "fold_from_dict", "load_fold"]


@dataclass(frozen=True, kw_only=True)
class LayerFold:
    """Fold of one layer.

    Parameters
    ----------
    lanes : int
        Neurons whose synapses are added side by side, 1 to all. Of a convolution: output channels of one position;
        or several times all its channels, at so many neighbouring positions of a row.
    inputs_per_cycle : int
        Active inputs taken per cycle; a power of two for a convolution.
    neuron_units : int
        Neurons updated side by side, 1 to ``lanes``.
    pipelined : bool
        Neuron units that take a neuron every cycle; else units that step through one neuron at a time, the
        smallest choice.
    external_bus_bits : int or None
        Width of an AXI4 bus over which the weights are read from external memory, 32..512; None: weights on chip.
        Takes one input per cycle at most.
    prefetch_rows : int
        Weight rows that are read ahead of their use, at least 2; for external weights only.
    on_chip_lanes : int
        With external weights: so many lanes, the last ones, have theirs on chip nonetheless, so that there can be more
        lanes than a bus feeds. All others are a multiple of ``neuron_units``.
    outer : "groups" or "events"
        The outer loop of a dense layer, where it has fewer lanes than neurons. ``groups``: a group of lanes works off
        all events of a window, then they are replayed for the next group. ``events``: each event is added to all
        groups in turn as it comes, and their sums lie in LUT RAM; on-chip weights only.
    sparse : bool
        Weights that are 0 are neither stored nor added: an event takes a cycle for each weight of the lane that has
        most, not one for each group. With ``outer`` ``"events"``, one input per cycle, weights of two bits or more.
    multipliers : int
        Multipliers that the layer's lanes may take: each adds up two inputs of a lane, times their weights. For layers
        that a static input drives, with ``inputs_per_cycle`` of at least 2.
    updates : "all" or "spiking"
        Which neurons are updated. ``all``: every one. ``spiking``: ``neuron_units`` neurons side by side are compared
        with the sum from which on they spike, and those that do go through one unit, one after the other; for
        pipelined layers that a static input drives in a single window, with fixed weights.
    """

    __pydantic_config__ = STRICT

    lanes: int = 1
    inputs_per_cycle: int = 1
    neuron_units: int = 1
    pipelined: bool = True
    external_bus_bits: int | None = None
    prefetch_rows: int = 32
    on_chip_lanes: int = 0
    outer: Literal["groups", "events"] = "groups"
    updates: Literal["all", "spiking"] = "all"
    multipliers: int = 0
    sparse: bool = False

    @property
    def bus_lanes(self) -> int:
        """Lanes whose weights are read from external memory."""
        return 0 if self.external_bus_bits is None else self.lanes - self.on_chip_lanes


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Fold of a network.

    Parameters
    ----------
    layers : tuple of LayerFold
        One per layer.
    input_per_beat : int
        Input channels that the input stream carries per beat.
    window_steps : int or None
        Time steps that an event carries together (W); None for as many as divide T, 16 at most; one where spikes come
        back, or runs are of any length.
    external_bytes : int
        Size of the memory that holds external weights.
    weight_sets : int
        0: weights and the neurons' constants are fixed. 1: they are written at run time, so that one build serves
        networks of the same shape, one after the other. 2: one set is written while the other is in use.
    headroom_bits : int
        With sets: how many bits larger than this network's the sums and constants of another one may be, as far as
        weights of that many bits can make them.
    lut_ram : bool
        The device has memories of LUTs, which are read within a cycle. Without them, as on iCE40, queues of few rows
        lie in block RAM. Cycles are the same.
    name : str
    """

    __pydantic_config__ = STRICT

    layers: tuple[LayerFold, ...]
    input_per_beat: int = 1
    window_steps: int | None = None
    external_bytes: int = 1 << 32
    weight_sets: int = 0
    headroom_bits: int = 1
    lut_ram: bool = True
    name: str = "custom"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; :func:`fold_from_dict` reads them."""
        return asdict(self) | {"layers": [asdict(layer) for layer in self.layers]}

    def window(self, network: Network) -> int:
        """W in steps."""
        if self.window_steps is None:
            if network.recurrent or network.marked:
                return 1
            return max(steps for steps in range(1, WINDOW_STEPS + 1) if network.steps % steps == 0)
        return self.window_steps


def check_fold(network: Network, fold: Fold) -> None:
    """Raise :class:`.SpikeloomError` if ``fold`` does not suit ``network``: names layer, field, value, range."""
    an(Network, network, "network")
    an(Fold, fold, "fold")
    # It stands in a comment of the Verilog.
    if not isinstance(fold.name, str) or not fold.name or not fold.name.isprintable() or len(fold.name) > 200:
        raise SpikeloomError(f"fold: name must be one line of text, not {short(fold.name)}")
    if not isinstance(fold.layers, Sequence):
        raise SpikeloomError(f"fold {fold.name}: layers must be a sequence of LayerFolds, not {short(fold.layers)}")
    for k, lf in enumerate(fold.layers):
        an(LayerFold, lf, f"fold {fold.name}: layers[{k}]")
    if len(fold.layers) != len(network.layers):
        raise SpikeloomError(f"fold {fold.name}: has {len(fold.layers)} layers, network {network.name} has "
                             f"{len(network.layers)}")
    _in_range(f"fold {fold.name}: input_per_beat", fold.input_per_beat, network.input.size)
    window = fold.window(network)
    _in_range(f"fold {fold.name}: window_steps", window, network.steps)
    if network.steps % window:
        raise SpikeloomError(f"fold {fold.name}: window_steps must divide the network's {network.steps} steps, "
                             f"not {window}")
    if network.marked and window != 1:
        raise SpikeloomError(f"fold {fold.name}: window_steps must be 1 where the end of a run is marked, not {window}")
    if network.recurrent and window != 1:
        raise SpikeloomError(f"fold {fold.name}: window_steps must be 1 where spikes come back to an earlier layer, "
                             f"not {window}")
    if network.reads_map and as_map(network.input.shape)[0] % fold.input_per_beat:
        raise SpikeloomError(f"fold {fold.name}: input_per_beat must divide the {as_map(network.input.shape)[0]} "
                             f"channels of a position of the input map, not {fold.input_per_beat}")
    _in_range(f"fold {fold.name}: external_bytes", fold.external_bytes, 1 << 64)
    _in_range(f"fold {fold.name}: weight_sets", fold.weight_sets, 2, 0)
    _in_range(f"fold {fold.name}: headroom_bits", fold.headroom_bits, 16, 0)
    choice(fold.lut_ram, f"fold {fold.name}: lut_ram", (True, False))
    for index, (layer, lf) in enumerate(zip(network.layers, fold.layers, strict=True)):
        where = f"fold {fold.name}: layer {layer.name}:"
        _in_range(f"{where} lanes", lf.lanes, layer.outputs)
        _in_range(f"{where} neuron_units", lf.neuron_units, lf.lanes)
        _in_range(f"{where} inputs_per_cycle", lf.inputs_per_cycle, layer.connection.inputs)
        if not isinstance(lf.pipelined, bool):
            raise SpikeloomError(f"{where} pipelined must be true or false, not {short(lf.pipelined)}")
        _check_external(where, fold, lf)
        choice(lf.outer, f"{where} outer", ("groups", "events"))
        if lf.outer == "events" and isinstance(layer.connection, Conv2d):
            raise SpikeloomError(f"{where} outer must be 'groups' in a convolution, not 'events'")
        choice(lf.sparse, f"{where} sparse", (False, True))
        if lf.sparse and (reason := _no_sparse_rows(fold, layer, lf)):
            raise SpikeloomError(f"{where} sparse must be false {reason}, not True")
        _in_range(f"{where} multipliers", lf.multipliers, _most_multipliers(network, index, lf), 0)
        choice(lf.updates, f"{where} updates", ("all", "spiking"))
        if lf.updates == "spiking" and (reason := _no_spiking_updates(network, fold, layer, lf)):
            raise SpikeloomError(f"{where} updates must be 'all' {reason}, not 'spiking'")
        if len(layer.shape) == 3:
            _check_map(where, layer.shape, lf)
    for layer, lf in zip(network.layers, fold.layers, strict=True):
        where = f"fold {fold.name}: layer {layer.name}: inputs_per_cycle must"
        items, name = _items(layer, fold)
        if isinstance(layer.connection, Conv2d):
            if lf.inputs_per_cycle & (lf.inputs_per_cycle - 1):
                raise SpikeloomError(f"{where} be a power of two, not {lf.inputs_per_cycle}")
        elif items % lf.inputs_per_cycle and (lf.inputs_per_cycle % items or layer.sum_pool is not None):
            multiple = "" if layer.sum_pool is not None else " or be a multiple of"
            source = "input_per_beat" if name == INPUT else f"layer {name}'s neuron_units"
            raise SpikeloomError(f"{where} divide{multiple} {source}={items}, not {lf.inputs_per_cycle}")


def _most_multipliers(network: Network, index: int, lf: LayerFold) -> int:
    """One for each two inputs of each lane, where a static input is not too wide for it."""
    layer = network.layers[index]
    bits = layer.connection.weight_bits
    if not layer.static or bits == 1 or lf.sparse or not pair_bits(bits, network.planes(index)):
        return 0
    return lf.lanes * (lf.inputs_per_cycle // 2)


def _no_spiking_updates(network: Network, fold: Fold, layer: Layer, lf: LayerFold) -> str:
    """Why not only neurons that spike can be updated; empty if they can."""
    if not layer.static:
        return "where no static input drives the layer"
    if network.endless or fold.window(network) < network.steps:
        return "where a run has several windows"
    if layer.name == network.output_name and network.readout.needs_potential:
        return "where the readout looks at potentials"
    if not lf.pipelined:
        return "with stepping units"
    if fold.weight_sets:
        return "with weight_sets"
    return ""


def _no_sparse_rows(fold: Fold, layer: Layer, lf: LayerFold) -> str:
    """Why rows cannot be sparse; empty if they can."""
    if lf.outer != "events":
        return "with outer 'groups'"
    if lf.lanes == layer.outputs:
        return "where no lanes take turns"
    if lf.inputs_per_cycle != 1:
        return "with several inputs_per_cycle"
    if layer.connection.weight_bits == 1:
        return "where weights have one bit, and none is 0"
    if fold.weight_sets:
        return "with weight_sets"
    return ""


def best_updates(network: Network, index: int) -> Literal["all", "spiking"]:
    """What saves most, where nothing stands in the way."""
    fold = Fold(layers=())
    if _no_spiking_updates(network, fold, network.layers[index], LayerFold()):
        return "all"
    try:
        spiking_limits(network, index)
    except SpikeloomError:
        return "all"
    return "spiking"


def _items(layer: Layer, fold: Fold) -> tuple[int, str]:
    """Channels in a beat of a layer's input: those of its widest source, which is named too."""
    units = [fold.input_per_beat, *(lf.neuron_units for lf in fold.layers)]
    return max((units[source.index], source.name) for source in layer.sources)


def _check_external(where: str, fold: Fold, lf: LayerFold) -> None:
    _in_range(f"{where} prefetch_rows", lf.prefetch_rows, 4096, 2)
    _in_range(f"{where} on_chip_lanes", lf.on_chip_lanes, lf.lanes - 1, 0)
    if lf.on_chip_lanes and (reason := _all_lanes_alike(fold, lf)):
        raise SpikeloomError(f"{where} on_chip_lanes must be 0 {reason}, not {lf.on_chip_lanes}")
    if lf.on_chip_lanes and lf.bus_lanes % lf.neuron_units:
        raise SpikeloomError(f"{where} on_chip_lanes must leave a multiple of neuron_units={lf.neuron_units} of "
                             f"lanes={lf.lanes}, not {lf.on_chip_lanes}")
    if lf.external_bus_bits is None:
        return
    choice(lf.external_bus_bits, f"{where} external_bus_bits", (32, 64, 128, 256, 512))
    if lf.outer != "groups":
        raise SpikeloomError(f"{where} outer must be 'groups' with external weights, not {short(lf.outer)}")
    if lf.inputs_per_cycle != 1:
        raise SpikeloomError(f"{where} inputs_per_cycle must be 1 with external weights, not {lf.inputs_per_cycle}")


def _all_lanes_alike(fold: Fold, lf: LayerFold) -> str:
    """Why the weights of all lanes must be in the same place; empty if they need not be."""
    if lf.external_bus_bits is None:
        return "without external_bus_bits"
    if fold.weight_sets:
        return "with weight_sets"
    return ""


def _check_map(where: str, shape: Shape, lf: LayerFold) -> None:
    channels, _, width = shape
    if lf.lanes > channels and (lf.lanes % channels or width % (lf.lanes // channels)):
        allowed = ", ".join(str(channels * n) for n in range(2, width + 1) if width % n == 0)
        raise SpikeloomError(f"{where} lanes must be in 1..{channels} (its channels), or so many times them as divide "
                             f"its {width} columns ({allowed}), not {lf.lanes}")
    if lf.lanes > channels and channels % lf.neuron_units:
        raise SpikeloomError(f"{where} neuron_units must divide the {channels} channels where lanes={lf.lanes} are "
                             f"more than these, not {lf.neuron_units}")


def _in_range(what: str, value: Any, high: int, low: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpikeloomError(f"{what} must be in {low}..{high}, not {short(value)}")


def fold_from_dict(d: Any, where: str) -> Fold:
    """A fold from JSON values; errors name ``where`` and the field."""
    return read_dataclass(Fold, json.dumps(d), where)


def _largest_divisor(n: int, at_most: int) -> int:
    return max(k for k in range(1, at_most + 1) if n % k == 0)


def _input_per_beat(network: Network, wanted: int) -> int:
    """As many as wanted, as far as there are so many; of a map, channels of one position."""
    if network.reads_map:
        return _largest_divisor(as_map(network.input.shape)[0], wanted)
    return min(wanted, network.input.size)


def _banks(layer: Layer, items: int, wanted: int) -> int:
    """Inputs per cycle: a power of two at most ``wanted``, such as suits the beats of ``items``."""
    if isinstance(layer.connection, Conv2d) or (layer.sum_pool is None and wanted % items == 0):
        return 1 << (min(wanted, layer.connection.inputs).bit_length() - 1)
    return max(n for n in (1, 2, 4, 8) if n <= wanted and items % n == 0)


def _small(network: Network) -> Fold:
    """One lane a layer, stepping neurons, one input channel a beat."""
    return Fold(name="small", layers=(LayerFold(pipelined=False),) * len(network.layers))


FIRST_INPUTS = 2  # of a first convolution
COPIES_BITS = 1 << 21  # of a convolution's weights at most: each input of a cycle has a copy of its own


def _fast(network: Network) -> Fold:
    """A fifth of each large layer side by side, several inputs a cycle: 784-400-400-10 on an LFE5U-85F.

    Convolutions: all channels, up to 64 of them, 16 inputs a cycle if so many copies of the weights are not too large.
    The first one, whose windows of a few pixels are too small for that, works on several positions at once, as far as
    it takes to keep up with the next. A dense layer behind a map adds each event to all its groups as it comes: else it
    would start to replay when the map is done.
    """
    def after_map(layer: Layer) -> bool:
        return layer.sources[0].index > 0 and len(layer.sources[0].shape) == 3

    layers: list[LayerFold] = []
    for index, layer in enumerate(network.layers):
        if len(layer.shape) == 3:
            lanes = (_first_lanes(network) if index == 0 and isinstance(layer.connection, Conv2d)
                     else _largest_divisor(layer.shape[0], 64))
            fold = LayerFold(lanes=lanes, neuron_units=_largest_divisor(min(lanes, layer.shape[0]), 4 if index else 16))
        elif after_map(layer) and layer.outputs >= 64:
            fold = LayerFold(lanes=-(-layer.outputs // 10), neuron_units=4, outer="events")
        else:
            # Behind the first layer a lane has an accumulator for each step: half the lanes, and more inputs a cycle.
            passes = max(5, -(-layer.outputs // 100)) * (1 if index == 0 else 2)
            lanes = -(-layer.outputs // passes)
            fold = (LayerFold(lanes=lanes, neuron_units=min(8 if index == 0 else 6, lanes),
                              updates=best_updates(network, index))
                    if layer.outputs >= 64 else LayerFold(lanes=layer.outputs))
        layers.append(fold)
    done = Fold(name="fast", layers=tuple(layers), input_per_beat=_input_per_beat(
        network, 16 if network.input.size >= 64 else 1))

    def banks(index: int, layer: Layer) -> int:
        many = 4 if after_map(layer) else 8 if layer.outputs >= 64 else 1
        if index == 0:
            many = 8 if network.static else 4
        if isinstance(layer.connection, Conv2d):
            copies = COPIES_BITS // (layer.connection.weight.size * layer.connection.weight_bits)
            return _banks(layer, _items(layer, done)[0], FIRST_INPUTS if index == 0 else max(1, min(16, copies)))
        return _banks(layer, _items(layer, done)[0], many) if layer.connection.inputs >= 64 else 1

    return replace(done, layers=tuple(replace(fold, inputs_per_cycle=banks(index, layer)) for index, (layer, fold)
                                      in enumerate(zip(network.layers, done.layers, strict=True))))


def _first_lanes(network: Network) -> int:
    """Lanes of a first layer that is a convolution: the fewest that keep up with 16 inputs a cycle of the next."""
    def additions(layer: Layer, activity: float) -> float:
        assert isinstance(layer.connection, Conv2d)
        pooled = layer.pool.size**2 if layer.pool is not None else 1
        return activity * pooled * layer.connection.outputs * int(layer.connection.weight[0].size)

    first = network.layers[0]
    assert isinstance(first.connection, Conv2d)
    channels, _, width = first.connection.geometry.output_shape
    choices = [n for n in range(1, min(channels, 64) + 1) if channels % n == 0]
    choices += [n * channels for n in range(2, 64 // channels + 1) if width % n == 0]
    follower = network.layers[1] if len(network.layers) > 1 else None
    if follower is None or not isinstance(follower.connection, Conv2d):
        return choices[-1]
    # Half of the pixels and a quarter of the neurons are active; half of the first layer's adders have work.
    time = additions(follower, 1 / 4) / (16 * _largest_divisor(follower.connection.channels, 64))
    enough = [n for n in choices if 2 * additions(first, 1 / 2) / (FIRST_INPUTS * n) <= time]
    return enough[0] if enough else choices[-1]


def _balanced(network: Network) -> Fold:
    """Sixteen lanes a layer."""
    layers = tuple(LayerFold(lanes=min(16, layer.shape[0])) for layer in network.layers)
    return Fold(name="balanced", layers=layers, input_per_beat=_input_per_beat(network, 4))


def _full(network: Network) -> Fold:
    """Nothing takes turns: a lane and a neuron unit for every neuron; of a convolution, for every channel."""
    per_beat = _largest_divisor(as_map(network.input.shape)[0] if network.reads_map else network.input.size, 16)
    layers = tuple(LayerFold(lanes=layer.shape[0], neuron_units=layer.shape[0]) for layer in network.layers)
    done = Fold(name="full", layers=layers, input_per_beat=per_beat)

    def banks(layer: Layer) -> int:
        items = _items(layer, done)[0]
        return _banks(layer, items, 8) if isinstance(layer.connection, Conv2d) else _largest_divisor(items, 8)

    return replace(done, layers=tuple(replace(fold, inputs_per_cycle=banks(layer)) for layer, fold
                                      in zip(network.layers, layers, strict=True)))


PRESETS: dict[str, Callable[[Network], Fold]] = {
    "small": _small, "balanced": _balanced, "fast": _fast, "full": _full,
}


def load_fold(spec: str | Path, network: Network) -> Fold:
    """A preset by name, or a fold from a JSON file; checked against ``network``.

    Raises
    ------
    SpikeloomError
        If there is no such preset or file, or the fold does not suit the network.
    """
    path = path_of(spec, "fold")
    if spec in PRESETS:
        fold = PRESETS[str(spec)](network)
        check_fold(network, fold)
        return fold
    if not path.exists():
        raise SpikeloomError(f"fold {shown(path)!r} is neither a preset ({', '.join(PRESETS)}) nor a file")
    where = shown(path)
    fold = read_dataclass(Fold, read_bytes(path, MAX_FILE_BYTES), where)
    if fold.name == "custom":
        fold = replace(fold, name=shown(path.stem))
    try:
        check_fold(network, fold)
    except SpikeloomError as error:
        raise SpikeloomError(f"{where}: {error}") from None
    return fold
