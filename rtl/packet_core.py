"""An accelerator behind packets and registers: what all bus tops have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import index_shape
from .control import HASH_WORDS, ControlConfig, base_registers, control_registers, hash_words
from .fifo import Queue
from .flat_ports import connect_flat, flat_ports
from .packet_gate import PacketGate, PacketGateConfig, packet_layout
from .registers import WORD_BITS, RegisterFile, register_bus
from .weight_fetch import axi4_read

__all__ = ["PacketCore", "PacketCoreConfig", "Scores", "Table", "connect_weights", "result_packet_layout",
           "weight_ports"]


@dataclass(frozen=True)
class Table:
    """External weights of a layer: its AXI4 read master."""

    layer: str
    address_bits: int
    bus_bits: int


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of all classes.

    Parameters
    ----------
    classes : int
    bits : int
    signed : bool
    held : bool
        The accelerator keeps a result while it works on the next one.
    """

    classes: int
    bits: int
    signed: bool
    held: bool

    @property
    def banks(self) -> int:
        """For those of the last result, of one that is kept, of the one that comes; a power of two."""
        return 4 if self.held else 2


@dataclass(frozen=True, kw_only=True)
class PacketCoreConfig:
    """Shape of the accelerator inside.

    Parameters
    ----------
    gate : PacketGateConfig
    result_bits : int
        Bits of a beat of the result, without the mark of a bad one.
    result_beats : int
        Of a packet.
    network_hash : str
    gives_class : bool
        The result is the index of a class.
    tables : tuple of Table
    has_bases : bool
        Registers say where the tables lie; without, at address 0.
    results_under_way : int
        Packets that have come in completely, and whose results have not been taken, at most.
    weight_sets, set_words, set_shape : int
        As in :class:`.ControlConfig`.
    set_cycles : int
        From a set's last word to its place.
    words_apart : bool
        A set's words come also by ports of their own.
    scores : Scores or None
        That registers show.
    filled : bool
        Something fills the memories of external weights; until it is done, no packet begins.
    ends_packets : bool
        A result that a soft reset breaks off ends with one more beat, which is bad; else whoever takes it sees to that.
    """

    gate: PacketGateConfig
    result_bits: int
    result_beats: int
    network_hash: str
    gives_class: bool
    tables: tuple[Table, ...] = ()
    has_bases: bool = True
    results_under_way: int = 16
    weight_sets: int = 0
    set_words: int = 0
    set_shape: int = 0
    set_cycles: int = 0
    words_apart: bool = False
    scores: Scores | None = None
    filled: bool = False
    ends_packets: bool = True

    @property
    def control(self) -> ControlConfig:
        """What the registers depend on."""
        return ControlConfig(network_hash=self.network_hash, class_bits=self.result_bits if self.gives_class else 0,
                             tables=tuple((table.layer, table.address_bits) for table in self.tables
                                          if self.has_bases),
                             weight_sets=self.weight_sets, set_words=self.set_words, set_shape=self.set_shape,
                             scored_classes=0 if self.scores is None else self.scores.classes, filled=self.filled)


def result_packet_layout(bits: int) -> data.StructLayout:
    """A beat of a result."""
    return data.StructLayout({"data": bits, "last": 1, "error": 1})


class PacketCore(wiring.Component):
    """One packet in, one packet out.

    The accelerator gets runs of the right length whatever comes (:class:`.PacketGate`). The last beat of a result waits
    until its packet has come in completely, and says whether that was malformed, or a memory answered with an error.

    Latency: what the accelerator has, and no cycle more. Memory: ``33 * results_under_way`` bits of LUT RAM, the
    registers, and ``scores.banks * 2**class_bits * scores.bits`` bits for scores.

    A soft reset resets all of it but the registers, a cycle after it is asked for; no packet begins meanwhile. With
    external weights it first ends the packet under way and waits for all results, which are thrown away: a transfer
    that has begun cannot be taken back.

    Parameters
    ----------
    config : PacketCoreConfig
    core : Component
        The accelerator, with the ports of :class:`.Accelerator`.

    Members
    -------
    i : In(stream of packet_layout)
    o : Out(stream of result_packet_layout)
    bus : In(register_bus)
    irq : Out(1)
    clears : Out(1), a soft reset begins
    class_index : Out, of the last result, if there is one
    axi_<layer> : Out(axi4_read), for external weights
    word_comes, word : In(1), In(32), the next word of a set of weights, where they come apart from the registers
    filling, fill_failed : In(1), of what fills the memories of external weights; not both
    """

    def __init__(self, config: PacketCoreConfig, core: wiring.Component) -> None:
        self.config = config
        self.core = core
        self.registers = control_registers(config.control)
        super().__init__({
            "i": In(stream.Signature(packet_layout(config.gate.bits))),
            "o": Out(stream.Signature(result_packet_layout(config.result_bits))),
            "bus": In(register_bus(self.registers.address_bits)), "irq": Out(1), "clears": Out(1),
            **({"class_index": Out(config.result_bits)} if config.gives_class else {}),
            **({"word_comes": In(1), "word": In(WORD_BITS)} if config.words_apart else {}),
            **({"filling": In(1), "fill_failed": In(1)} if config.filled else {}),
            **{f"axi_{table.layer}": Out(axi4_read(table.address_bits, table.bus_bits)) for table in config.tables},
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg, core = self.config, self.core
        # From a register of its own: it has far to go.
        reset = Signal(name="run_reset_q", init=1)
        resets = Signal(name="run_resets")
        m.domains += ClockDomain("run")
        m.d.sync += reset.eq(resets)
        m.d.comb += [ClockSignal("run").eq(ClockSignal()), ResetSignal("run").eq(reset)]
        m.submodules.core = DomainRenamer("run")(core)
        m.submodules.gate = gate = DomainRenamer("run")(PacketGate(cfg.gate))
        ended_layout = data.StructLayout({"error": 1, "start": WORD_BITS})
        m.submodules.ended = ended = DomainRenamer("run")(Queue(ended_layout, cfg.results_under_way))
        m.submodules.registers = file = RegisterFile(self.registers)
        wiring.connect(m, wiring.flipped(self.bus), file.bus)

        wiring.connect(m, wiring.flipped(self.i), gate.i)
        beat = Cat(gate.o.payload.data, gate.o.payload.mark) if cfg.gate.steps is not None else gate.o.payload.data
        m.d.comb += [core.i.valid.eq(gate.o.valid), gate.o.ready.eq(core.i.ready),
                     Value.cast(core.i.payload).eq(beat)]
        now_q = Signal(WORD_BITS, reset_less=True)
        start_q = Signal(WORD_BITS, reset_less=True)
        start = Signal(WORD_BITS)
        m.d.sync += now_q.eq(now_q + 1)
        m.d.comb += start.eq(Mux(gate.busy, start_q, now_q))
        m.d.sync += start_q.eq(start)
        m.d.comb += [ended.i.valid.eq(gate.done.valid), gate.done.ready.eq(ended.i.ready),
                     ended.i.payload.error.eq(gate.done.payload.error), ended.i.payload.start.eq(start)]

        # Results.
        beat_q = Signal(index_shape(cfg.result_beats))
        last = Signal()
        offered = Signal()  # a beat of a result is there, with all that belongs to it
        taken = Signal()
        discards = Signal()
        cut_q = Signal()  # a result was broken off, and nobody was told
        given = Value.cast(core.o.payload)
        invalid = given[cfg.result_bits] if cfg.tables else 0
        error = Signal()
        m.d.comb += [
            last.eq(beat_q == cfg.result_beats - 1),
            offered.eq(core.o.valid & (~last | ended.o.valid)),
            error.eq(last & (ended.o.payload.error | invalid)),
            self.o.valid.eq(cut_q | (offered & ~discards)), self.o.payload.data.eq(given[:cfg.result_bits]),
            self.o.payload.last.eq(cut_q | last), self.o.payload.error.eq(cut_q | error),
            taken.eq(offered & ~cut_q & (self.o.ready | discards)),
            core.o.ready.eq(taken), ended.o.ready.eq(taken & last),
        ]
        with m.If(taken):
            m.d.sync += beat_q.eq(Mux(last, 0, beat_q + 1))
        broken = reset & Mux(taken, ~last, beat_q != 0)  # at a beat that leaves with the reset, too
        with m.If(reset):
            m.d.sync += beat_q.eq(0)
        if cfg.ends_packets and cfg.result_beats > 1:
            m.d.sync += cut_q.eq(broken | (cut_q & ~self.o.ready))

        # Registers.
        told_q = Signal()  # this result's cycles have been counted
        done = Signal()
        malformed = Signal()
        m.d.comb += [done.eq(taken & last & ~discards), malformed.eq(gate.early | gate.late)]
        m.d.sync += told_q.eq(offered & last & ~taken)
        with m.If(offered & last & ~told_q):
            m.d.sync += file.cycles__value.eq(now_q - ended.o.payload.start)
        with m.If(done):
            m.d.sync += [file.result__error.eq(error), file.results__value.eq(file.results__value + 1)]
            if cfg.gives_class:
                m.d.sync += file.result__class_index.eq(given)
        if cfg.scores is not None:
            self._scores(m, cfg.scores, file, done)
        malformed_q = Signal()  # counted a cycle later: what finds it out is slow enough
        m.d.sync += [malformed_q.eq(malformed), file.malformed__value.eq(file.malformed__value + malformed_q)]
        memory_error = core.status.any() if cfg.tables else 0
        holds: Any = reset | resets
        refused: Any = 0
        if cfg.weight_sets:
            unusable, refused = self._weight_sets(m, file, ~gate.busy & ~ended.o.valid)
            holds = holds | unusable
            m.d.comb += file.events__refused.eq(refused)
        if cfg.filled:
            written_q = Signal()
            m.d.sync += written_q.eq(written_q | file.weights__written)
            failed = self.fill_failed & ~written_q
            m.d.comb += [file.weights__loading.eq(self.filling), file.weights__failed.eq(failed)]
            waits_q = Signal(init=1)
            m.d.sync += waits_q.eq(self.filling | failed)
            holds = holds | waits_q
        m.d.comb += [
            gate.enable.eq(file.control__enable & ~holds), file.status__busy.eq(gate.busy | ended.o.valid | cut_q),
            file.events__done.eq(done), file.events__early.eq(gate.early), file.events__late.eq(gate.late),
            file.events__memory.eq(memory_error), file.events__error.eq(malformed | memory_error | refused),
            self.irq.eq((file.events__done__is & file.interrupt_enable__done)
                        | (file.events__error__is & file.interrupt_enable__error)),
        ]
        m.d.comb += self.clears.eq(file.control__soft_reset)
        if cfg.gives_class:
            m.d.comb += self.class_index.eq(file.result__class_index)
        if not cfg.tables:
            m.d.comb += resets.eq(file.control__soft_reset)
            return m
        aborts_q = Signal()
        m.d.comb += [gate.abort.eq(aborts_q), discards.eq(aborts_q),
                     resets.eq(aborts_q & ~gate.busy & ~ended.o.valid & ~reset),
                     # Level and event: what the core keeps until it is cleared is an event here.
                     core.clear.eq(memory_error)]
        m.d.sync += aborts_q.eq(file.control__soft_reset | (aborts_q & ~reset))
        for index, table in enumerate(cfg.tables):
            wiring.connect(m, getattr(core, f"axi_{table.layer}"), wiring.flipped(getattr(self, f"axi_{table.layer}")))
            if cfg.has_bases:
                names = base_registers(index, table.address_bits).values()
                m.d.comb += getattr(core, f"base_{table.layer}").eq(Cat(getattr(file, f"{name}__value")
                                                                        for name in names))
        return m


    def _scores(self, m: Module, scores: Scores, file: Any, done: Any) -> None:
        """Scores of the last result in one bank of a memory, those that come in another.

        The one that is kept comes out next: its bank is the next one, and that of the run behind it the one after.
        """
        core = self.core
        bank_q = Signal(range(scores.banks))
        m.d.sync += bank_q.eq(bank_q + done)
        index = Value.cast(core.scores.class_index)
        m.submodules.scores = memory = Memory(shape=scores.bits, depth=scores.banks << len(index), init=[])
        write, read = memory.write_port(), memory.read_port()
        comes = Signal.like(bank_q)
        m.d.comb += [
            comes.eq(bank_q + 1 + (core.o.valid if scores.held else 0)),
            write.addr.eq(Cat(index, comes)), write.en.eq(core.scores.valid), write.data.eq(core.scores.value),
            read.addr.eq(Cat(file.score_index__value, bank_q)),
            file.score__value.eq(read.data.as_signed() if scores.signed else read.data),
        ]

    def _weight_sets(self, m: Module, file: Any, idle: Any) -> tuple[Any, Any]:
        """Words to the core, and which set is in use. Returns whether no packet may begin, and whether a set is
        refused.

        No reset touches what tells which set is in use: memories keep their contents, too.
        """
        cfg, core = self.config, self.core
        loading_q = Signal(reset_less=True)
        wanted_q = Signal()
        usable_q = Signal(init=1, reset_less=True)
        hash_q = [Signal(WORD_BITS, name=f"hash{word}_q", init=value, reset_less=True)
                  for word, value in enumerate(hash_words(cfg.network_hash))]
        wait_q = Signal(index_shape(cfg.set_cycles + 1))
        ready = Signal(name="load_ready")
        refused = Signal(name="load_refused")
        takes = Signal(name="set_taken")
        begins = file.load__begin
        comes, word = file.load_word__value__comes, file.load_word__value
        if cfg.words_apart:
            comes, word = comes | self.word_comes, Mux(self.word_comes, self.word, word)
        m.d.comb += [
            ready.eq(loading_q & ~wanted_q & (idle if cfg.weight_sets == 1 else 1)),
            core.load.begin.eq(begins), core.load.valid.eq(ready & comes & ~begins), core.load.data.eq(word),
            refused.eq(file.load__use & ~(core.complete & loading_q)),
            takes.eq(wanted_q & (wait_q == 0) & idle & ~begins),
            file.load__ready.eq(ready), file.load__complete.eq(core.complete), file.load__pending.eq(wanted_q),
            file.load__in_use.eq(usable_q),
            Cat(getattr(file, f"hash{word}__value") for word in range(HASH_WORDS)).eq(
                Mux(usable_q, Cat(hash_q), 0)),
        ]
        with m.If(begins):
            m.d.sync += [loading_q.eq(1), wanted_q.eq(0)]
            if cfg.weight_sets == 1:
                m.d.sync += usable_q.eq(0)
        with m.Elif(takes):
            m.d.sync += [loading_q.eq(0), wanted_q.eq(0), usable_q.eq(1),
                         *(kept.eq(getattr(file, f"load_hash{word}__value")) for word, kept in enumerate(hash_q))]
        with m.Else():
            with m.If(file.load__use & ~refused):
                m.d.sync += [wanted_q.eq(1), wait_q.eq(cfg.set_cycles)]
            with m.Elif(wait_q != 0):
                m.d.sync += wait_q.eq(wait_q - 1)
        if cfg.weight_sets == 2:
            set_q = Signal(reset_less=True)
            m.d.sync += set_q.eq(set_q ^ takes)
            m.d.comb += core.chosen_set.eq(set_q)
        return wanted_q | ~usable_q, refused


def weight_ports(core: PacketCore) -> dict[str, Any]:
    """Members of a top around ``core``: ``m_axi_<layer>_*``, Out, for external weights."""
    return {name: member for table in core.config.tables
            for name, member in flat_ports(f"m_axi_{table.layer}",
                                           axi4_read(table.address_bits, table.bus_bits)).items()}


def connect_weights(m: Module, top: wiring.Component, core: PacketCore) -> None:
    """Connect these members."""
    for table in core.config.tables:
        connect_flat(m, top, f"m_axi_{table.layer}", getattr(core, f"axi_{table.layer}"))
