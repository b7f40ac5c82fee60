"""One network for each system of the papers: golden model against a loop written here, Verilog against golden model.

Dynamics, codes, delays, readouts and connections are those of the papers (with constants that a layer shares, where
the paper has one for each axon); sizes are small, weights seeded and random, thresholds such that neurons do fire. The
loops use nothing of the package: plain integers, one step after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.cosim.simulate import simulate
from spikeloom.gen.build import build
from spikeloom.gen.fold import load_fold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.connections import Conv2d, Dense, Lateral, Sparse
from spikeloom.model.geometry import ConvGeometry, Pool
from spikeloom.model.inputs import BernoulliInput, LatencyInput, SpikeInput, StaticInput, random16
from spikeloom.model.network import Network, Population, Projection, Readout
from spikeloom.model.neurons.parts import DualExponential, Ramp, Trace
from spikeloom.model.neurons.types import Neuron
from spikeloom.model.numerics import Multiply, Shift

Raster = np.ndarray  # (T, neurons) of 0 and 1
Loop = Callable[[np.ndarray], tuple[list[Raster], int]]


@dataclass
class System:
    """A network, samples for it, and what it does with one of them: spikes of each population, and the class."""

    network: Network
    samples: np.ndarray
    loop: Loop
    fold: str = "balanced"


def weights(rng: np.random.Generator, *shape: int, bits: int = 4, mean: float = 0.1) -> np.ndarray:
    high = (1 << bits - 1) - 1
    return np.clip(np.round(rng.normal(mean * high, high / 2, shape)), -high, high).astype(int)


def convolved(x: np.ndarray, w: np.ndarray, stride: int = 1, padding: int = 0) -> np.ndarray:
    """Sums (M, H', W') of a map (C, H, W)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    size = w.shape[-1]
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:])
    out = np.zeros((len(w), rows, columns), int)
    for m in range(len(w)):
        for y in range(rows):
            for k in range(columns):
                out[m, y, k] = (w[m] * x[:, y * stride:y * stride + size, k * stride:k * stride + size]).sum()
    return out


def conv(shape: tuple[int, int, int], w: np.ndarray, bits: int = 4, stride: int = 1, padding: int = 0, groups: int = 1,
         bias: np.ndarray | None = None) -> Conv2d:
    geometry = ConvGeometry(input_shape=shape, channels=len(w), kernel=(w.shape[2], w.shape[3]), stride=stride,
                            padding=padding, groups=groups)
    return Conv2d(geometry=geometry, weight=w, weight_bits=bits, bias=bias)


def dense(w: np.ndarray, bits: int = 4, bias: np.ndarray | None = None) -> Dense:
    return Dense(weight=w, weight_bits=bits, bias=bias)


def chained(name: str, source: Any, parts: list[tuple[str, tuple[int, ...], Neuron, Any, Pool | None]], steps: int,
            readout: Readout, delay: int = 0, more: tuple[Projection, ...] = ()) -> Network:
    names = ["input", *(part[0] for part in parts)]
    return Network(
        name=name, input=source, steps=steps, readout=readout, output=names[-1],
        populations=tuple(Population(name=n, shape=shape, neuron=neuron) for n, shape, neuron, _, _ in parts),
        projections=(*(Projection(source=before, target=part[0], connection=part[3], pool=part[4], delay=delay)
                       for before, part in zip(names, parts, strict=False)), *more))


def images(rng: np.random.Generator, count: int, *shape: int) -> np.ndarray:
    return (rng.integers(0, 256, (count, *shape)) * (rng.random((count, *shape)) < 0.6)).astype(np.uint8)


def most(scores: np.ndarray) -> int:
    return int(np.argmax(scores))


# A: TSSL-BP. Constant current through a first-order synapse, sum pool, PSC readout, T = 5.

def tssl_bp() -> System:
    rng = np.random.default_rng(1)
    w1, w2, w3 = weights(rng, 3, 1, 3, 3), weights(rng, 12, 27, mean=0), weights(rng, 10, 12, mean=0)
    theta = (300, 90, 40)
    neurons = [Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([t]), fraction_bits=2) for t in theta]
    network = chained("tssl-bp", StaticInput(shape=(1, 8, 8), bits=4), [
        ("conv1", (3, 6, 6), neurons[0], conv((1, 8, 8), w1), None),
        ("hidden1", (12,), neurons[1], dense(w2), Pool("sum", 2)),
        ("out", (10,), neurons[2], dense(w3), None)], 5, Readout.psc_sum(5, Shift(1)))

    def loop(image: np.ndarray) -> tuple[list[Raster], int]:
        drive = convolved((image >> 4).astype(int), w1)
        J, U = [np.zeros(n, int) for n in (108, 12, 10)], [np.zeros(n, int) for n in (108, 12, 10)]
        out: list[list[np.ndarray]] = [[], [], []]
        for _ in range(5):
            x = drive.ravel()
            for k in range(3):
                J[k] = J[k] - (J[k] >> 1) + x * 4
                U[k] = U[k] - (U[k] >> 2) + J[k]
                s = (U[k] > theta[k]).astype(int)
                U[k] = np.where(s, 0, U[k])
                out[k].append(s)
                if k == 0:
                    x = w2 @ s.reshape(3, 3, 2, 3, 2).sum(axis=(2, 4)).ravel()
                elif k == 1:
                    x = w3 @ s
        trains = [np.array(o) for o in out]
        return trains, most(np.array([31, 30, 28, 24, 16]) @ trains[2])

    return System(network, images(rng, 12, 1, 8, 8), loop)


# B: HM2-BP. Delay 1 everywhere, refractory period 2, pools that are LIF neurons, lateral inhibition, Bernoulli input.

def _hm2_step(J: np.ndarray, U: np.ndarray, ref: np.ndarray, x: np.ndarray, theta: int) -> np.ndarray:
    U -= U >> 6
    J -= J >> 3
    J += x * 64
    U += J
    U[ref > 0] = 0
    ref[ref > 0] -= 1
    s = (theta < U).astype(int)
    ref[s > 0] = 2
    U[s > 0] = 0
    return s


def _hm2_neuron(theta: int) -> Neuron:
    return Neuron(synapse=Shift(3), membrane=Shift(6), threshold=np.array([theta]), fraction_bits=6, refractory_steps=2)


def hm2_bp() -> System:
    rng = np.random.default_rng(2)
    steps = 40
    w1, w2, w3 = weights(rng, 3, 1, 3, 3), weights(rng, 12, 27, mean=0.3), weights(rng, 10, 12, mean=0.4)
    theta = (1200, 900, 1500, 900)
    sizes = (108, 27, 12, 10)
    network = chained("hm2-bp", BernoulliInput(shape=(1, 8, 8), bits=8, rate=140, seed=5), [
        ("conv1", (3, 6, 6), _hm2_neuron(theta[0]), conv((1, 8, 8), w1), None),
        ("pool1", (3, 3, 3), _hm2_neuron(theta[1]), conv((3, 6, 6), np.ones((3, 1, 2, 2), int), 2, 2, groups=3), None),
        ("hidden1", (12,), _hm2_neuron(theta[2]), dense(w2), None),
        ("out", (10,), _hm2_neuron(theta[3]), dense(w3), None)], steps, Readout.count(), delay=1, more=(
            Projection(source="out", target="out", connection=Lateral(size=10, weight=-1, weight_bits=2), delay=1),))

    def loop(image: np.ndarray) -> tuple[list[Raster], int]:
        state = [[np.zeros(n, int) for n in sizes] for _ in range(3)]
        before = [np.zeros(n, int) for n in (64, *sizes)]
        out: list[list[np.ndarray]] = [[], [], [], []]
        for t in range(steps):
            drives = [convolved(before[0].reshape(1, 8, 8), w1).ravel(),
                      before[1].reshape(3, 3, 2, 3, 2).sum(axis=(2, 4)).ravel(), w2 @ before[2],
                      w3 @ before[3] - (before[4].sum() - before[4])]
            now = [np.array([int(random16(5, t, c) < 140 * int(image.flat[c])) for c in range(64)])]
            for k in range(4):
                now.append(_hm2_step(state[0][k], state[1][k], state[2][k], drives[k], theta[k]))
                out[k].append(now[-1])
            before = now
        trains = [np.array(o) for o in out]
        return trains, most(trains[3].sum(axis=0))

    return System(network, images(rng, 4, 1, 8, 8), loop)


# C: ST-RSBP. The same neuron, a reservoir with sparse recurrent synapses.

def st_rsbp() -> System:
    rng = np.random.default_rng(3)
    steps, sizes, theta = 30, (16, 24, 8, 5), (1600, 2000, 1500, 1200)
    w1, w2, w3, w4 = (weights(rng, b, a, mean=0.3) for a, b in ((20, 16), (16, 24), (24, 8), (8, 5)))
    target, source = np.nonzero(rng.random((24, 24)) < 0.15)
    r = weights(rng, len(target), mean=0.2)
    network = chained("st-rsbp", SpikeInput(shape=(20,)), [
        (name, (n,), _hm2_neuron(t), dense(w), None) for name, n, t, w in zip(
            ("hidden1", "reservoir", "hidden2", "out"), sizes, theta, (w1, w2, w3, w4), strict=True)],
        steps, Readout.count(), delay=1, more=(Projection(
            source="reservoir", target="reservoir", delay=1, connection=Sparse(
                inputs=24, outputs=24, source=source, target=target, weight=r, weight_bits=4)),))
    recurrent = np.zeros((24, 24), int)
    recurrent[target, source] = r

    def loop(raster: np.ndarray) -> tuple[list[Raster], int]:
        state = [[np.zeros(n, int) for n in sizes] for _ in range(3)]
        before = [np.zeros(n, int) for n in (20, *sizes)]
        out: list[list[np.ndarray]] = [[], [], [], []]
        for t in range(steps):
            drives = [w1 @ before[0], w2 @ before[1] + recurrent @ before[2], w3 @ before[2], w4 @ before[3]]
            now = [raster[t].astype(int)]
            for k in range(4):
                now.append(_hm2_step(state[0][k], state[1][k], state[2][k], drives[k], theta[k]))
                out[k].append(now[-1])
            before = now
        trains = [np.array(o) for o in out]
        return trains, most(trains[3].sum(axis=0))

    return System(network, (rng.random((6, steps, 20)) < 0.25).astype(np.uint8), loop)


# D: BASNN. Binary activations that forget everything in a step; and integration without leak, reset by subtraction.

def basnn_discontinuous() -> System:
    rng = np.random.default_rng(4)
    steps = 6
    w1, b1 = weights(rng, 4, 1, 3, 3), rng.integers(-3, 4, 4)
    w2, b2, w3, b3 = weights(rng, 12, 36), rng.integers(-4, 5, 12), weights(rng, 10, 12), rng.integers(-4, 5, 10)

    def neuron(theta: int) -> Neuron:
        return Neuron(membrane=Shift(0), threshold=np.array([theta]), compare=">=")

    network = chained("basnn-dc", BernoulliInput(shape=(1, 8, 8), bits=8, rate=257, seed=9), [
        ("conv1", (4, 6, 6), neuron(4), conv((1, 8, 8), w1, bias=b1), None),
        ("hidden1", (12,), neuron(5), dense(w2, bias=b2), Pool("or", 2)),
        ("out", (10,), neuron(0), dense(w3, bias=b3), None)], steps, Readout.count())

    def loop(image: np.ndarray) -> tuple[list[Raster], int]:
        out: list[list[np.ndarray]] = [[], [], []]
        for t in range(steps):
            s = np.array([int(random16(9, t, c) < 257 * int(image.flat[c])) for c in range(64)]).reshape(1, 8, 8)
            first = (convolved(s, w1) + b1[:, None, None] >= 4).astype(int)
            second = (w2 @ first.reshape(4, 3, 2, 3, 2).max(axis=(2, 4)).ravel() + b2 >= 5).astype(int)
            for k, x in enumerate((first.ravel(), second, (w3 @ second + b3 >= 0).astype(int))):
                out[k].append(x)
        trains = [np.array(o) for o in out]
        return trains, most(trains[2].sum(axis=0))

    return System(network, images(rng, 8, 1, 8, 8), loop)


def basnn_continuous() -> System:
    rng = np.random.default_rng(5)
    steps, theta, sizes = 16, 20, (24, 16, 11)
    w = [weights(rng, b, a, mean=0.1) for a, b in ((32, 24), (24, 16), (16, 11))]
    b = [rng.integers(-2, 4, n) for n in sizes]
    network = chained("basnn-ct", SpikeInput(shape=(32,)), [
        (f"layer{k}", (sizes[k],), Neuron(threshold=np.array([theta]), reset="subtract"), dense(w[k], bias=b[k]), None)
        for k in range(3)], steps, Readout.count())

    def loop(raster: np.ndarray) -> tuple[list[Raster], int]:
        V, last = [np.zeros(n, int) for n in sizes], [np.zeros(n, int) for n in sizes]
        out: list[list[np.ndarray]] = [[], [], []]
        for t in range(steps):
            x = raster[t].astype(int)
            for k in range(3):
                V[k] = V[k] + w[k] @ x + b[k] - theta * last[k]
                x = last[k] = (V[k] > theta).astype(int)
                out[k].append(x)
        trains = [np.array(o) for o in out]
        return trains, most(trains[2].sum(axis=0))

    return System(network, (rng.random((6, steps, 32)) < 0.2).astype(np.uint8), loop)


# E: SNN as IIR filters. Second-order synapses, a reset that is a decaying trace, bias; the answer is a raster.

def iir() -> System:
    rng = np.random.default_rng(6)
    steps, sizes, theta, amount = 40, (20, 12, 24), 100, 220
    p, q, r = 3190, 1507, 3190  # exp(-1/4), exp(-1), in 4096ths
    w = [weights(rng, b, a, mean=0.2) for a, b in ((24, 20), (20, 12), (12, 24))]
    b = [rng.integers(-2, 5, n) for n in sizes]
    network = chained("iir", SpikeInput(shape=(24,)), [
        (f"layer{k}", (sizes[k],), Neuron(
            synapse=DualExponential(fall=Multiply(p), rise=Multiply(q)), membrane=Shift(0), fraction_bits=4,
            threshold=np.array([theta]), reset=Trace(decay=Multiply(r), amount=amount)), dense(w[k], bias=b[k]), None)
        for k in range(3)], steps, Readout(kind="raster"))

    def loop(raster: np.ndarray) -> tuple[list[Raster], int]:
        slow, fast, R = ([np.zeros(n, int) for n in sizes] for _ in range(3))
        out: list[list[np.ndarray]] = [[], [], []]
        for t in range(steps):
            x = raster[t].astype(int)
            for k in range(3):
                drive = 16 * (w[k] @ x + b[k])
                slow[k], fast[k] = (slow[k] + drive) * p >> 12, (fast[k] + drive) * q >> 12
                x = (slow[k] - fast[k] - R[k] > theta).astype(int)
                R[k] = (R[k] * r >> 12) + amount * x
                out[k].append(x)
        return [np.array(o) for o in out], 0

    return System(network, (rng.random((4, steps, 24)) < 0.2).astype(np.uint8), loop)


# F: sparse SNN. LIF neurons behind synapses of which most are pruned.

def sparse() -> System:
    rng = np.random.default_rng(7)
    steps, sizes, theta = 12, (32, 24, 10), 24
    w = [weights(rng, b, a, mean=0.6) * (rng.random((b, a)) < 0.15) for a, b in ((40, 32), (32, 24), (24, 10))]

    def connection(matrix: np.ndarray) -> Sparse:
        target, source = np.nonzero(matrix)
        return Sparse(inputs=matrix.shape[1], outputs=matrix.shape[0], source=source, target=target,
                      weight=matrix[target, source], weight_bits=4)

    network = chained("sparse", SpikeInput(shape=(40,)), [
        (f"layer{k}", (sizes[k],), Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([theta]),
                                          fraction_bits=2), connection(w[k]), None) for k in range(3)],
        steps, Readout.count())

    def loop(raster: np.ndarray) -> tuple[list[Raster], int]:
        J, U = [np.zeros(n, int) for n in sizes], [np.zeros(n, int) for n in sizes]
        out: list[list[np.ndarray]] = [[], [], []]
        for t in range(steps):
            x = raster[t].astype(int)
            for k in range(3):
                J[k] = J[k] - (J[k] >> 1) + 4 * (w[k] @ x)
                U[k] = U[k] - (U[k] >> 2) + J[k]
                x = (U[k] > theta).astype(int)
                U[k] *= 1 - x
                out[k].append(x)
        trains = [np.array(o) for o in out]
        return trains, most(trains[2].sum(axis=0))

    return System(network, (rng.random((6, steps, 40)) < 0.3).astype(np.uint8), loop)


# G: proxy learning. Integrate and fire on a constant current, >=, OR pools, a bias in every step (folded batch norm).

def proxy() -> System:
    rng = np.random.default_rng(8)
    steps, theta = 15, (40, 12, 10)
    w1, b1, w2, b2 = weights(rng, 3, 1, 3, 3), rng.integers(-9, 10, 3), weights(rng, 12, 48), rng.integers(-2, 3, 12)
    w3 = weights(rng, 10, 12, mean=0.3)
    network = chained("proxy", StaticInput(shape=(1, 8, 8), bits=4), [
        ("conv1", (3, 8, 8), Neuron(threshold=np.array([theta[0]]), compare=">="),
         conv((1, 8, 8), w1, padding=1, bias=b1), None),
        ("hidden1", (12,), Neuron(threshold=np.array([theta[1]]), compare=">="), dense(w2, bias=b2), Pool("or", 2)),
        ("out", (10,), Neuron(threshold=np.array([theta[2]]), compare=">="), dense(w3), None)], steps, Readout.count())

    def loop(image: np.ndarray) -> tuple[list[Raster], int]:
        drive = convolved((image >> 4).astype(int), w1, padding=1) + b1[:, None, None]
        V = [np.zeros(n, int) for n in (192, 12, 10)]
        out: list[list[np.ndarray]] = [[], [], []]
        for _ in range(steps):
            x = drive.ravel()
            for k in range(3):
                V[k] = V[k] + x
                s = (V[k] >= theta[k]).astype(int)
                V[k] = V[k] * (1 - s)
                out[k].append(s)
                if k == 0:
                    x = w2 @ s.reshape(3, 4, 2, 4, 2).max(axis=(2, 4)).ravel() + b2
                elif k == 1:
                    x = w3 @ s
        trains = [np.array(o) for o in out]
        return trains, most(trains[2].sum(axis=0))

    return System(network, images(rng, 8, 1, 8, 8), loop)


# H: STiDi-BP. Time to first spike, ramps, weights of one bit, pools that keep the first spike, early exit.

def stidi() -> System:
    rng = np.random.default_rng(9)
    steps, length, theta = 20, 6, (10, 0, 40, 25)
    w1, w2, w3 = (rng.choice([-1, 1], s, p=[0.4, 0.6]) for s in ((4, 1, 3, 3), (12, 36), (10, 12)))

    def ramp(limit: int) -> Neuron:
        return Neuron(synapse=Ramp(taps=((0, 1), (length, -1))), threshold=np.array([limit]), reset="none", once=True)

    network = chained("stidi", LatencyInput(shape=(1, 8, 8), bits=4, silent_zero=True), [
        ("conv1", (4, 6, 6), ramp(theta[0]), conv((1, 8, 8), w1, 1), None),
        ("pool1", (4, 3, 3), Neuron(membrane=Shift(0), threshold=np.array([0]), reset="none", once=True),
         conv((4, 6, 6), np.ones((4, 1, 2, 2), int), 1, 2, groups=4), None),
        ("hidden1", (12,), ramp(theta[2]), dense(w2, 1), None),
        ("out", (10,), ramp(theta[3]), dense(w3, 1), None)], steps, Readout(kind="first_spike", early_exit=True))

    def loop(image: np.ndarray) -> tuple[list[Raster], int]:
        when = 15 - (image.astype(int) >> 4).ravel()
        sizes = (144, 36, 12, 10)
        slope, V, fired = ([np.zeros(n, int) for n in sizes] for _ in range(3))
        history: list[list[np.ndarray]] = [[], [], [], []]
        out: list[list[np.ndarray]] = [[], [], [], []]
        for t in range(steps):
            s = ((when == t) & (image.ravel() >> 4 > 0)).astype(int)
            x = convolved(s.reshape(1, 8, 8), w1).ravel()
            for k in range(4):
                if k == 1:
                    s = (x > 0) & (fired[k] == 0)
                else:
                    history[k].append(x)
                    slope[k] = slope[k] + x - (history[k][t - length] if t >= length else 0)
                    V[k] = V[k] + slope[k]
                    s = (V[k] > theta[k]) & (fired[k] == 0)
                fired[k] |= s
                out[k].append(s.astype(int))
                if k == 0:
                    x = s.reshape(4, 3, 2, 3, 2).sum(axis=(2, 4)).ravel()
                elif k < 3:
                    x = (w2, w3)[k - 1] @ s
        trains = [np.array(o) for o in out]
        first = np.where(trains[3].any(axis=0), trains[3].argmax(axis=0), steps)
        return trains, int(np.argmin(first))

    return System(network, images(rng, 12, 1, 8, 8), loop)


# I: BS4NN. Time to first spike in 256 steps, counters of -1 and +1, delay 1, the earliest output decides.

def bs4nn() -> System:
    rng = np.random.default_rng(10)
    steps, theta = 256, (6, 4)
    w1, w2 = (rng.choice([-1, 1], s, p=[0.4, 0.6]) for s in ((24, 64), (10, 24)))
    neurons = [Neuron(threshold=np.array([t]), reset="none", once=True) for t in theta]
    network = Network(
        name="bs4nn", input=LatencyInput(shape=(8, 8), bits=8), steps=steps, output="out",
        readout=Readout(kind="first_spike", ties="membrane", early_exit=True),
        populations=(Population(name="hidden1", shape=(24,), neuron=neurons[0]),
                     Population(name="out", shape=(10,), neuron=neurons[1])),
        projections=(Projection(source="input", target="hidden1", connection=dense(w1, 1)),
                     Projection(source="hidden1", target="out", connection=dense(w2, 1), delay=1)))

    def loop(image: np.ndarray) -> tuple[list[Raster], int]:
        when = 255 - image.astype(int).ravel()
        V, W = np.zeros(24, int), np.zeros(10, int)
        first, last = np.zeros(24, int), np.zeros(10, int)
        before = np.zeros(24, int)
        trains = [np.zeros((steps, 24), int), np.zeros((steps, 10), int)]
        decided = None
        for t in range(steps):
            V = V + w1 @ (when == t).astype(int)
            W = W + w2 @ before
            s, o = (theta[0] < V) & (first == 0), (theta[1] < W) & (last == 0)
            first |= s
            last |= o
            trains[0][t], trains[1][t] = s, o
            before = s.astype(int)
            if decided is None and o.any():
                decided = max(np.flatnonzero(o).tolist(), key=lambda n: (W[n], -n))
        return trains, most(W) if decided is None else decided

    return System(network, images(rng, 6, 8, 8), loop, fold="step by step")


SYSTEMS = {
    "A TSSL-BP": tssl_bp, "B HM2-BP": hm2_bp, "C ST-RSBP": st_rsbp, "D BASNN, discontinuous": basnn_discontinuous,
    "D BASNN, continuous": basnn_continuous, "E IIR": iir, "F sparse": sparse, "G proxy": proxy, "H STiDi-BP": stidi,
    "I BS4NN": bs4nn}


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> System:
    return SYSTEMS[request.param]()


def test_golden_model_and_loop(system: System) -> None:
    result = golden.run(system.network, system.samples)
    names = [layer.name for layer in system.network.layers]
    order = [names.index(population.name) for population in system.network.populations]
    for n, sample in enumerate(system.samples):
        trains, decided = system.loop(sample)
        for place, train in zip(order, trains, strict=True):
            np.testing.assert_array_equal(result.spikes[place][n].astype(int), train, err_msg=names[place])
        assert result.classes[n] == decided
    # Neither silent nor always on, or nothing would have been compared.
    for spikes, layer in zip(result.spikes, system.network.layers, strict=True):
        assert 0.001 < spikes.mean() < 0.9, f"{layer.name}: {spikes.mean():.3f}"


def test_verilog_and_golden_model(system: System, tmp_path: Path) -> None:
    network = system.network
    fold = load_fold("balanced", network)
    if system.fold == "step by step":
        fold = replace(fold, window_steps=1)
    build(make_plan(network, fold), tmp_path / "build")
    result = simulate(tmp_path / "build", system.samples)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)
    stream = simulate(tmp_path / "build", system.samples, mode="stream", input_gap=0.2, output_stall=0.3,
                      reset_cycles=(100, 1777))
    assert (stream.first_mismatch, stream.mismatches) == (None, 0)
