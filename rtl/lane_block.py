"""A few output lanes: masked sums of weights, accumulators, and the register that hands their sums over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import index_shape, memory_depth
from .flat_array import FlatArray
from .masked_add import LEVELS_PER_REGISTER, MaskedSum, Term, tree_depth

__all__ = ["LaneBlock", "LaneBlockConfig"]


@dataclass(frozen=True, kw_only=True)
class LaneBlockConfig:
    """Shape of a lane block.

    Parameters
    ----------
    lanes : int
        Output neurons that are accumulated side by side.
    units : int
        Lanes handed over at a time; all, if there are no more.
    banks : int
        Events added per cycle.
    planes : int
        Bits of a mask.
    weighed : bool
        The bits are those of a number, and have one accumulator; else they are time steps, with an accumulator each.
    weight_bits : int
        Bits of a stored weight; 1 bit stands for +1 (0) and -1 (1).
    accumulator_bits : int
        Bits of an accumulator.
    groups : int
        Groups of lanes that take turns here, each with sums of its own.
    holds : bool
        Sums stay where they are handed over until the next ones come; ``lanes <= units`` then.
    """

    lanes: int
    units: int
    banks: int
    planes: int
    weighed: bool
    weight_bits: int
    accumulator_bits: int
    groups: int = 1
    holds: bool = False

    def __post_init__(self) -> None:
        if self.holds and self.lanes > self.units:
            raise ValueError(f"lanes must be at most units={self.units} in a block that holds, not {self.lanes}")

    @property
    def sums(self) -> int:
        """Accumulators of a lane."""
        return 1 if self.weighed else self.planes

    @property
    def beats(self) -> int:
        """Times that it hands lanes over."""
        return -(-self.lanes // self.units)

    @property
    def lane_layout(self) -> FlatArray:
        """What one lane hands over."""
        return FlatArray(signed(self.accumulator_bits), self.sums)

    @property
    def levels(self) -> int:
        """Adders one behind the other: over events, over the bits of a number, and the accumulator's."""
        return tree_depth(self.banks) + (tree_depth(self.planes) if self.weighed else 0) + 1

    @property
    def latency_cycles(self) -> int:
        """From ``mask`` and ``end`` to ``o``."""
        return 2 + (self.levels - 1) // LEVELS_PER_REGISTER


class LaneBlock(wiring.Component):
    """Accumulates weights under masks; at the end of a pass, hands the sums over, ``units`` lanes a cycle.

    For each lane ``n``, in every cycle, with ``x[n, b] = sum_j weight[j][n] * mask[j][b]``::

        S[n, b] <- S[n, b] + x[n, b]                     for each plane b
        S[n]    <- S[n] + sum_b 2**b * x[n, b]           if ``weighed``

    and with ``end``, which may come with the last events, the new sums go to the register ``D`` instead, and
    ``S <- 0``. In all other cycles ``D[n] <- D[n + units]``, and 0 for the last lanes: so ``o``, the first lanes of
    ``D``, is 0 when nothing is handed over, and the ``o`` of several blocks may meet in an OR. A block that ``holds``
    keeps ``D``.

    With several ``groups`` there is an ``S`` for each, in LUT RAM. That of ``group`` is read, added to and written back
    in one cycle; with ``first`` what is read counts as 0, and nobody clears it with ``end``.

    Weights come a cycle later than the masks and the end that belong to them: these reach all lanes, and are
    registered here, next to them. There is a register behind every second adder.

    Latency :attr:`LaneBlockConfig.latency_cycles`, one set of events per cycle, ends ``beats`` cycles or more apart;
    ``2 * lanes * sums * accumulator_bits`` flip-flops for ``S`` and ``D``, or half of them and ``groups`` times as many
    bits of LUT RAM.

    Members
    -------
    mask : In(banks x planes)
    end : In(1)
    group, first : In(groups), In(1), only with several groups: as ``mask``
    weight : In(banks x lanes x weight_bits), of the masks of the cycle before
    o : Out(lane_layout x min(units, lanes))
    """

    def __init__(self, config: LaneBlockConfig) -> None:
        self.config = config
        super().__init__({
            "mask": In(FlatArray(config.planes, config.banks)),
            "end": In(1),
            **({"group": In(index_shape(config.groups)), "first": In(1)} if config.groups > 1 else {}),
            "weight": In(FlatArray(FlatArray(config.weight_bits, config.lanes), config.banks)),
            "o": Out(FlatArray(config.lane_layout, min(config.units, config.lanes))),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config

        # After a reset nothing may be on its way to the accumulators.
        mask_q = Signal.like(self.mask)
        m.d.sync += mask_q.eq(self.mask)
        end_q = self._delayed(m, "end", self.end)
        keep_q: Any = None
        if cfg.groups > 1:
            group_q, keep_q = self._delayed(m, "group", self.group), ~self._delayed(m, "first", self.first)

        drain = [Signal(cfg.lane_layout, name=f"drain{n}_q") for n in range(cfg.lanes)]
        for n in range(cfg.lanes):
            sums: list[Any] = []
            memory = None
            if cfg.groups > 1:
                m.submodules[f"sums{n}"] = memory = Memory(shape=cfg.lane_layout.size, depth=memory_depth(cfg.groups),
                                                           init=[])
                write, read = memory.write_port(), memory.read_port(domain="comb")
                before = data.View(cfg.lane_layout, read.data)
            for plane, (total, level) in enumerate(self._totals(m, platform, n, mask_q)):
                adder = MaskedSum(m, platform, f"new{n}_{plane}", level)
                if memory is None:
                    accumulator = Signal(signed(cfg.accumulator_bits), name=f"sum{n}_{plane}_q")
                    sums.append(adder.add(Term(accumulator), total, cfg.accumulator_bits))
                    m.d.sync += accumulator.eq(Mux(end_q, 0, sums[-1]))
                else:
                    sums.append(adder.add(Term(before[plane], keep_q), total, cfg.accumulator_bits))
            if memory is not None:  # what no mask selects adds 0 to whichever sum
                m.d.comb += [read.addr.eq(group_q), write.addr.eq(group_q), write.en.eq(1), write.data.eq(Cat(sums))]
            follows: Any = drain[n + cfg.units] if n + cfg.units < cfg.lanes else Const(0)
            if cfg.holds:
                follows = drain[n]
            m.d.sync += drain[n].as_value().eq(Mux(end_q, Cat(sums), Cat(follows)))
        m.d.comb += [lane.eq(kept) for lane, kept in zip(self.o, drain, strict=False)]
        return m

    def _delayed(self, m: Module, name: str, value: Any) -> Signal:
        """What comes with the masks, when their sums come to the accumulators."""
        for stage in range(self.config.latency_cycles - 1):
            value, before = Signal.like(value, name=f"{name}{stage - 1 if stage else ''}_q"), value
            m.d.sync += value.eq(before)
        return value

    def _totals(self, m: Module, platform: Any, n: int, mask_q: Any) -> list[tuple[Term, int]]:
        """What lane ``n`` adds to each of its accumulators, and how many levels of adders that had."""
        cfg = self.config
        weights = []
        for j in range(cfg.banks):
            stored = self.weight[j][n]
            weights.append(Cat(Const(1, 1), stored).as_signed() if cfg.weight_bits == 1 else stored.as_signed())
        planes = []
        for plane in range(cfg.planes):
            tree = MaskedSum(m, platform, f"lane{n}_{plane}")
            total = tree.tree([Term(weight, mask_q[j][plane]) for j, weight in enumerate(weights)])
            planes.append((total, tree.level))
        if not cfg.weighed:
            return planes
        tree = MaskedSum(m, platform, f"lane{n}", planes[0][1])
        return [(tree.tree([total for total, _ in planes], weighed=True), tree.level)]
