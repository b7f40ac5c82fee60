"""What a toggle, a clock edge, an access and a second cost on each part: ranges, each with where it comes from.

No maker's energies of single events were found. What is measured here was measured by others, in the open; all else is
assumed, says so, and is wide.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from spikeloom.model.errors import SpikeloomError

from .devices import find_device

__all__ = ["CONSTANTS", "Constant", "Constants", "Range", "constants_of"]


@dataclass(frozen=True)
class Range:
    """The least, the likeliest and the most that something may be."""

    low: float
    typical: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.typical + other.typical, self.high + other.high)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.typical * factor, self.high * factor)


@dataclass(frozen=True)
class Constant:
    """A range, and whether somebody measured or specified it, or it is assumed.

    Attributes
    ----------
    range : Range
    source : str
        Where it comes from, or why it is assumed.
    assumed : bool
        Whether its typical value is.
    """

    range: Range
    source: str
    assumed: bool = False


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Of a part; energies in pJ, power in mW.

    Attributes
    ----------
    register_pj, logic_pj : Constant
        Of a toggle of a flip-flop's, and of a LUT's output, with the wires behind it.
    clock_pj : Constant
        Of a clock cycle of a flip-flop, whether it toggles or not.
    tree_pj : Constant
        Of a clock cycle of the clock's trunk.
    block_pj : Constant
        Of an access to a block RAM.
    multiplier_pj : Constant
        Of a clock cycle of a multiplier.
    static_mw : Constant
        Of the whole part, at rest.
    """

    register_pj: Constant
    logic_pj: Constant
    clock_pj: Constant
    tree_pj: Constant
    block_pj: Constant
    multiplier_pj: Constant
    static_mw: Constant

    def items(self) -> list[tuple[str, Constant]]:
        """Names and constants."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


_CHAIN = ("github.com/targeted/fpga-reg-power: a chain of all flip-flops of the part, which toggle at 100 MHz, at the "
          "board's 5 V input, less the board in reset; {}. The regulator's losses are in it. Low: 70 % of it, high: a "
          "net twice as long (assumed)")
_UP5K = "github.com/tinyvision-ai-inc/ice40_power, core current of an iCE40UP5K at 1.219 V and 12 MHz"
_LOGIC = Constant(Range(0.7, 2, 4), (
    "assumed: twice a flip-flop's in the chain, whose nets are short and have one reader (of a Virtex-II's dynamic "
    "power routing is 60 %, logic 16 %: Shang et al., FPGA 2002); high: twice that, as glitches can double toggle "
    "rates (Czajkowski and Brown, Fast toggle rate computation for FPGA circuits)"), True)
_CLOCK = Constant(Range(0.005, 0.03, 0.1), "assumed: a part of a toggle; low: less than a logic cell of an iCE40UP5K "
                  "with its counter takes at all", True)
_BLOCK = Constant(Range(3, 10, 25), "assumed for 18 Kbit: no measurement was found that can be cited", True)
_MULTIPLIER = Constant(Range(1, 4, 10), "assumed: no measurement was found that can be cited", True)


def _constants(chain_pj: float, measured: str, luts: int, static_mw: Constant) -> Constants:
    """Those of a part whose chain of flip-flops was measured."""
    tree = Constant(Range(0, 0.01, 0.02) * luts, "assumed: 0.01 pJ for each LUT that the part has, as on the iCE40UP5K",
                    True)
    return Constants(
        register_pj=Constant(Range(0.7, 1, 2) * chain_pj, _CHAIN.format(measured)),
        logic_pj=Constant(_LOGIC.range * chain_pj, _LOGIC.source, True),
        clock_pj=_CLOCK, tree_pj=tree, block_pj=_BLOCK, multiplier_pj=_MULTIPLIER, static_mw=static_mw)


_ECP5_25_CORE_MW = 77 * 1.1
_ECP5_25_MW = _ECP5_25_CORE_MW + 16 * 2.5
_ECP5_25_SAYS = ("data sheet FPGA-DS-02012 of the LFE5U-25F, as ORBTrace's design notes quote it: typically 77 mA at "
                 "1.1 V and 16 mA at 2.5 V")

CONSTANTS: dict[str, Constants] = {
    "lfe5u-25f": _constants(0.230, "LFE5U-25F on an OrangeCrab: 23.0 uW each", 24_288, Constant(
        Range(_ECP5_25_CORE_MW, _ECP5_25_MW, 147),
        f"{_ECP5_25_SAYS}; low: the core alone; high: a whole OrangeCrab in reset, by fpga-reg-power")),
    "lfe5u-45f": _constants(0.251, "LFE5U-85F on an ULX3S: 25.1 uW each", 43_848, Constant(
        Range(_ECP5_25_CORE_MW, 1.5 * _ECP5_25_MW, _ECP5_25_MW * 43_848 / 24_288),
        f"assumed: between what the {_ECP5_25_SAYS}, and that times the LUTs", True)),
    "lfe5u-85f": _constants(0.251, "LFE5U-85F on an ULX3S: 25.1 uW each", 83_640, Constant(
        Range(_ECP5_25_CORE_MW, 202, _ECP5_25_MW * 83_640 / 24_288),
        "a whole ULX3S in reset, by fpga-reg-power: at room temperature more than the part alone; low: core, high: "
        f"all, times the LUTs (assumed), of what the {_ECP5_25_SAYS}")),
    "ice40-up5k": Constants(
        register_pj=Constant(
            Range(0.05, 0.2, 0.92), f"{_UP5K}: seven more counters of 28 bits take 27.8 uA, each 0.4 pJ a cycle, in "
            "which it toggles twice; high: fpga-reg-power, an iCE40HX1K behind a linear regulator"),
        logic_pj=Constant(
            Range(0.1, 0.4, 0.9), f"assumed: half of the cells toggle; {_UP5K}: a multiplier of 8 x 8 bits in logic "
            "adds 351 uA for 180 cells, 0.2 pJ a cell and cycle", True),
        clock_pj=Constant(
            Range(0.005, 0.01, 0.0144), f"assumed; high: {_UP5K}: 0.142 uA for each further cell of a counter, toggles "
            "included", True),
        tree_pj=Constant(
            Range(50, 53, 53), f"{_UP5K}: 613.5 uA with a counter of 28 bits, 92.1 uA with its clock halted"),
        block_pj=Constant(Range(1, 3, 8), "assumed for 4 Kbit: no measurement was found that can be cited", True),
        multiplier_pj=_MULTIPLIER,
        static_mw=Constant(
            Range(0.09, 0.104, 0.13), f"{_UP5K}: 85.6 uA with a blank design; low: data sheet FPGA-DS-02008, 75 uA at "
            "1.2 V; high: with the currents of PLL and banks")),
    "gw1nr-9": _constants(1.305, "GW1NR-9 on a TEC0117: 130.5 uW each", 8_640, Constant(
        Range(2, 20, 100), "assumed: no figure was found; a whole TEC0117 in reset takes 402 mW, by fpga-reg-power",
        True)),
    "gw2ar-18": _constants(1.142, "GW2A-18 on a DK-START: 114.2 uW each", 20_736, Constant(
        Range(20, 80, 250), "assumed: no figure was found; a whole DK-START in reset takes 855 mW, by fpga-reg-power",
        True)),
}


def constants_of(device: str) -> Constants:
    """The constants of a device.

    Raises
    ------
    SpikeloomError
        If the device is not known, or none are known of it.
    """
    found = CONSTANTS.get(find_device(device).name)
    if found is None:
        raise SpikeloomError(f"device {device}: nobody's constants of its energy are known here; those of "
                             f"{', '.join(CONSTANTS)} are")
    return found
