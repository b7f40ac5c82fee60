"""The packet gate and the packet core in Amaranth's simulator: runs of the right length, whatever comes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from support.simulation import memory_bits, simulate

from spikeloom.rtl.packet_core import PacketCore, PacketCoreConfig
from spikeloom.rtl.packet_gate import PacketGate, PacketGateConfig

PATIENCE_CYCLES = 20_000
BITS = 5


def expected(config: PacketGateConfig, packets: list[list[int]]) -> tuple[list[tuple[int, int]], list[int]]:
    """Beats with marks, and errors: by the rules of the docstring, a packet at a time."""
    beats: list[tuple[int, int]] = []
    errors = []
    for packet in packets:
        unit, most = config.beats, config.beats * (config.steps or 1)
        length = most if config.steps is None else min(most, -(-len(packet) // unit) * unit)
        run = (packet + [0] * length)[:length]
        beats += [(beat, int(at == length - 1)) for at, beat in enumerate(run)]
        errors.append(int(len(packet) != length))
    return beats, errors


@pytest.mark.parametrize("config", [
    PacketGateConfig(bits=BITS, beats=1), PacketGateConfig(bits=BITS, beats=4), PacketGateConfig(bits=BITS, beats=7),
    PacketGateConfig(bits=BITS, beats=1, steps=5), PacketGateConfig(bits=BITS, beats=3, steps=4),
    PacketGateConfig(bits=BITS, beats=4, steps=1)], ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_packets(config: PacketGateConfig, stall: float) -> None:
    rng = random.Random(str((config, stall)))
    most = config.beats * (config.steps or 1)
    lengths = [rng.choice([most, rng.randint(1, 2 * most + 1)]) for _ in range(80)]
    packets = [[rng.getrandbits(BITS) for _ in range(length)] for length in lengths]
    sent = [(beat, int(at == len(packet) - 1)) for packet in packets for at, beat in enumerate(packet)]
    beats, errors = expected(config, packets)
    got: list[tuple[int, int]] = []
    done: list[int] = []
    found = {"early": 0, "late": 0}
    begun = 0
    gate = PacketGate(config)
    cycles = 0

    async def bench(ctx: Any) -> None:
        nonlocal begun, cycles
        nth = 0
        while len(got) < len(beats) or nth < len(sent):
            cycles += 1
            assert cycles < PATIENCE_CYCLES
            offers = nth < len(sent) and rng.random() >= stall
            ctx.set(gate.i.valid, offers)
            if offers:
                ctx.set(gate.i.payload, {"data": sent[nth][0], "last": sent[nth][1]})
            ctx.set(gate.enable, rng.random() >= stall / 2)
            ctx.set(gate.o.ready, rng.random() >= stall)
            ctx.set(gate.done.ready, rng.random() >= stall)
            if ctx.get(gate.o.valid) and ctx.get(gate.o.ready):
                got.append((ctx.get(gate.o.payload.data), ctx.get(gate.o.payload.mark)))
                begun += not ctx.get(gate.busy)
            if ctx.get(gate.done.valid):
                assert ctx.get(gate.done.ready)
                done.append(ctx.get(gate.done.payload.error))
            for name in found:
                found[name] += ctx.get(getattr(gate, name))
            nth += offers and ctx.get(gate.i.ready)
            await ctx.tick()
        assert not ctx.get(gate.busy)

    simulate(gate, bench)
    assert got == beats
    assert done == errors
    assert begun == len(packets)
    assert found["early"] + found["late"] == sum(errors)
    filled = max(0, len(beats) - len(sent))
    if not stall:  # a beat a cycle, and one more for each beat that a packet lacks or has too many of
        assert cycles <= len(sent) + len(beats)
        assert cycles >= max(len(sent), len(beats)) >= filled


def test_abort_ends_a_packet() -> None:
    gate = PacketGate(PacketGateConfig(bits=BITS, beats=4))

    async def bench(ctx: Any) -> None:
        ctx.set(gate.enable, 1)
        ctx.set(gate.o.ready, 1)
        ctx.set(gate.done.ready, 1)
        ctx.set(gate.i.valid, 1)
        ctx.set(gate.i.payload, {"data": 9, "last": 0})
        await ctx.tick()
        await ctx.tick()
        ctx.set(gate.abort, 1)
        assert not ctx.get(gate.i.ready)
        await ctx.tick()
        beats, ends = 0, []
        for _ in range(6):
            beats += ctx.get(gate.o.valid)
            ends += [ctx.get(gate.done.payload.error)] if ctx.get(gate.done.valid) else []
            assert not ctx.get(gate.o.valid) or ctx.get(gate.o.payload.data) == 0
            await ctx.tick()
        assert (beats, ends) == (2, [1])
        assert not ctx.get(gate.busy)
        ctx.set(gate.abort, 0)
        assert ctx.get(gate.i.ready)

    simulate(gate, bench)


class _Core(wiring.Component):
    """Takes everything, gives nothing until it is told to."""

    def __init__(self) -> None:
        self.gives = Signal()
        super().__init__({"i": In(stream.Signature(BITS)), "o": Out(stream.Signature(3))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        kept = Signal()
        m.d.sync += kept.eq(self.i.valid)
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(self.gives), self.o.payload.eq(5)]
        return m


@pytest.mark.parametrize("under_way", [2, 16])
def test_results_under_way(under_way: int) -> None:
    """So many packets come in while no result leaves; the last beat of the next one waits."""
    inner = _Core()
    core = PacketCore(PacketCoreConfig(gate=PacketGateConfig(bits=BITS, beats=2), result_bits=3, result_beats=1,
                                       network_hash="0" * 64, gives_class=True, results_under_way=under_way), inner)
    assert memory_bits(PacketCore(core.config, _Core())) == under_way * 33

    async def bench(ctx: Any) -> None:
        ctx.set(core.i.valid, 1)
        taken = 0
        for cycle in range(200):
            ctx.set(core.i.payload, {"data": 1, "last": taken % 2})
            taken += ctx.get(core.i.ready)
            await ctx.tick()
            if cycle > 100:
                assert taken == 2 * under_way + 1
        ctx.set(inner.gives, 1)
        ctx.set(core.o.ready, 1)
        await ctx.tick()
        assert ctx.get(core.o.valid)
        assert ctx.get(core.o.payload.data) == 5

    simulate(core, bench)
