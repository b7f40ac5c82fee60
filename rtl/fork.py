"""A stream with several consumers."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Fork"]


class Fork(wiring.Component):
    """The handshakes of one stream and of its ``count`` consumers, each of which takes every payload once.

    A payload is done when all have taken it; who has, is not offered it again. Latency 0, one payload per cycle; a bit
    of state for each consumer.

    Parameters
    ----------
    config : int
        Consumers.

    Members
    -------
    valid, ready : In(1), Out(1)
        Of the producer.
    o_valid, o_ready : Out(count), In(count)
        Of the consumers. Payloads go past this component.
    """

    def __init__(self, config: int) -> None:
        self.config = config
        super().__init__({"valid": In(1), "ready": Out(1), "o_valid": Out(config), "o_ready": In(config)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        done_q = Signal(self.config)
        satisfied = Signal(self.config)
        m.d.comb += [self.o_valid.eq(self.valid.replicate(self.config) & ~done_q),
                     satisfied.eq(done_q | self.o_ready), self.ready.eq(satisfied.all())]
        with m.If(self.valid):
            m.d.sync += done_q.eq(satisfied & ~self.ready.replicate(self.config))
        return m
