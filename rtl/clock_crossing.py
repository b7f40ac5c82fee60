"""Streams between two clocks: Amaranth's asynchronous queue with stream ports, and whole buses made of it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Shape, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out

__all__ = ["AXI4_READ_CHANNELS", "AXI_LITE_CHANNELS", "StreamCrossing", "cross_channels"]

DEPTH = 8  # more than are under way in the synchronisers, so that a word goes through every cycle of the slower clock

#: Channels, and the signals of each; those that the slave sends.
AXI_LITE_CHANNELS = {"aw": ("addr", "prot"), "w": ("data", "strb"), "b": ("resp",), "ar": ("addr", "prot"),
                     "r": ("data", "resp")}
AXI4_READ_CHANNELS = {"ar": ("id", "addr", "len", "size", "burst", "cache", "prot"),
                      "r": ("id", "data", "resp", "last")}
_ANSWERS = frozenset({"b", "r"})


class StreamCrossing(wiring.Component):
    """A stream from one clock domain to another one (:class:`amaranth.lib.fifo.AsyncFIFO`).

    From the edge that takes a payload to the one that may take it again: 3 to 4 cycles of the second clock. Throughput:
    a payload per cycle of the slower clock.
    ``depth * bits(shape)`` bits of LUT RAM. The reset of either domain must come with the other's, for 4 cycles of the
    slower clock at least.

    Parameters
    ----------
    shape
        Of the payload.
    i_domain, o_domain : str

    Members
    -------
    i : In(stream), o : Out(stream)
    """

    def __init__(self, shape: Any, i_domain: str, o_domain: str) -> None:
        self.shape = shape
        self.domains = i_domain, o_domain
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        i_domain, o_domain = self.domains
        m.submodules.queue = queue = AsyncFIFO(width=Shape.cast(self.shape).width, depth=DEPTH, w_domain=i_domain,
                                               r_domain=o_domain)
        m.d.comb += [queue.w_data.eq(Value.cast(self.i.payload)), queue.w_en.eq(self.i.valid),
                     self.i.ready.eq(queue.w_rdy), Value.cast(self.o.payload).eq(queue.r_data),
                     self.o.valid.eq(queue.r_rdy), queue.r_en.eq(self.o.ready)]
        return m


def cross_channels(m: Module, name: str, channels: dict[str, tuple[str, ...]], master: Any, slave: Any,
                   domains: tuple[str, str]) -> None:
    """Connect an AXI interface with one of another clock.

    Parameters
    ----------
    name : str
        Of the parts that are added.
    channels : dict
        One of those above.
    master, slave : callable
        Gives a signal by its name in the interface: of the side that asks, of the side that answers.
    domains : (str, str)
        Of the master, of the slave.
    """
    for channel, fields in channels.items():
        sends, takes, ways = ((slave, master, domains[::-1]) if channel in _ANSWERS else (master, slave, domains))
        sent, taken = (Cat(side(f"{channel}{field}") for field in fields) for side in (sends, takes))
        m.submodules[f"{name}_{channel}"] = crossing = StreamCrossing(len(sent), *ways)
        m.d.comb += [crossing.i.valid.eq(sends(f"{channel}valid")), sends(f"{channel}ready").eq(crossing.i.ready),
                     crossing.i.payload.eq(sent), taken.eq(crossing.o.payload),
                     takes(f"{channel}valid").eq(crossing.o.valid), crossing.o.ready.eq(takes(f"{channel}ready"))]
