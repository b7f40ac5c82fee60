"""A host on a serial line: frames to packets and registers, results to frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .byte_beats import BeatsToBytes, BytesToBeats
from .checksum import ChecksumAdder, ChecksumChecker, checked_byte
from .fifo import Queue
from .frame_buffer import FrameBuffer, buffered_byte
from .frames import ADDRESS_BYTES, NUMBERS, RESULT_NUMBERS, Kind, Reason
from .packet_core import result_packet_layout
from .packet_gate import packet_layout
from .registers import WORD_BITS, register_bus
from .slip import SlipDecoder, SlipEncoder, byte_packet
from .uart import received_byte

__all__ = ["CommandReader", "Replies", "ResultFrames", "SerialLink", "SerialLinkConfig"]

ADDRESS_BITS = 8 * ADDRESS_BYTES
READ_BYTES, WRITE_BYTES = 1 + ADDRESS_BYTES, 1 + ADDRESS_BYTES + WORD_BITS // 8
DATA_FROM = 2  # bytes of a piece in front of its data


@dataclass(frozen=True, kw_only=True)
class SerialLinkConfig:
    """Shape of a serial link.

    Parameters
    ----------
    beat_bits, result_bits : int
        Of a beat of a packet, and of a result.
    address_bits : int
        Of the registers.
    buffer_bytes : int
        A power of two.
    word_bytes : tuple of int
        Of the words of each weight RAM.
    """

    beat_bits: int
    result_bits: int
    address_bits: int
    buffer_bytes: int
    word_bytes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field, least in (("beat_bits", 1), ("result_bits", 1), ("address_bits", 2), ("buffer_bytes", 2)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} must be at least {least}, not {getattr(self, field)!r}")
        if self.address_bits > ADDRESS_BITS:
            raise ValueError(f"address_bits must be at most {ADDRESS_BITS}, not {self.address_bits!r}")


class CommandReader(wiring.Component):
    """What the frames of a host ask for.

    1. Data of a piece, or of weights, with the right number go to ``pieces`` as they come; at its end it is committed
       if its checksum was right and there was room for it, else dropped.
    2. A read or write of a register is done two cycles after its frame's end, and answered by ``answered``. No frame
       ends sooner after another one.
    3. Whatever is not done is refused, with the first of these reasons that holds: the checksum is wrong; the frame has
       no known kind or not its length; there is no such register; not the right number; no room.

    Members
    -------
    i : In(checked_byte)
    pieces : Out(stream of buffered_byte)
    commit, drop : Out(1), for the buffer
    bus : Out(register_bus)
    answered, refused : Out(1)
    reads, address, value : Out, of what is answered: a read, not a write; of which register
    reason : Out(8)
    expected : Out(8), number of the next piece
    clear : In(1), numbers begin anew
    """

    def __init__(self, address_bits: int, *, takes_weights: bool) -> None:
        self.takes_weights = takes_weights
        super().__init__({
            "i": In(checked_byte()), "pieces": Out(stream.Signature(buffered_byte())),
            "commit": Out(1), "drop": Out(1), "bus": Out(register_bus(address_bits)),
            "answered": Out(1), "refused": Out(1), "reads": Out(1), "address": Out(address_bits),
            "value": Out(WORD_BITS), "reason": Out(8), "expected": Out(range(NUMBERS)), "clear": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bus: Any = self.bus
        index_q = Signal(range(WRITE_BYTES + 1))  # of the byte; the last value stands for all beyond, too
        length_q = Signal(range(WRITE_BYTES + 2))
        kind_q = Signal(8)
        last_q = Signal(8 * (WRITE_BYTES - 1), reset_less=True)  # bytes
        ends_q = Signal()
        good_q = Signal()
        right_q = Signal()  # the piece has the number that is expected
        full_q = Signal()
        weights = (kind_q == Kind.WEIGHTS) if self.takes_weights else Const(0, 1)
        piece = (kind_q == Kind.PART) | (kind_q == Kind.LAST) | weights
        byte = self.i.payload
        m.d.sync += [ends_q.eq(self.i.valid & byte.last), good_q.eq(byte.good)]
        with m.If(self.i.valid):
            m.d.sync += [length_q.eq(index_q + 1), last_q.eq(Cat(last_q[8:], byte.data)),
                         index_q.eq(Mux(byte.last, 0, Mux(index_q == WRITE_BYTES, index_q, index_q + 1)))]
            with m.If(index_q == 0):
                m.d.sync += [kind_q.eq(byte.data), full_q.eq(0)]
            with m.If(index_q == 1):
                m.d.sync += right_q.eq(byte.data == self.expected)
        m.d.comb += [
            self.pieces.valid.eq(self.i.valid & piece & right_q & ~full_q & (index_q >= DATA_FROM)),
            self.pieces.payload.data.eq(byte.data), self.pieces.payload.ends_frame.eq(byte.last),
            self.pieces.payload.ends_packet.eq(byte.last & (kind_q == Kind.LAST)),
            self.pieces.payload.weights.eq(weights),
        ]
        with m.If(self.pieces.valid & ~self.pieces.ready):
            m.d.sync += full_q.eq(1)

        reads = (kind_q == Kind.READ) & (length_q == READ_BYTES)
        writes = (kind_q == Kind.WRITE) & (length_q == WRITE_BYTES)
        reason = Signal(range(max(Reason) + 1))  # 0: none
        address = Signal(ADDRESS_BITS)  # a READ's or a WRITE's; their kinds differ in the lowest bit
        m.d.comb += [
            address.eq(Mux(kind_q[0], last_q[-ADDRESS_BITS:], last_q[:ADDRESS_BITS])), self.address.eq(address),
            bus.read_address.eq(address), bus.write_address.eq(address),
            bus.write_data.eq(last_q[ADDRESS_BITS:]), bus.strobes.eq(~0),
            self.value.eq(bus.read_data), self.reads.eq(reads),
        ]
        outside = address[len(bus.read_address):].any()
        with m.If(~good_q):
            m.d.comb += reason.eq(Reason.CHECKSUM)
        with m.Elif(reads | writes):
            m.d.comb += reason.eq(Mux(outside | ~Mux(reads, bus.read_known, bus.write_known), Reason.ADDRESS, 0))
        with m.Elif(~piece | (length_q <= DATA_FROM)):
            m.d.comb += reason.eq(Reason.FORM)
        with m.Elif(~right_q):
            m.d.comb += reason.eq(Reason.NUMBER)
        with m.Elif(full_q):
            m.d.comb += reason.eq(Reason.ROOM)
        good = ends_q & (reason == 0)
        writes_q = Signal()
        m.d.sync += [
            writes_q.eq(good & writes), self.answered.eq(good & (reads | writes)),
            self.commit.eq(good & ~reads & ~writes & ~self.clear), self.drop.eq(ends_q & ~(good & ~reads & ~writes)),
            self.refused.eq(ends_q & (reason != 0)), self.reason.eq(reason),
        ]
        m.d.comb += bus.write.eq(writes_q)
        with m.If(self.commit):
            m.d.sync += self.expected.eq(self.expected + 1)
        with m.If(self.clear):
            m.d.sync += self.expected.eq(0)
        return m


class Replies(wiring.Component):
    """Frames that the link has to say by itself. Of each kind one can wait: a later one takes its place.

    Members
    -------
    answered, refused, taken : In(1)
    reads, address, value, reason, expected, leaves : In, what they say
    clear : In(1), forgets what was taken
    o : Out(byte_packet)
    """

    def __init__(self, address_bits: int) -> None:
        self.address_bits = address_bits
        super().__init__({
            "answered": In(1), "refused": In(1), "taken": In(1), "reads": In(1), "address": In(address_bits),
            "value": In(WORD_BITS), "reason": In(8), "expected": In(range(NUMBERS)), "leaves": In(range(NUMBERS)),
            "clear": In(1), "o": Out(byte_packet())})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        answer_q = Signal()
        refusal_q = Signal()
        taken_q = Signal()
        reads_q = Signal()
        address_q = Signal(self.address_bits)
        value_q = Signal(WORD_BITS)
        reason_q = Signal(8)
        bytes_q = Signal(8 * WRITE_BYTES)
        left_q = Signal(range(WRITE_BYTES + 1))
        m.d.comb += [self.o.valid.eq(left_q != 0), self.o.payload.data.eq(bytes_q[:8]),
                     self.o.payload.last.eq(left_q == 1)]
        with m.If(left_q != 0), m.If(self.o.ready):
            m.d.sync += [left_q.eq(left_q - 1), bytes_q.eq(bytes_q >> 8)]
        with m.Elif(answer_q):
            m.d.sync += [answer_q.eq(0), left_q.eq(Mux(reads_q, WRITE_BYTES, READ_BYTES)),
                         bytes_q.eq(Cat(Mux(reads_q, Const(Kind.VALUE, 8), Const(Kind.WRITTEN, 8)),
                                        address_q | Const(0, ADDRESS_BITS), value_q))]
        with m.Elif(refusal_q):
            m.d.sync += [refusal_q.eq(0), left_q.eq(3),
                         bytes_q.eq(Cat(Const(Kind.REFUSED, 8), reason_q, self.expected))]
        with m.Elif(taken_q):
            m.d.sync += [taken_q.eq(0), bytes_q.eq(Cat(Const(Kind.TAKEN, 8), self.leaves)), left_q.eq(2)]
        with m.If(self.answered):
            m.d.sync += [answer_q.eq(1), reads_q.eq(self.reads), address_q.eq(self.address), value_q.eq(self.value)]
        with m.If(self.refused):
            m.d.sync += [refusal_q.eq(1), reason_q.eq(self.reason)]
        with m.If(self.taken):
            m.d.sync += taken_q.eq(1)
        with m.If(self.clear):
            m.d.sync += taken_q.eq(0)
        return m


class SerialLink(wiring.Component):
    """Frames (:mod:`.frames`) on a line of bytes, packets and registers on the other side.

    A sample's packet goes on piece by piece, each when all of it has come with the right checksum: what the line
    garbles never reaches the accelerator. Memory: ``11 * buffer_bytes`` bits of block RAM.

    Parameters
    ----------
    config : SerialLinkConfig

    Members
    -------
    i : In(received_byte), from the line
    o : Out(stream of 8), to the line
    packets : Out(stream of packet_layout)
    results : In(stream of result_packet_layout)
    bus : Out(register_bus)
    weights : Out(byte_packet), for a :class:`.WeightLoader`, if there are weight RAMs
    clear : In(1), a soft reset: pieces that wait are forgotten, their numbers begin anew, and a result that is under
        way ends as a bad one
    """

    def __init__(self, config: SerialLinkConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(received_byte()), "o": Out(stream.Signature(8)),
            "packets": Out(stream.Signature(packet_layout(config.beat_bits))),
            "results": In(stream.Signature(result_packet_layout(config.result_bits))),
            "bus": Out(register_bus(config.address_bits)), "clear": In(1),
            **({"weights": Out(byte_packet())} if config.word_bytes else {})})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        m.submodules.slip = slip = SlipDecoder()
        m.submodules.checker = checker = ChecksumChecker()
        m.submodules.reader = reader = CommandReader(cfg.address_bits, takes_weights=bool(cfg.word_bytes))
        m.submodules.buffer = buffer = FrameBuffer(cfg.buffer_bytes)
        m.submodules.beats = beats = BytesToBeats(cfg.beat_bits)
        m.submodules.replies = replies = Replies(cfg.address_bits)
        wiring.connect(m, wiring.flipped(self.i), slip.i)
        # Bytes are far apart on a line: what one does may take a cycle more.
        checker_i: Any = checker.i
        m.d.sync += [checker_i.valid.eq(slip.o.valid), checker_i.payload.eq(slip.o.payload)]
        wiring.connect(m, checker.o, reader.i)
        wiring.connect(m, reader.pieces, buffer.i)
        wiring.connect(m, reader.bus, wiring.flipped(self.bus))
        wiring.connect(m, beats.o, wiring.flipped(self.packets))
        leaves_q = Signal(range(NUMBERS))
        leaves = Signal()
        m.d.comb += [
            buffer.commit.eq(reader.commit), buffer.drop.eq(reader.drop),
            beats.i.valid.eq(buffer.o.valid), buffer.o.ready.eq(beats.i.ready),
            beats.i.payload.data.eq(buffer.o.payload.data), beats.i.payload.last.eq(buffer.o.payload.ends_packet),
            leaves.eq(buffer.o.valid & buffer.o.ready & buffer.o.payload.ends_frame),
            replies.taken.eq(leaves), replies.leaves.eq(leaves_q),
        ]
        if cfg.word_bytes:
            m.d.comb += [self.weights.payload.data.eq(buffer.o.payload.data),
                         self.weights.payload.last.eq(buffer.o.payload.ends_frame)]
            with m.If(buffer.o.payload.weights):
                m.d.comb += [beats.i.valid.eq(0), self.weights.valid.eq(buffer.o.valid),
                             buffer.o.ready.eq(self.weights.ready)]
        m.d.comb += [part.clear.eq(self.clear) for part in (reader, beats, replies)] + [buffer.flush.eq(self.clear)]
        for name in ("answered", "refused", "reads", "address", "value", "reason", "expected"):
            m.d.comb += getattr(replies, name).eq(getattr(reader, name))
        m.d.sync += leaves_q.eq(Mux(self.clear, 0, leaves_q + leaves))

        m.submodules.result_frames = frames = ResultFrames(cfg.result_bits)
        m.submodules.adder = adder = ChecksumAdder()
        m.submodules.encoder = encoder = SlipEncoder()
        # Lines are slow: a beat waits here, and a byte below, so that no path leads from the line to the accelerator.
        beat = Queue(result_packet_layout(cfg.result_bits), 1)
        m.submodules.beat = ResetInserter(self.clear)(beat)
        wiring.connect(m, wiring.flipped(self.results), beat.i)
        wiring.connect(m, beat.o, frames.i)
        m.d.comb += frames.clear.eq(self.clear)
        result_q = Signal()  # a result's frame is under way
        reply_q = Signal()
        chooses = Signal()
        m.d.comb += chooses.eq(result_q | (~reply_q & ~replies.o.valid))
        for source, chosen in ((frames.o, chooses), (replies.o, ~chooses)):
            with m.If(chosen):
                m.d.comb += [adder.i.valid.eq(source.valid), adder.i.payload.eq(source.payload),
                             source.ready.eq(adder.i.ready)]
        with m.If(adder.i.valid):
            ends = adder.i.ready & adder.i.payload.last
            m.d.sync += [result_q.eq(chooses & ~ends), reply_q.eq(~chooses & ~ends)]
        m.submodules.byte = byte = Queue(adder.o.payload.shape(), 1)
        wiring.connect(m, adder.o, byte.i)
        wiring.connect(m, byte.o, encoder.i)
        wiring.connect(m, encoder.o, wiring.flipped(self.o))
        return m


class ResultFrames(wiring.Component):
    """Results as frames: the kind, the beats in whole bytes, the status.

    Members
    -------
    i : In(stream of result_packet_layout)
    o : Out(byte_packet)
    clear : In(1), numbers begin anew; the frame that is under way ends at once, as that of a bad result
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__({"i": In(stream.Signature(result_packet_layout(bits))), "o": Out(byte_packet()),
                          "clear": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.bytes = parts = BeatsToBytes(self.bits)
        begun_q = Signal()   # the kind went out
        status_q = Signal()  # and the last beat
        error_q = Signal()
        number_q = Signal(range(RESULT_NUMBERS))
        cut_q = Signal()  # the frame is not a result's any more
        ready = Signal()
        m.d.comb += [ready.eq(~self.o.valid | self.o.ready), parts.clear.eq(self.clear),
                     parts.i.payload.data.eq(self.i.payload.data), parts.i.payload.last.eq(self.i.payload.last)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(~begun_q), m.If(ready & self.i.valid & ~self.clear):
            m.d.sync += [begun_q.eq(1), self.o.valid.eq(1), self.o.payload.eq(Cat(Const(Kind.RESULT, 8), 0))]
        with m.Elif(status_q), m.If(ready):
            m.d.sync += [begun_q.eq(0), status_q.eq(0), cut_q.eq(0), number_q.eq(number_q + ~cut_q),
                         self.o.valid.eq(1), self.o.payload.eq(Cat(number_q, error_q | cut_q, 1))]
        with m.Elif(self.clear):
            m.d.sync += status_q.eq(1)
        with m.Else():
            m.d.comb += [parts.i.valid.eq(self.i.valid), self.i.ready.eq(parts.i.ready), parts.o.ready.eq(ready)]
            with m.If(ready & parts.o.valid):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(Cat(parts.o.payload.data, 0)),
                             status_q.eq(parts.o.payload.last), error_q.eq(self.i.payload.error)]
        with m.If(self.clear):
            m.d.sync += [number_q.eq(0), cut_q.eq(begun_q & ~(status_q & ready))]
        return m
