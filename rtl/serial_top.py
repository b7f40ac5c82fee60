"""An accelerator on a serial line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .flash_loader import FlashLoader, FlashLoaderConfig
from .packet_core import PacketCore
from .registers import WORD_BITS
from .serial_link import SerialLink, SerialLinkConfig
from .slip import END
from .spi import SpiTarget
from .uart import UartReceiver, UartTransmitter
from .weight_fetch import WeightFetchConfig
from .weight_loader import WeightLoader
from .weight_ram import WeightRam

__all__ = ["SerialConfig", "SerialTop"]


@dataclass(frozen=True, kw_only=True)
class SerialConfig:
    """Of a serial line.

    Parameters
    ----------
    kind : "uart" or "spi"
    bit_cycles : int
        Clock cycles a bit, of an SPI line at least.
    buffer_bytes : int
        A power of two.
    flash : FlashLoaderConfig, optional
        Where the external weights come from, after a reset.
    """

    kind: Literal["uart", "spi"]
    bit_cycles: int
    buffer_bytes: int
    flash: FlashLoaderConfig | None = None


class SerialTop(wiring.Component):
    """Frames (:mod:`.frames`) over a UART, or SPI. Latency: that of :class:`.PacketCore`, and the line's.

    External weights are in RAMs here (:class:`.WeightRam`), which the host fills before it sends samples; or a flash
    (:class:`.FlashLoader`), and then the host's words wait until that is done. Where sets of weights are written at run
    time, their words come as those of one more table; the number of a word means nothing.

    Parameters
    ----------
    inner : PacketCore
    config : SerialConfig
    tables : tuple of WeightFetchConfig
        Of the external weights.

    Members
    -------
    rx : In(1), tx : Out(1), of a UART
    sck, cs_n, mosi : In(1), miso, miso_enable : Out(1), of SPI
    flash_sck, flash_cs_n, flash_mosi : Out(1), flash_miso : In(1), of a flash
    class_index : Out, of the last result, if there is one
    irq : Out(1)
    """

    def __init__(self, inner: PacketCore, config: SerialConfig, tables: tuple[WeightFetchConfig, ...] = ()) -> None:
        self.inner = inner
        self.config = config
        self.tables = tables
        shape = inner.config
        self.link = SerialLinkConfig(beat_bits=shape.gate.bits, result_bits=shape.result_bits,
                                     address_bits=inner.registers.address_bits, buffer_bytes=config.buffer_bytes,
                                     word_bytes=(*(table.bus_bytes for table in tables),
                                                 *([WORD_BITS // 8] if shape.words_apart else [])))
        super().__init__({
            **({"rx": In(1, init=1), "tx": Out(1, init=1)} if config.kind == "uart" else
               {"sck": In(1), "cs_n": In(1, init=1), "mosi": In(1), "miso": Out(1), "miso_enable": Out(1)}),
            "irq": Out(1),
            **({"flash_sck": Out(1), "flash_cs_n": Out(1), "flash_mosi": Out(1), "flash_miso": In(1)}
               if config.flash is not None else {}),
            **({"class_index": Out(shape.result_bits)} if shape.gives_class else {}),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.packets = inner = self.inner
        m.submodules.link = link = SerialLink(self.link)
        if self.config.kind == "uart":
            m.submodules.receiver = receiver = UartReceiver(self.config.bit_cycles)
            m.submodules.transmitter = transmitter = UartTransmitter(self.config.bit_cycles)
            wiring.connect(m, receiver.o, link.i)
            wiring.connect(m, link.o, transmitter.i)
            m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        else:  # between frames there are ends of frames
            m.submodules.target = target = SpiTarget(END)
            wiring.connect(m, target.o, link.i)
            wiring.connect(m, link.o, target.i)
            m.d.comb += [target.sck.eq(self.sck), target.cs_n.eq(self.cs_n), target.mosi.eq(self.mosi),
                         self.miso.eq(target.miso), self.miso_enable.eq(target.miso_enable)]
        wiring.connect(m, link.packets, inner.i)
        wiring.connect(m, inner.o, link.results)
        wiring.connect(m, link.bus, inner.bus)
        m.d.comb += [link.clear.eq(inner.clears), self.irq.eq(inner.irq)]
        if self.inner.config.gives_class:
            m.d.comb += self.class_index.eq(inner.class_index)
        if not self.link.word_bytes:
            return m
        m.submodules.loader = loader = WeightLoader(self.link.word_bytes)
        if self.config.flash is None:
            wiring.connect(m, link.weights, loader.i)
        else:
            self._flash(m, self.config.flash, link.weights, loader.i)
        for n, table in enumerate(self.tables):
            m.submodules[f"weights_{table.name}"] = ram = WeightRam(table)
            wiring.connect(m, getattr(inner, f"axi_{table.name}"), ram.axi)
            m.d.comb += [ram.write.eq(getattr(loader, f"write{n}")), ram.write_word.eq(loader.word),
                         ram.write_data.eq(loader.data)]
        if self.inner.config.words_apart:
            m.d.comb += [inner.word_comes.eq(getattr(loader, f"write{len(self.tables)}")), inner.word.eq(loader.data)]
        return m

    def _flash(self, m: Module, config: FlashLoaderConfig, words: Any, loader: Any) -> None:
        """The flash's words to the loader, then the host's."""
        m.submodules.flash = flash = FlashLoader(config)
        m.d.comb += [
            self.flash_sck.eq(flash.sck), self.flash_cs_n.eq(flash.cs_n), self.flash_mosi.eq(flash.mosi),
            flash.miso.eq(self.flash_miso), flash.o.ready.eq(1),
            loader.valid.eq(Mux(flash.busy, flash.o.valid, words.valid)),
            loader.payload.eq(Mux(flash.busy, flash.o.payload, words.payload)),
            words.ready.eq(~flash.busy & loader.ready),
            self.inner.filling.eq(flash.busy), self.inner.fill_failed.eq(flash.failed),
        ]
