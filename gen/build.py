"""Building: one folder with Verilog, memory files, waivers, the network and a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib.wiring import Out

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Conv2d
from spikeloom.model.network_file import save_network
from spikeloom.model.system.arguments import an, called, choice
from spikeloom.model.system.paths import path_of, shown
from spikeloom.model.system.writing import check_folder, write_folder
from spikeloom.rtl.control import control_registers
from spikeloom.rtl.flash_loader import flash_image
from spikeloom.rtl.neuron import constants_layout
from spikeloom.rtl.packet_core import Scores
from spikeloom.rtl.share import Rom
from spikeloom.rtl.spiking_neurons import limit_bits, place_bits
from spikeloom.rtl.weight_fetch import axi4_read
from spikeloom.rtl.weight_sets import LOAD_WORD_BITS

from .bus_top import INTERFACES, SERIAL, Interface, Serial, bus_top, shown_scores
from .cycles import cycle_bounds
from .datasheet import datasheet_files
from .litex import litex_file
from .manifest import (
    MANIFEST,
    BusDescription,
    CycleRange,
    Description,
    FlashDescription,
    InputDescription,
    LayerDescription,
    Manifest,
    NetworkDescription,
    ReadoutDescription,
    SerialDescription,
    StreamDescription,
    TableDescription,
    difference,
    sealed,
)
from .plan import Plan
from .projects import project_files
from .register_files import register_files
from .testbench import testbench_files
from .verilog import TOP, check_top, emit
from .weight_sets import set_length

__all__ = ["build", "describe", "interface_of"]

# Everything else that `verilator -Wall` knows stays on: UNOPTFLAT, LATCH, MULTIDRIVEN, COMBDLY, ...
_WAIVERS = """\
`verilator_config
// Nets that a simulation looks at; nothing else reads them.
lint_off -rule UNUSEDSIGNAL -file "*{top}.v" -match "*'spikes_*"
// Bursts come in order: nobody looks at their number.
lint_off -rule UNUSEDSIGNAL -file "*{top}.v" -match "*'axi_*__rid'*"
// They are as long as they were asked for: nobody looks at their end.
lint_off -rule UNUSEDSIGNAL -file "*{top}.v" -match "*'axi_*__rlast'*"
// Bits of a signal that is read: those of a sum that only matter to its carry, those of a word with a fixed layout.
lint_off -rule UNUSEDSIGNAL -file "*{top}.v" -match "Bits of signal are not used*"
// An output of a part that the whole has no use for.
lint_off -rule PINCONNECTEMPTY -file "*{top}.v"
// All modules stand in one file.
lint_off -rule DECLFILENAME -file "*{top}.v"
"""

_BUS_WAIVERS = """\
// Beats are whole bytes, addresses those of words: some bits mean nothing. Nothing depends on protection.
lint_off -rule UNUSEDSIGNAL -file "*{top}.v" -match "Bits of signal are not used*"
lint_off -rule UNUSEDSIGNAL -file "*{top}.v" -match "*prot'*"
lint_off -rule UNUSEDSIGNAL -file "*{top}.v" -match "*rid'*"
lint_off -rule UNUSEDSIGNAL -file "*{top}.v" -match "*rlast'*"
lint_off -rule DECLFILENAME -file "*{top}.v"
"""

_CROSSING_WAIVERS = """\
// The bus's reset is synchronous there, and sets the synchronisers of the other clock at once.
lint_off -rule SYNCASYNCNET -file "*{top}.v"
"""

_SERIAL_WAIVERS = """\
// A RAM on the chip needs to know less than a memory on a bus.
lint_off -rule PINCONNECTEMPTY -file "*{top}.v" -match "*'axi_*"
"""

_FLASH = "flash_weights.bin"
_FLASH_READ_ME = """
{file}  what the SPI flash holds from byte {offset} on
"""

_BUS_READ_ME = """
{top}.v             the same with {interface} ports and registers; synth and pnr take this one
{top}_registers.*   its registers: for people (md, html), in C (h), in Python (py), in SystemRDL (rdl)
"""

_LITEX_READ_ME = """\
{top}_litex.py      it as a module of LiteX
"""

_READ_ME = """\
{name} ({topology}, {duration}), fold {fold}
=====================================================

{top}.v       synthesisable Verilog, top module {top}; yours: no licence is claimed on it
*_table.bin     weight tables for external memory, if there are any: see interface.json
*.hex           weight memories (deep ones in parts of 16384 rows), read by $readmemh relative to the tool's
                working directory, or where the macro {macro}_MEMORY_PATH says (a string that ends with /)
DATASHEET.md    how to connect it, how long it takes; datasheet.html says the same
testbench.v     proves {top} on a few random samples in any simulator; testbench_*.hex are its vectors
lint.vlt        Verilator waivers, each with its reason
interface.json  ports of {top}: name, direction, width, meaning
manifest.json   network hash, fold, widths, memories, predicted cycles, versions; SHA-256 of every other file
network.snn     the network
*.core, *.f     FuseSoC core, list of the sources
project_*.tcl   projects of Vivado, Quartus, Radiant, Diamond, Gowin EDA, with a clock (*.sdc): change the part

In this folder:

Lint:   spikeloom lint ., or verilator --lint-only -Wall lint.vlt {top}.v
Prove:  spikeloom sim .: every spike of every layer, every class and cycle, on as many samples as you like
        without Python: iverilog -g2005 -o ../testbench.out testbench.v {top}.v && vvp ../testbench.out

Verilog can run programs ($system): simulate a folder from somebody else as you would run a program of theirs.
"""


def build(plan: Plan, folder: str | Path, *, top: str = TOP, interface: Interface = "stream",
          serial: Serial | None = None, core_clock: bool = False, flash_offset: int | None = None,
          overwrite: bool = False, progress: Callable[[str], None] | None = None) -> Manifest:
    """Generate the hardware of ``plan`` in ``folder``, which appears when it is complete.

    Parameters
    ----------
    plan : Plan
    folder : path
        New or empty.
    top : str
        Name of the top module; the names of all other modules and of the memory files begin with it.
    interface : "stream", "axi", "wishbone", "uart" or "spi"
        A module for a bus is written beside the bare one, with its registers.
    serial : Serial, optional
        Clock and rate of a serial line.
    core_clock : bool
        With "axi": the accelerator has a clock of its own beside that of the bus.
    flash_offset : int, optional
        With "uart" or "spi": external weights come from an SPI flash after a reset, from this byte of it on, and not
        from the host.
    overwrite : bool
        It may also be an earlier build that nobody has touched since.
    progress : callable, optional
        Told what is being made.

    Raises
    ------
    SpikeloomError
        If ``folder`` holds anything else, or cannot be written. It is left as it was.
    """
    folder = path_of(folder, "folder")
    network, fold = plan.network, plan.fold
    choice(overwrite, "overwrite", (True, False))
    check_top(top)
    choice(interface, "interface", INTERFACES)
    if serial is not None:
        an(Serial, serial, "serial")
        if interface not in SERIAL:
            raise SpikeloomError(f"serial must be None with interface {interface!r}")
    elif interface in SERIAL:
        serial = Serial() if interface == "uart" else Serial.spi(Serial().clock_hz)
    if choice(core_clock, "core_clock", (True, False)) and interface != "axi":
        raise SpikeloomError(f"core_clock must be False with interface {interface!r}: only AXI has a clock of its own")
    if flash_offset is not None and interface not in SERIAL:
        raise SpikeloomError(f"flash_offset must be None with interface {interface!r}: only what has a serial line "
                             "keeps weights in a RAM of its own")
    tell = called(progress, "progress") or (lambda what: None)
    _check_free(folder, overwrite)
    scores = shown_scores(plan, interface)
    emitted = emit(plan, top, lambda module: tell(f"module {module}"), scores is not None)
    bus = None if interface == "stream" else bus_top(plan, top, interface, emitted.signature, serial, core_clock,
                                                     flash_offset)
    tell("files")
    testbench = testbench_files(plan, top, _class_bits(plan) + bool(plan.tables), _result_beats(plan),
                                scores is not None)
    described, ports = describe(plan, emitted.memory_bits, top), interface_of(plan, top, scores)
    files = {
        f"{top}.v": emitted.verilog, **emitted.memories,
        "lint.vlt": _WAIVERS.format(top=top),
        "README": _READ_ME.format(name=network.name, topology=network.topology,
                                  duration=network.duration, fold=fold.name, top=top, macro=top.upper()),
        **testbench,
    }
    if bus is not None:
        assert interface != "stream"
        if core_clock:
            files["lint.vlt"] += _CROSSING_WAIVERS.format(top=bus.name)
        line = None if serial is None or bus.buffer_bytes is None else SerialDescription(
            clock_hz=serial.clock_hz, baud=serial.baud, bit_cycles=serial.bit_cycles, buffer_bytes=bus.buffer_bytes)
        described = described.model_copy(update={"bus": BusDescription(
            interface=interface, top=bus.name, source=f"{bus.name}.v", serial=line,
            shows_scores=scores is not None, flash=None if bus.flash is None else FlashDescription(
                file=_FLASH, offset=bus.flash.offset, load_cycles=bus.flash.try_cycles))})
        ports["bus"] = bus.interface
        files |= {f"{bus.name}.v": bus.verilog, **register_files(
            control_registers(bus.control), bus.name, bus.control.weight_sets, bus.control.set_words,
            bus.control.scored_classes)}
        files["lint.vlt"] += (_BUS_WAIVERS + (_SERIAL_WAIVERS if interface in SERIAL else "")).format(top=bus.name)
        files["README"] += _BUS_READ_ME.format(interface=interface, top=bus.name)
        if interface == "axi":
            files[f"{bus.name}_litex.py"] = litex_file(plan, described, bus)
            files["README"] += _LITEX_READ_ME.format(top=bus.name)
        if bus.flash is not None:
            files["README"] += _FLASH_READ_ME.format(file=_FLASH, offset=bus.flash.offset)
    files |= {"interface.json": _json(ports), **datasheet_files(plan, described, ports, testbench),
              **project_files(described, network.hash, [name for name in testbench if name.endswith(".hex")],
                              *(["clk"] if bus is None else [bus.clock, bus.core_clock]))}

    manifests = []

    def fill(part: Path) -> None:
        for name, text in files.items():
            (part / name).write_text(text, encoding="utf-8", newline="\n")
        save_network(network, part / "network.snn")
        contents = plan.table_bytes()
        for table in plan.tables:
            (part / table.file).write_bytes(contents[table.layer])
        if flash_offset is not None:
            (part / _FLASH).write_bytes(flash_image(network.hash, [contents[table.layer] for table in plan.tables]))
        manifest = sealed(described.to_json(),
                          {path.name: path.read_bytes() for path in part.iterdir()})
        (part / MANIFEST).write_text(manifest.to_text(), encoding="utf-8", newline="\n")
        manifests.append(manifest)

    write_folder(folder, fill, is_own=_is_build if overwrite else None)
    return manifests[0]


def _is_build(folder: Path) -> bool:
    return difference(folder) is None


def _check_free(folder: Path, overwrite: bool) -> None:
    """As :func:`.write_folder` will, but before the work, and with the reason."""
    check_folder(folder, lambda existing: True)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if (why := difference(folder)) is not None:
        raise SpikeloomError(f"{shown(folder)}: exists already and is not a build as it was written ({why}): "
                             "it is left as it is; choose another name")
    if not overwrite:
        raise SpikeloomError(f"{shown(folder)}: exists already: choose another name, or --force replaces an earlier "
                             "build")


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def interface_of(plan: Plan, top: str = TOP, scores: Scores | None = None) -> dict[str, Any]:
    """Ports of the top module, which shows ``scores`` if there are some."""
    channels = plan.channels[0]
    item = (f"pixel value, {plan.input_bits} bits unsigned" if plan.network.takes_values
            else f"spikes of {plan.window_steps} steps, bit w is step w of the window")
    return {
        "top": top,
        "clock": "clk", "reset": "rst (synchronous, active high)",
        "handshake": "a transfer happens at a rising edge of clk with valid and ready; valid does not wait for ready",
        "ports": [
            {"name": "i__valid", "direction": "in", "bits": 1},
            {"name": "i__ready", "direction": "out", "bits": 1},
            {"name": "i__payload", "direction": "in", "bits": channels.units * plan.input_bits + plan.network.marked,
             "items": channels.units, "item_bits": plan.input_bits, "item": item,
             "order": f"item 0 in the least significant bits; {_order(plan)}; "
                      "zeros beyond the last channel" + ("; the highest bit of a step's last beat marks the run's last "
                                                         "step" if plan.network.marked else "")},
            {"name": "o__valid", "direction": "out", "bits": 1},
            {"name": "o__ready", "direction": "in", "bits": 1},
            {"name": "o__payload", "direction": "out", "bits": _class_bits(plan) + bool(plan.tables),
             "meaning": _result_meaning(plan)},
            *_score_ports(scores, _class_bits(plan)),
            *_memory_ports(plan),
            *_load_ports(plan),
        ],
        "beats_per_window": channels.beats, "windows_per_sample": plan.input_windows,
        "first_beats": [[None if value < 0 else [int(n) for n in np.unravel_index(value, channels.shape)]
                         for value in beat] for beat in channels.index[:4]],
    }


def _result_meaning(plan: Plan) -> str:
    if plan.readout is None:
        each = f"{_result_beats(plan)} beats a sample"
        if plan.network.marked:
            each = f"{plan.channels[plan.network.output_index + 1].beats} beats a step"
        return (f"spikes of layer {plan.network.output_name}: {each}, each of "
                f"{plan.channels[plan.network.output_index + 1].units} neurons with a bit for each of "
                f"{plan.window_steps} steps, neuron 0 in the least significant bits")
    return (f"index of the class with the highest score; ties: {plan.network.readout.tie_winner}"
            + ("; highest bit: invalid, a memory answered with an error" if plan.tables else ""))


def _score_ports(scores: Scores | None, class_bits: int) -> list[dict[str, Any]]:
    """Ports for scores."""
    if scores is None:
        return []
    return [
        {"name": "scores__valid", "direction": "out", "bits": 1,
         "meaning": "a class is compared; once a class in every window, and not while a result waits for its transfer"
                    + (" and the next one, too" if scores.held else "")},
        {"name": "scores__class_index", "direction": "out", "bits": class_bits, "meaning": "which one"},
        {"name": "scores__value", "direction": "out", "bits": scores.bits,
         "meaning": "its score up to this window, " + ("two's complement" if scores.signed else "unsigned")}]


def _memory_ports(plan: Plan) -> list[dict[str, Any]]:
    """Ports for external weights."""
    ports: list[dict[str, Any]] = []
    for table in plan.tables:
        config = table.config
        ports.append({"name": f"base_{table.layer}", "direction": "in", "bits": config.address_bits,
                      "meaning": f"byte address of {table.file}, a multiple of {config.row_bytes}; constant"})
        for path, member in axi4_read(config.address_bits, config.bus_bits).members.items():
            ports.append({"name": f"axi_{table.layer}__{path}", "direction": "out" if member.flow == Out else "in",
                          "bits": Shape.cast(member.shape).width, "meaning": "AXI4 read master"})
    if ports:
        layers = ", ".join(table.layer for table in plan.tables)
        ports += [{"name": "status", "direction": "out", "bits": len(plan.tables),
                   "meaning": f"a memory has answered with an error: {layers}, from bit 0 on"},
                  {"name": "clear", "direction": "in", "bits": 1, "meaning": "clears status"}]
    return ports


def _load_ports(plan: Plan) -> list[dict[str, Any]]:
    """Ports for sets of weights."""
    if not plan.fold.weight_sets:
        return []
    two = plan.fold.weight_sets == 2
    return [
        {"name": "load__begin", "direction": "in", "bits": 1, "meaning": "what comes from here on is a set of weights "
         "and constants from its first word on"},
        {"name": "load__valid", "direction": "in", "bits": 1, "meaning": "load__data is the set's next word" + (
            "" if two else "; only while no sample is under way")},
        {"name": "load__data", "direction": "in", "bits": LOAD_WORD_BITS,
         "meaning": f"one of the {set_length(plan):,} words that spikeloom weights writes"},
        {"name": "complete", "direction": "out", "bits": 1, "meaning": "all words have come since load__begin; "
         f"{plan.set_cycles} cycles later they are in their places"},
        *([{"name": "chosen_set", "direction": "in", "bits": 1, "meaning": "the set that is in use, the other one is "
            "written; to be changed only while no sample is under way"}] if two else []),
    ]


def _class_bits(plan: Plan) -> int:
    """Bits of the result, less its mark as invalid."""
    if plan.readout is None:
        return plan.channels[plan.network.output_index + 1].units * plan.window_steps
    return max(1, (max(2, plan.network.classes) - 1).bit_length())


def _result_beats(plan: Plan) -> int:
    """Transfers of the result of a sample."""
    return 1 if plan.readout is not None else plan.channels[plan.network.output_index + 1].beats * plan.windows


def describe(plan: Plan, memory_bits: dict[str, int] | None = None, top: str = TOP) -> Description:
    """What is built. Without ``memory_bits`` of memories that were written, of those that would be."""
    network = plan.network
    inp = network.input
    memories = _rom_bits(plan, top) if memory_bits is None else memory_bits
    return Description(
        top=top, sources=(f"{top}.v",),
        network=NetworkDescription(
            name=network.name, hash=network.hash, topology=network.topology, steps=network.steps,
            input=InputDescription(kind=inp.kind, shape=inp.shape)),
        fold=plan.fold.to_dict(), window_steps=plan.window_steps, windows=plan.windows,
        input=StreamDescription(items_per_beat=plan.channels[0].units, item_bits=plan.input_bits,
                                beats_per_window=plan.channels[0].beats),
        layers=tuple(_layer_of(plan, index, top) for index in range(len(plan.layers))),
        external=tuple(TableDescription(
            layer=t.layer, file=t.file, base=t.base, bytes=t.config.table_bytes, row_bytes=t.config.row_bytes,
            bus_bits=t.config.bus_bits, address_bits=t.config.address_bits) for t in plan.tables),
        classes=network.classes, class_bits=_class_bits(plan),
        readout=ReadoutDescription(kind=network.readout.kind, ties=network.readout.ties,
                                   early_exit=network.readout.early_exit, beats=_result_beats(plan)),
        memory_files=memories, predicted_cycles=_predicted_cycles(plan), memory_bits=sum(memories.values()),
        versions={name: version(name) for name in ("spikeloom", "amaranth")})


def _order(plan: Plan) -> str:
    if not plan.network.reads_map:
        return "beat q carries channels q*items, q*items+1, ..."
    return ("positions (y, x) come in raster order, a position's channels together, items at a time; first_beats says "
            "for each item of the first beats which (channel, y, x) of the sample it carries")


def _predicted_cycles(plan: Plan) -> CycleRange:
    """Cycles of no sample are outside. With external weights there is no upper end: it is the memory's. Of convolutions
    no end is known: a sample of few spikes may take longer in one layer than one of many."""
    if any(isinstance(layer.connection, Conv2d) for layer in plan.network.layers):
        return CycleRange(min=None, max=None)
    if plan.tables:
        return CycleRange(min=cycle_bounds(plan, active=(False,))[0], max=None)
    least, most = cycle_bounds(plan)
    return CycleRange(min=least, max=most)


def _layer_of(plan: Plan, index: int, top: str) -> LayerDescription:
    config, channels = plan.layers[index], plan.channels[index + 1]
    layer, bounds = plan.network.layers[index], plan.bounds(index)
    queue, neuron = config.synapse.queue, config.neurons.neuron
    return LayerDescription(
        name=config.synapse.name, kind=layer.kind,
        sources=tuple(source.name + "'" * source.delay for source in layer.sources),
        input_shape=tuple(plan.orders[index].shape), output_shape=tuple(channels.shape),
        inputs=int(np.prod(plan.orders[index].shape)), neurons=channels.size, tile=channels.tile,
        event_memory_bits=config.synapse.queue.memory_bits,
        weights="on chip" if config.fetch is None else "both" if config.synapse.has_memories else "external",
        lanes=channels.lanes, units=channels.units, pipelined=config.neurons.pipelined,
        updates="spiking" if config.neurons.spiking_only else "all", multipliers=sum(
            own * len(lanes) for own, lanes in zip(config.synapse.products, config.synapse.blocks, strict=True)),
        groups=channels.groups, beats_per_window=channels.beats, item_bits=neuron.steps,
        inputs_per_cycle=queue.banks,
        weight_bits=config.synapse.weight_bits,
        accumulator_bits=bounds.accumulator_bits, drive_bits=bounds.drive_bits,
        register_bits=dict(bounds.register_bits), potential_bits=bounds.potential_bits,
        accumulators=channels.lanes * neuron.sums,
        weight_memory_bits=sum(bits for name, bits in _rom_bits(plan, top).items()
                               if name.startswith(f"{top}_{config.synapse.name}_weights")))


def _rom_bits(plan: Plan, top: str) -> dict[str, int]:
    """Size of every memory file, without making its contents."""
    sizes = {}

    def add(name: str, row_bits: int, depth: int) -> None:
        if not row_bits:
            return
        sizes.update({f"{top}_{part}.hex": row_bits * Rom.part_depth(len(rows), plan.fold.weight_sets)
                      for part, rows in Rom.parts(name, depth).items()})

    for config in plan.layers:
        synapse, neurons = config.synapse, config.neurons
        for (_, block), name in synapse.memories.items():
            add(name, len(synapse.blocks[block]) * synapse.weight_bits, synapse.queue.passes * synapse.queue.rows)
        if config.sparse is not None:
            for name, (row_bits, depth) in config.sparse.memories.items():
                add(name, row_bits, depth)
        constant_bits = constants_layout(neurons.neuron).size
        if neurons.spiking_only:
            add(f"{synapse.name}_limits", limit_bits(neurons) * neurons.units, neurons.constant_beats)
            add(f"{synapse.name}_constants", constant_bits, neurons.constant_beats << place_bits(neurons))
        else:
            add(f"{synapse.name}_constants", constant_bits * neurons.units, neurons.constant_beats)
    return sizes
