"""A few output lanes: masked sums of weights, accumulators, and the drain register behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .adder_tree import bit_weighted, tree_depth, tree_sum
from .flat_array import FlatArray

__all__ = ["LaneBlock", "LaneBlockConfig"]


@dataclass(frozen=True, kw_only=True)
class LaneBlockConfig:
    """Shape of a lane block.

    Parameters
    ----------
    lanes : int
        Output neurons that are accumulated side by side.
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
    shift : int
        Lanes that the drain moves on at a time; 0 if it never moves.
    """

    lanes: int
    banks: int
    planes: int
    weighed: bool
    weight_bits: int
    accumulator_bits: int
    shift: int

    @property
    def sums(self) -> int:
        """Accumulators of a lane."""
        return 1 if self.weighed else self.planes

    @property
    def lane_layout(self) -> FlatArray:
        """What one lane hands over."""
        return FlatArray(signed(self.accumulator_bits), self.sums)

    @property
    def latency_cycles(self) -> int:
        """From ``weight``/``mask``/``end`` to the drain register."""
        return 3 + self.tree_cycles

    @property
    def masks_weights(self) -> bool:
        """Whether a mask clears its weights as they are registered: with one plane that takes no logic at all."""
        return self.planes == 1 and self.weight_bits > 1

    @property
    def tree_cycles(self) -> int:
        """Registers in the adder trees, over pairs of events and then over bits."""
        over_pairs, over_bits = tree_depth(-(-self.banks // 2)), tree_depth(self.planes) if self.weighed else 0
        return max(0, over_pairs + over_bits - 1)

    @property
    def head(self) -> int:
        """Lanes seen at ``o_head``."""
        return min(self.lanes, self.shift) if self.shift else self.lanes


class LaneBlock(wiring.Component):
    """Accumulates weights under masks; at the end of a pass, hands the sums to a drain register.

    For each lane ``n``, in every cycle, with ``x[n, b] = sum_j weight[j][n] * mask[j][b]``::

        S[n, b] <- S[n, b] + x[n, b]                     for each plane b
        S[n]    <- S[n] + sum_b 2**b * x[n, b]           if ``weighed``

    and with ``end``, which may come with the last events, the new sum goes to the drain register ``D`` instead,
    and ``S <- 0``;

    ``move`` moves the drain register on by ``shift`` lanes one cycle later: ``D[n] <- D[n + shift]``, where the last
    lanes take over ``i_tail``. What goes to all lanes is registered here, next to them.

    Events are taken in pairs: the sum of a pair's two weights is made once, and each plane chooses from nothing,
    one weight, the other or their sum. That is cheaper than masking and adding in every plane. With one plane, its
    mask clears the registered weights instead (1-bit weights have no zero, and choose).

    Latency :attr:`LaneBlockConfig.latency_cycles`, one set of events per cycle,
    ``2 * lanes * sums * accumulator_bits`` flip-flops for accumulators and drain.

    Members
    -------
    weight : In(banks x lanes x weight_bits)
    mask : In(banks x planes)
    end : In(1)
    move : In(1), shifts the drain register a cycle later
    i_tail, o_head : In, Out(lane_layout x ``head`` lanes)
    """

    def __init__(self, config: LaneBlockConfig) -> None:
        self.config = config
        shift = max(1, config.shift)
        super().__init__({
            "weight": In(FlatArray(FlatArray(config.weight_bits, config.lanes), config.banks)),
            "mask": In(FlatArray(config.planes, config.banks)),
            "end": In(1),
            "move": In(1),
            "i_tail": In(FlatArray(config.lane_layout, shift)),
            "o_head": Out(FlatArray(config.lane_layout, config.head)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config

        # After a reset nothing may be on its way to the accumulators: weights wait for masks, except cleared ones.
        weight_q = Signal.like(self.weight, reset_less=not cfg.masks_weights)
        mask_q = Signal.like(self.mask)
        end_q = Signal()
        m.d.sync += [weight_q.eq(self.weight), mask_q.eq(self.mask), end_q.eq(self.end)]
        if cfg.masks_weights:
            m.d.sync += [weight_q[j].as_value().eq(Mux(self.mask[j], self.weight[j].as_value(), 0))
                         for j in range(cfg.banks)]

        drain = [Signal(cfg.lane_layout, name=f"drain{n}_q", reset_less=True) for n in range(cfg.lanes)]
        for _ in range(1 + cfg.tree_cycles):
            end_before, end_q = end_q, Signal(name="end_sum_q")
            m.d.sync += end_q.eq(end_before)
        # What lets the drain register change reaches all its bits: it is a register, with no logic behind it.
        drain_q = Signal()
        m.d.sync += drain_q.eq(end_before | self.move)

        accumulators, sums = [], []
        for n in range(cfg.lanes):
            weights = []
            for j in range(cfg.banks):
                stored = weight_q[j][n]
                weight = Signal(signed(max(2, cfg.weight_bits)), name=f"weight{n}_{j}")
                m.d.comb += weight.eq(Cat(Const(1, 1), stored) if cfg.weight_bits == 1 else stored.as_signed())
                weights.append(weight)
            totals = [tree_sum(m, terms, f"tree{n}_{b}", 1, reset_less=False)[0]
                      for b, terms in enumerate(self._terms(m, n, weights, mask_q))]
            if cfg.weighed and cfg.planes > 1:
                totals = [bit_weighted(m, self._registered(m, totals, n), f"tree{n}", reset_less=False)]
            for b, total in enumerate(totals):
                sum_q = Signal(total.shape(), name=f"sum{n}_{b}_q")
                accumulator = Signal(signed(cfg.accumulator_bits), name=f"accumulator{n}_{b}_q")
                new_sum = Signal.like(accumulator, name=f"new_sum{n}_{b}")
                m.d.comb += new_sum.eq(accumulator + sum_q)
                m.d.sync += [sum_q.eq(total), accumulator.eq(new_sum)]
                accumulators.append(accumulator)
                sums.append(new_sum)

        # One flat drain word keeps the shift a single statement per lane.
        for n in range(cfg.lanes):
            sums_of_lane = Cat(sums[n * cfg.sums:(n + 1) * cfg.sums])
            if cfg.shift:
                source = drain[n + cfg.shift] if n + cfg.shift < cfg.lanes else self.i_tail[n + cfg.shift - cfg.lanes]
                with m.If(drain_q):
                    m.d.sync += drain[n].as_value().eq(Mux(end_q, sums_of_lane, source.as_value()))
            else:
                with m.If(end_q):
                    m.d.sync += drain[n].as_value().eq(sums_of_lane)
        with m.If(end_q):
            m.d.sync += [accumulator.eq(0) for accumulator in accumulators]
        m.d.comb += [self.o_head[n].eq(drain[n]) for n in range(cfg.head)]
        return m

    def _registered(self, m: Module, totals: list[Any], n: int) -> list[Any]:
        """The planes' totals, behind a register if an adder gave them."""
        if self.config.banks <= 2:
            return totals
        kept = [Signal(t.shape(), name=f"total{n}_{b}_q") for b, t in enumerate(totals)]
        m.d.sync += [k.eq(t) for k, t in zip(kept, totals, strict=True)]
        return kept

    def _terms(self, m: Module, n: int, weights: list[Any], mask_q: Any) -> list[list[Any]]:
        """What lane ``n`` adds in each plane: one term per pair of events."""
        cfg = self.config
        pairs = []
        for j in range(0, cfg.banks - 1, 2):
            both = Signal((weights[j] + weights[j + 1]).shape(), name=f"both{n}_{j}", attrs={"keep": 1})
            m.d.comb += both.eq(weights[j] + weights[j + 1])
            pairs.append(both)
        if cfg.masks_weights:
            return [pairs + weights[2 * len(pairs):]]
        planes = []
        for b in range(cfg.planes):
            terms = []
            for j in range(0, cfg.banks, 2):
                first = mask_q[j][b]
                if j + 1 == cfg.banks:
                    term = Signal.like(weights[j], name=f"term{n}_{b}_{j}")
                    m.d.comb += term.eq(Mux(first, weights[j], 0))
                else:
                    both, second = pairs[j // 2], mask_q[j + 1][b]
                    term = Signal.like(both, name=f"term{n}_{b}_{j}")
                    m.d.comb += term.eq(Mux(first, Mux(second, both, weights[j]), Mux(second, weights[j + 1], 0)))
                terms.append(term)
            planes.append(terms)
        return planes
