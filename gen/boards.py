"""Boards that a bitstream can be made for: their device, and the pins of clock, serial line and LEDs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from spikeloom.model.errors import SpikeloomError

from .devices import DEVICES, Device, find_named

__all__ = ["BOARDS", "Board", "Pin", "Pins", "find_board"]


@dataclass(frozen=True)
class Pin:
    """A port of the design, or a bit of one, on a pin of the package.

    Attributes
    ----------
    port, site : str
    inverted : bool
        There is an inverter, or an LED that is lit by a 0.
    attributes : dict
        Of the pin, as the family's constraints call them: ``IO_TYPE``, ...
    """

    port: str
    site: str
    inverted: bool = False
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What of a board a design is connected with.

    Attributes
    ----------
    clock_hz : float
        Of the board's oscillator.
    clock, rx, tx : Pin
    leds : tuple of Pin
    flash : tuple of Pin
        Of the SPI flash that holds the bitstream, if the design can reach it.
    """

    clock_hz: float
    clock: Pin
    rx: Pin
    tx: Pin
    leds: tuple[Pin, ...]
    flash: tuple[Pin, ...] = ()

    @property
    def all(self) -> tuple[Pin, ...]:
        return (self.clock, self.rx, self.tx, *self.leds, *self.flash)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Attributes
    ----------
    name, title : str
    device : Device
        With the package and the speed grade of the board.
    line : str
        Where its serial line is.
    load : str
        How ``{file}`` is loaded.
    find_pins : callable
    """

    name: str
    title: str
    device: Device
    line: str
    load: str
    find_pins: Callable[[], Pins] = field(repr=False)

    def pins(self) -> Pins:
        """Its pins.

        Raises
        ------
        SpikeloomError
            If amaranth-boards is missing.
        """
        try:
            return self.find_pins()
        except ImportError:
            raise SpikeloomError(f"board {self.name}: its pins need amaranth-boards: pip install 'spikeloom[board]'"
                                 ) from None


# amaranth-boards' names of them, and ours. The last two hold a flash up while they are low.
_FLASH_PINS = {"cs": "cs_n", "clk": "sck", "copi": "mosi", "cipo": "miso", "wp": "wp_n", "hold": "hold_n"}


def _known(module: str, name: str, *, has_flash: bool = False) -> Callable[[], Pins]:
    """Pins of a board that amaranth-boards has, those of its flash if asked for."""
    return lambda: _pins_of(getattr(importlib.import_module(f"amaranth_boards.{module}"), name)(), has_flash)


def _orangecrab(name: str) -> Callable[[], Pins]:
    """Without a USB bridge its serial line needs one of the user's, at the pins 0 and 1."""
    def pins() -> Pins:
        from amaranth.build import Attrs
        from amaranth_boards.resources import UARTResource
        platform = getattr(importlib.import_module("amaranth_boards.orangecrab_r0_2"), name)()
        platform.add_resources([UARTResource(0, rx="0", tx="1", conn=("io", 0),
                                             attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"))])
        return _pins_of(platform)

    return pins


def _tang_nano_20k() -> Pins:
    """amaranth-boards does not have it: from Sipeed's schematic (Tang Nano 20K, 3921)."""
    io = {"IO_TYPE": "LVCMOS33"}
    return Pins(clock_hz=27e6, clock=Pin("clk_pin", "4", attributes=io),
                rx=Pin("rx_pin", "70", attributes=io | {"PULL_MODE": "UP"}), tx=Pin("tx_pin", "69", attributes=io),
                leds=tuple(Pin(f"led_pins[{n}]", str(15 + n), True, io) for n in range(6)))


def _pins_of(platform: Any, has_flash: bool = False) -> Pins:
    """Pins of one of Amaranth's platforms: its default clock, its first UART, its LEDs or those of its RGB LED."""
    wires = dict(pair for connector in platform.connectors.values() for pair in connector)

    def pin(port: str, resource: Any, part: str = "") -> Pin:
        owner = next(io for io in resource.ios if not part or io.name == part)
        pins, attributes = (owner.ios[0], owner.attrs) if part else (owner, {})
        values = {key: str(value(platform) if callable(value) else value)
                  for key, value in {**resource.attrs, **attributes}.items()}
        return Pin(port, pins.map_names(wires, resource)[0], pins.invert, values)

    clock, line = platform.lookup(platform.default_clk), platform.lookup("uart")
    numbers = sorted(number for name, number in platform.resources if name == "led")
    leds = ([(platform.lookup("led", number), "") for number in numbers]
            or [(platform.lookup("rgb_led"), colour) for colour in "rgb"])
    flash = [replace(pin(f"flash_{ours}_pin", platform.lookup("spi_flash_1x"), its), inverted=False)
             for its, ours in _FLASH_PINS.items()] if has_flash else []
    return Pins(clock_hz=clock.clock.frequency, clock=pin("clk_pin", clock), rx=pin("rx_pin", line, "rx"),
                tx=pin("tx_pin", line, "tx"),
                leds=tuple(pin(f"led_pins[{n}]", led, part) for n, (led, part) in enumerate(leds)),
                flash=tuple(flash))


def _device(name: str, package: str = "", speed_grade: str = "") -> Device:
    device = DEVICES[name]
    return Device(**{**device.__dict__, "package": package or device.package,
                     "speed_grade": speed_grade or device.speed_grade})


_USB = "the USB port's own"

BOARDS: dict[str, Board] = {board.name: board for board in (
    *(Board(name=f"ulx3s-{size}f", title=f"Radiona ULX3S, LFE5U-{size}F", line=_USB,
            device=_device(f"lfe5u-{size}f", "CABGA381", "6"), find_pins=_known("ulx3s", f"ULX3S_{size}F_Platform"),
            load="openFPGALoader -b ulx3s {file}") for size in (25, 45, 85)),
    *(Board(name=f"orangecrab-{size}f", title=f"OrangeCrab r0.2, LFE5U-{size}F",
            line="a bridge of your own: its TX to pin 0, its RX to pin 1",
            device=_device(f"lfe5u-{size}f", "CSFBGA285", "8"), load="openFPGALoader -b orangeCrab {file}",
            find_pins=_orangecrab(f"OrangeCrabR0_2_{size}FPlatform")) for size in (25, 85)),
    Board(name="ecp5-evn", title="Lattice ECP5 Evaluation Board, LFE5UM5G-85F",
          line="the USB port's second one; see the board's user guide, 6.2, for the resistors to move",
          device=_device("lfe5um5g-85f", "CABGA381", "8"), find_pins=_known("ecp5_5g_evn", "ECP55GEVNPlatform"),
          load="openFPGALoader -b ecp5_evn {file}"),
    Board(name="icebreaker", title="1BitSquared iCEBreaker, iCE40UP5K", line=_USB, device=_device("ice40-up5k"),
          find_pins=_known("icebreaker", "ICEBreakerPlatform", has_flash=True), load="iceprog {file}"),
    Board(name="tang-nano-9k", title="Sipeed Tang Nano 9K, GW1NR-9", line=_USB, device=_device("gw1nr-9"),
          find_pins=_known("tang_nano_9k", "TangNano9kPlatform"), load="openFPGALoader -b tangnano9k {file}"),
    Board(name="tang-nano-20k", title="Sipeed Tang Nano 20K, GW2AR-18", line=_USB, device=_device("gw2ar-18"),
          find_pins=_tang_nano_20k, load="openFPGALoader -b tangnano20k {file}"),
)}


def find_board(name: str) -> Board:
    """A board by name.

    Raises
    ------
    SpikeloomError
        If it is not known; suggests names.
    """
    return find_named("board", name, BOARDS)
