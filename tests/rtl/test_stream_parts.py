"""What stands between layers: delays, ways back, forks, replays, encoders. Contents, latency and memory as stated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from support.simulation import memory_bits
from support.stream_bench import run_streams

from spikeloom.model.inputs import BernoulliInput, LatencyInput
from spikeloom.rtl.beat import beat_stream
from spikeloom.rtl.delay import Delay, DelayConfig, Feedback
from spikeloom.rtl.encoder import Encoder, EncoderConfig
from spikeloom.rtl.fork import Fork
from spikeloom.rtl.layer_inputs import LayerInputs, SourceConfig
from spikeloom.rtl.mark_gate import MarkGate, MarkGateConfig
from spikeloom.rtl.replay import Replay, ReplayConfig

WEATHER = [{}, {"gap": 0.3, "stall": 0.4, "seed": 3}]


def beat(masks: np.ndarray) -> int:
    """A beat (items, steps) of bits."""
    return int(sum(int(bit) << place for place, bit in enumerate(masks.ravel())))


class Clocked(wiring.Component):
    """A part between streams beside a register: without one there is no clock to simulate."""

    def __init__(self, part: Any) -> None:
        self.part = part
        super().__init__({"i": In(part.i.signature.flip()), "o": Out(part.o.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.part = self.part
        wiring.connect(m, wiring.flipped(self.i), self.part.i)
        wiring.connect(m, self.part.o, wiring.flipped(self.o))
        m.d.sync += Signal(name="clocked_q").eq(1)
        return m


@pytest.mark.parametrize("endless", [False, True])
@pytest.mark.parametrize(("windows", "steps"), [(1, 4), (3, 2), (4, 1)])
@pytest.mark.parametrize("weather", WEATHER)
def test_delay(windows: int, steps: int, endless: bool, weather: dict[str, Any]) -> None:
    items, beats, runs = 3, 2, 3
    bits = np.random.default_rng(1).integers(0, 2, (runs, windows * steps, beats, items))
    line = bits.reshape(1, -1, beats, items) if endless else bits
    want = np.concatenate([np.zeros_like(line[:, :1]), line[:, :-1]], axis=1).reshape(bits.shape)

    def payloads(of: np.ndarray) -> list[int]:
        return [beat(of[r, v * steps:(v + 1) * steps, b].T) for r in range(runs) for v in range(windows)
                for b in range(beats)]

    dut = Delay(DelayConfig(items=items, item_bits=steps, beats=beats, windows=windows, endless=endless))
    sent, got, _ = run_streams(Clocked(dut), payloads(bits), runs * windows * beats, **weather)
    assert [value for _, value in got] == payloads(want)
    assert [cycle for cycle, _ in got] == sent  # latency 0
    if windows > 1 or endless:
        assert memory_bits(Delay(dut.config)) == beats * items


@pytest.mark.parametrize("endless", [False, True])
@pytest.mark.parametrize("weather", WEATHER)
def test_feedback(endless: bool, weather: dict[str, Any]) -> None:
    items, beats, windows, runs = 3, 2, 4, 3
    bits = np.random.default_rng(1).integers(0, 2, (runs * windows, beats, items))
    want = np.concatenate([np.zeros_like(bits[:1]), bits])
    if not endless:
        want[windows::windows] = 0
    dut = Feedback(DelayConfig(items=items, item_bits=1, beats=beats, windows=windows, endless=endless))
    stimulus = [beat(b) for window in bits for b in window]
    sent, got, _ = run_streams(dut, stimulus, (runs * windows + 1) * beats, **weather)
    assert [value for _, value in got] == [beat(b) for window in want for b in window]
    assert all(came > left for came, (left, _) in zip(sent, got, strict=False))  # in the place of one that has left
    if not weather:  # the first window is there at once, later ones a cycle after they came
        assert [cycle for cycle, _ in got[:beats]] == [0, 1]
        assert all(cycle >= came + 1 for (cycle, _), came in zip(got[beats:], sent, strict=True))
    assert memory_bits(dut) == beats * items
    with pytest.raises(ValueError, match="item_bits must be 1"):
        Feedback(DelayConfig(items=1, item_bits=2, beats=1, windows=1))


@pytest.mark.parametrize("weather", WEATHER)
def test_replay(weather: dict[str, Any]) -> None:
    units, bits, beats, windows, runs = 2, 9, 3, 4, 3
    sums = np.random.default_rng(1).integers(0, 1 << units * bits, (runs, beats)).tolist()
    dut = Replay(ReplayConfig(units=units, sum_bits=bits, beats=beats, windows=windows))
    sent, got, _ = run_streams(dut, [value for run in sums for value in run], runs * windows * beats, **weather)
    assert [value for _, value in got] == [value for run in sums for _ in range(windows) for value in run]
    assert [got[r * windows * beats + b][0] for r in range(runs) for b in range(beats)] == sent  # latency 0
    if not weather:
        assert [cycle for cycle, _ in got] == list(range(len(got)))
    assert memory_bits(dut) == beats * units * bits


@pytest.mark.parametrize("code", [LatencyInput(shape=(7,), bits=3), LatencyInput(shape=(7,), bits=3, silent_zero=True),
                                  BernoulliInput(shape=(7,), bits=3, rate=9000, seed=11)], ids=str)
@pytest.mark.parametrize(("windows", "steps"), [(1, 8), (4, 2), (8, 1)])
@pytest.mark.parametrize("weather", WEATHER)
def test_encoder(code: Any, windows: int, steps: int, weather: dict[str, Any]) -> None:
    items, beats, runs = 3, 3, 2  # two places of the last beat stand for no channel
    values = np.random.default_rng(1).integers(0, 8, (runs, 7)).astype(np.uint8)
    spikes = np.zeros((runs, windows * steps, items * beats), int)
    spikes[:, :, :7] = code.spikes(values, windows * steps, as_maps=False)
    padded = np.zeros((runs, items * beats), int)
    padded[:, :7] = values
    stimulus = [int(sum(int(v) << 3 * k for k, v in enumerate(padded[r, b * items:(b + 1) * items])))
                for r in range(runs) for b in range(beats)]
    more = {name: getattr(code, name) for name in ("silent_zero", "rate", "seed") if hasattr(code, name)}
    dut = Encoder(EncoderConfig(kind=code.kind, items=items, bits=3, beats=beats, last_items=1, windows=windows,
                                window_steps=steps, **more))
    sent, got, _ = run_streams(dut, stimulus, runs * windows * beats, **weather)
    assert [value for _, value in got] == [
        beat(spikes[r, v * steps:(v + 1) * steps, b * items:(b + 1) * items].T) for r in range(runs)
        for v in range(windows) for b in range(beats)]
    if not weather:
        assert got[0][0] - sent[0] == dut.config.latency_cycles
        assert [cycle for cycle, _ in got] == list(range(got[0][0], got[0][0] + len(got)))  # a beat per cycle
    kept = beats * items * 3 if windows > 1 else 0
    assert memory_bits(dut) == kept + dut.config.queue_depth * items * steps


class Pair(wiring.Component):
    """A fork into two sources of one layer, joined again."""

    def __init__(self, turn_beats: int, buffer_beats: int) -> None:
        source = SourceConfig(items=2, item_bits=1, turn_beats=turn_beats, buffer_beats=buffer_beats)
        self.inputs = LayerInputs((source, source))
        super().__init__({"i": In(beat_stream(2, 1)), "o": Out(beat_stream(2, 1))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.fork = fork = Fork(2)
        m.submodules.inputs = inputs = self.inputs
        m.d.comb += [fork.valid.eq(self.i.valid), self.i.ready.eq(fork.ready)]
        for k, port in enumerate((inputs.i0, inputs.i1)):
            m.d.comb += [port.valid.eq(fork.o_valid[k]), fork.o_ready[k].eq(port.ready),
                         Value.cast(port.payload).eq(Value.cast(self.i.payload))]
        wiring.connect(m, inputs.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("turn_beats", [1, 4])
@pytest.mark.parametrize("weather", WEATHER)
def test_fork_and_turns(turn_beats: int, weather: dict[str, Any]) -> None:
    window = 4
    values = np.random.default_rng(1).integers(0, 4, 5 * window).tolist()
    dut = Pair(turn_beats, window)
    _, got, _ = run_streams(dut, values, 2 * len(values), **weather)
    turns = np.array(values).reshape(-1, turn_beats)
    assert [value for _, value in got] == np.repeat(turns, 2, axis=0).ravel().tolist()
    assert memory_bits(Pair(turn_beats, window)) == 2 * window * 2


class Released(wiring.Component):
    """A mark gate that is released two cycles after a run's last beat."""

    def __init__(self, config: MarkGateConfig) -> None:
        self.gate = MarkGate(config)
        super().__init__({"i": In(self.gate.i.signature.flip()), "o": Out(self.gate.o.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.gate = gate = self.gate
        wiring.connect(m, wiring.flipped(self.i), gate.i)
        wiring.connect(m, gate.o, wiring.flipped(self.o))
        ended_q = Signal()
        m.d.sync += ended_q.eq(gate.ended & ~gate.release)
        m.d.comb += gate.release.eq(ended_q)
        return m


@pytest.mark.parametrize("weather", WEATHER)
def test_mark_gate(weather: dict[str, Any]) -> None:
    """Marks count in the last beat of a step only; without one a run ends with its last possible step."""
    beats, steps, lengths = 3, 4, [2, 4, 1, 4, 3]
    marked = [True, False, True, True, True]
    values = np.random.default_rng(1).integers(0, 4, sum(lengths) * beats).tolist()
    stimulus, ends = [], []
    for length, mark in zip(lengths, marked, strict=True):
        for beat_number in range(length * beats):
            last = beat_number == length * beats - 1
            ignored = beat_number % beats < beats - 1  # a mark where none counts
            stimulus.append(values[len(stimulus)] | ((last and mark) or ignored) << 2)
        ends.append(len(stimulus))
    dut = Released(MarkGateConfig(items=2, item_bits=1, beats=beats, steps=steps))
    sent, got, seen = run_streams(dut, stimulus, len(values), marks=dut.gate.release, **weather)
    assert [value for _, value in got] == values
    assert sent == [cycle for cycle, _ in got]  # latency 0
    assert [cycle for cycle, _ in seen["marks"]] == [sent[end - 1] + 2 for end in ends[:-1]]
    if not weather:
        assert [sent[end] for end in ends[:-1]] == [cycle + 1 for cycle, _ in seen["marks"]]
