"""A few output lanes: masked sums of weights, accumulators, and the registers that hand their sums over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import index_shape, memory_depth
from .flat_array import FlatArray
from .masked_add import LEVELS_PER_REGISTER, MaskedSums, Term, tree_depth
from .share import Relay, add_instance

__all__ = ["MASK_LANES", "MULTIPLIER_BITS", "LaneBlock", "LaneBlockConfig", "pair_bits"]

MASK_LANES = 4  # a register of masks drives so many lanes
MULTIPLIER_BITS = 18  # of each factor, in most families


def pair_bits(weight_bits: int, planes: int) -> int:
    """Of the sum of two products of unsigned weights and masks; 0 if one multiplier cannot make it.

    With ``f`` of them, ``(w0 + w1 * 2**f) * (x1 + x0 * 2**f)`` has ``w0 * x0 + w1 * x1`` above its lowest ``f`` bits.
    """
    bits = (2 * ((1 << weight_bits) - 1) * ((1 << planes) - 1)).bit_length()
    return bits if bits + max(weight_bits, planes) <= MULTIPLIER_BITS else 0


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
    offset : bool
        Weights are stored without a sign, ``2**(weight_bits - 1)`` larger than they are, and are added so; ``weighed``
        only.
    ends_alone : bool
        No events come with an end.
    hands_sums : bool
        The first lanes are handed over out of their accumulators; with ``ends_alone`` and one group only, and not if it
        ``holds``. Spares flip-flops, and LUTs where there are more lanes than ``units``.
    products : int
        Multipliers of a lane, each for two of the events; with ``offset`` only.
    accumulator_bits : int
        Bits of an accumulator.
    groups : int
        Groups of lanes that take turns here, each with sums of its own.
    scattered : bool
        Each lane has a group of its own in a cycle; else they have the same.
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
    scattered: bool = False
    holds: bool = False
    ends_alone: bool = False
    hands_sums: bool = False
    offset: bool = False
    products: int = 0

    def __post_init__(self) -> None:
        most = self.banks // 2 if self.offset and pair_bits(self.weight_bits, self.planes) else 0
        if not 0 <= self.products <= most:
            raise ValueError(f"products must be in 0..{most}, not {self.products}")
        if self.offset and not self.weighed:
            raise ValueError("offset takes weighed planes")
        if self.scattered and self.groups == 1:
            raise ValueError("scattered takes several groups")
        if self.hands_sums and (not self.ends_alone or self.groups > 1 or self.holds):
            raise ValueError("hands_sums takes ends_alone, one group, and a block that does not hold")
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
    def group_layout(self) -> Any:
        """Of the groups that the lanes add to."""
        index = index_shape(self.groups)
        return FlatArray(index, self.lanes) if self.scattered else index

    @property
    def lane_layout(self) -> FlatArray:
        """What one lane hands over."""
        return FlatArray(signed(self.accumulator_bits), self.sums)

    @property
    def adds_three(self) -> bool:
        """Whether the third of three events goes to the accumulator with the sum of the others, in one adder."""
        wide = self.accumulator_bits >= max(2, self.weight_bits) + 2  # as all three events together
        return self.banks == 3 and wide and not self.weighed and self.groups == 1 and self.ends_alone

    @property
    def levels(self) -> int:
        """Adders one behind the other: over events, over the bits of a number, and the accumulator's.

        A multiplier takes as long as two adders.
        """
        added, multiplied = self.banks - 2 * self.products, LEVELS_PER_REGISTER + tree_depth(max(1, self.products))
        if not added:
            return multiplied + 1
        levels = tree_depth(added) + (tree_depth(self.planes) if self.weighed else 0)
        return max(levels, multiplied) + 2 if self.products else levels + 1

    @property
    def drained(self) -> range:
        """Lanes that wait until it is their turn, or for who takes them."""
        return range(min(self.units, self.lanes) if self.hands_sums else 0, self.lanes)

    @property
    def sum_cycles(self) -> int:
        """From ``mask`` and ``end`` to the accumulators."""
        return 1 + (self.levels - 1) // LEVELS_PER_REGISTER

    @property
    def latency_cycles(self) -> int:
        """From ``mask`` and ``end`` to ``o``."""
        return self.sum_cycles + (not self.hands_sums)


class LaneBlock(wiring.Component):
    """Accumulates weights under masks; at the end of a pass, hands the sums over, ``units`` lanes a cycle.

    For each lane ``n``, in every cycle, with ``x[n, b] = sum_j weight[j][n] * mask[j][b]``::

        S[n, b] <- S[n, b] + x[n, b]                     for each plane b
        S[n]    <- S[n] + sum_b 2**b * x[n, b]           if ``weighed``

    modulo ``2**accumulator_bits``; with an ``offset`` weights are added as they are stored. And with ``end``, which may
    come with the last events (but where it comes alone), the new sums go to the register ``D`` instead, and ``S <- 0``.
    In all other cycles ``D[n] <- D[n + units]``, and 0 for the last lanes: so ``o``, the first lanes of ``D``, is 0
    when nothing is handed over, and the ``o`` of several blocks may meet in an OR. A block that ``holds`` keeps ``D``.
    With ``hands_sums``, where the sums are in ``S`` when the end comes, the first ``units`` lanes are handed over from
    there, a cycle earlier, and only the others have a ``D``.

    With several ``groups`` there is an ``S`` for each, in LUT RAM. That of ``group`` is read, added to and written back
    in one cycle; with ``first`` what is read counts as 0, and nobody clears it with ``end``. If they are ``scattered``,
    each lane has a ``group``.

    Weights come a cycle later than the masks and the end that belong to them: these reach all lanes, and are
    registered here, next to them, once for every :data:`MASK_LANES` lanes. There is a register behind every second
    adder, and behind each multiplier. Of three events without a number the third meets the sum of the others in the
    accumulator's adder, behind a register.

    No register has a reset, which would have to reach all of them at once. Two ends with ``first``, one behind the
    other and with masks of 0, leave all sums and all of ``D`` 0.

    Latency :attr:`LaneBlockConfig.latency_cycles`, one set of events per cycle, ends ``beats`` cycles or more apart;
    ``(lanes + len(drained)) * sums * accumulator_bits`` flip-flops for ``S`` and ``D``; with several groups
    ``lanes * sums * accumulator_bits``, and ``groups`` times as many bits of LUT RAM.

    Members
    -------
    mask : In(banks x planes)
    end : In(1)
    group, first : In(group_layout), In(1), only with several groups: as ``mask``
    weight : In(banks x lanes x weight_bits), of the masks of the cycle before
    o : Out(lane_layout x min(units, lanes))
    """

    def __init__(self, config: LaneBlockConfig) -> None:
        self.config = config
        super().__init__({
            "mask": In(FlatArray(config.planes, config.banks)),
            "end": In(1),
            **({"group": In(config.group_layout), "first": In(1)} if config.groups > 1 else {}),
            "weight": In(FlatArray(FlatArray(config.weight_bits, config.lanes), config.banks)),
            "o": Out(FlatArray(config.lane_layout, min(config.units, config.lanes))),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config

        masks = self._masks(m, platform)
        end_q = self._delayed(m, "end", self.end)
        keep_q: Any = None
        if cfg.groups > 1:
            group_q, keep_q = self._delayed(m, "group", self.group), ~self._delayed(m, "first", self.first)

        drain = {n: Signal(cfg.lane_layout, name=f"drain{n}_q", reset_less=True) for n in cfg.drained}
        for n in range(cfg.lanes):
            mask_q = masks[n // MASK_LANES]
            sums: list[Any] = []
            memory = None
            if cfg.groups > 1:
                m.submodules[f"sums{n}"] = memory = Memory(shape=cfg.lane_layout.size, depth=memory_depth(cfg.groups),
                                                           init=[])
                write, read = memory.write_port(), memory.read_port(domain="comb")
                before = data.View(cfg.lane_layout, read.data)
            adders = MaskedSums(m, platform, f"new{n}", is_signed=not cfg.offset)
            thirds = self._thirds(m, n, mask_q) if cfg.adds_three else None
            for plane, total in enumerate(self._totals(m, platform, n, mask_q)):
                accumulator = Signal(adders.shape(cfg.accumulator_bits), name=f"sum{n}_{plane}_q", reset_less=True)
                old = Term(accumulator) if memory is None else Term(before[plane], keep_q)
                new = (adders.add([(old, total)], cfg.accumulator_bits)[0] if thirds is None
                       else adders.add_three(accumulator, total, thirds[plane]))
                sums.append(accumulator if cfg.ends_alone and memory is None else new)
                if memory is None:
                    m.d.sync += accumulator.eq(Mux(end_q, 0, new))
            if memory is not None:  # what no mask selects adds 0 to whichever sum
                group = group_q[n] if cfg.scattered else group_q
                m.d.comb += [read.addr.eq(group), write.addr.eq(group), write.en.eq(1), write.data.eq(Cat(sums))]
            follows = drain[n] if cfg.holds else drain.get(n + cfg.units, Const(0))
            if n in drain:
                m.d.sync += drain[n].as_value().eq(Mux(end_q, Cat(sums), Cat(follows)))
            if n < cfg.units:
                m.d.comb += self.o[n].as_value().eq(
                    Mux(end_q, Cat(sums), 0) | Cat(follows) if cfg.hands_sums else Cat(drain[n]))
        return m

    def _masks(self, m: Module, platform: Any) -> list[Any]:
        """The masks, registered next to the lanes: for each few of them once more."""
        if self.config.lanes <= MASK_LANES:
            mask_q = Signal.like(self.mask, reset_less=True)
            m.d.sync += mask_q.eq(self.mask)
            return [mask_q]
        masks, bits = [], len(self.mask.as_value())
        for k in range(-(-self.config.lanes // MASK_LANES)):
            relay = add_instance(m, platform, f"mask{k}", Relay, (bits, 1, False), f"mask{bits}")
            m.d.comb += relay.i.eq(self.mask.as_value())
            masks.append(data.View(FlatArray(self.config.planes, self.config.banks), relay.o))
        return masks

    def _delayed(self, m: Module, name: str, value: Any) -> Signal:
        """What comes with the masks, when their sums come to the accumulators."""
        for stage in range(self.config.sum_cycles):
            value, before = Signal.like(value, name=f"{name}{stage - 1 if stage else ''}_q", reset_less=True), value
            m.d.sync += value.eq(before)
        return value

    def _totals(self, m: Module, platform: Any, n: int, mask_q: Any) -> list[Term]:
        """What lane ``n`` adds to each of its accumulators."""
        cfg = self.config
        sums = MaskedSums(m, platform, f"lane{n}", level=1 if cfg.adds_three else 0, is_signed=not cfg.offset)
        if cfg.adds_three:
            return sums.trees([[Term(self._weight(j, n), mask_q[j][plane]) for j in range(2)]
                               for plane in range(cfg.planes)])
        multiplied, added = range(2 * cfg.products), range(2 * cfg.products, cfg.banks)
        totals: list[tuple[Term, int]] = []
        if added:
            planes = sums.trees([[Term(self._weight(j, n), mask_q[j][plane]) for j in added]
                                 for plane in range(cfg.planes)])
            if not cfg.weighed:
                return planes
            totals.append((sums.tree(planes, weighed=True), sums.level))
        if multiplied:
            products = MaskedSums(m, platform, f"lane{n}_products", LEVELS_PER_REGISTER, is_signed=False)
            terms = [Term(self._product(m, n, j, mask_q)) for j in multiplied[::2]]
            totals.append((products.tree(terms), products.level))
        both = MaskedSums(m, platform, f"lane{n}_both", max(level for _, level in totals), is_signed=not cfg.offset)
        return [both.tree([both.later(total, level) for total, level in totals])]

    def _thirds(self, m: Module, n: int, mask_q: Any) -> list[Term]:
        """The third event of lane ``n`` for each of its accumulators, when the sum of the others comes."""
        weight_q = Signal(len(self._weight(2, n)), name=f"third{n}_q", reset_less=True)
        mask_qq = Signal(self.config.planes, name=f"third_mask{n}_q", reset_less=True)
        m.d.sync += [weight_q.eq(self._weight(2, n)), mask_qq.eq(mask_q[2])]
        return [Term(weight_q.as_signed(), mask_qq[plane]) for plane in range(self.config.planes)]

    def _weight(self, j: int, n: int) -> Any:
        """Of event ``j`` and lane ``n``, as it is added."""
        stored = self.weight[j][n]
        if self.config.offset:
            return stored
        return Cat(Const(1, 1), stored).as_signed() if self.config.weight_bits == 1 else stored.as_signed()

    def _product(self, m: Module, n: int, j: int, mask_q: Any) -> Signal:
        """Of the events ``j`` and ``j + 1``, each its weight times its mask, added up: see :func:`pair_bits`."""
        cfg = self.config
        bits = pair_bits(cfg.weight_bits, cfg.planes)
        weights = Signal(bits + cfg.weight_bits, name=f"weights{n}_{j}")
        masks = Signal(bits + cfg.planes, name=f"masks{n}_{j}")
        product_q = Signal(bits, name=f"product{n}_{j}_q", reset_less=True)
        m.d.comb += [weights.eq(Cat(self.weight[j][n], Const(0, bits - cfg.weight_bits), self.weight[j + 1][n])),
                     masks.eq(Cat(mask_q[j + 1], Const(0, bits - cfg.planes), mask_q[j]))]
        m.d.sync += product_q.eq((weights * masks)[bits:2 * bits])
        return product_q
