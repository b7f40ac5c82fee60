"""Samples whose runs are of different length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.networks import marked, random_graph

from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.network_file import load_network, save_network
from spikeloom.model.samples import NO_STEP, checked_samples, of_lengths, run_lengths


def marked_graph(seed: int, keep: bool = False) -> Network:
    """A random graph of several layers and steps."""
    rng = np.random.default_rng([seed, 5])
    while True:
        network = marked(random_graph, keep)(rng)
        if network.steps > 2 and len(network.layers) > 1:
            return network


def runs_of(network: Network, seed: int) -> list[npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    return [rng.random((length, *network.input.shape)) < 0.5 for length in rng.integers(1, network.steps + 1, 6)]


def test_lengths() -> None:
    network = marked_graph(0)
    runs = runs_of(network, 1)
    samples = of_lengths(runs, network.steps)
    assert samples.shape == (6, network.steps, *network.input.shape)
    assert run_lengths(network, samples).tolist() == [len(run) for run in runs]
    clean = checked_samples(network, samples)
    for got, run in zip(clean, runs, strict=True):
        np.testing.assert_array_equal(got[:len(run)], run.reshape(len(run), -1))
        assert not got[len(run):].any()
    assert samples.max() == NO_STEP, "the caller's array is left alone"
    fixed = replace(network, length="fixed")
    full = np.zeros((2, network.steps, *network.input.shape), np.uint8)
    assert run_lengths(fixed, full).tolist() == [network.steps] * 2


@pytest.mark.parametrize("seed", range(12))
def test_a_marked_run_is_a_run_of_that_length(seed: int) -> None:
    network = marked_graph(seed)
    runs = runs_of(network, seed)
    got = golden.run(network, of_lengths(runs, network.steps))
    for n, run in enumerate(runs):
        readout = network.readout
        alone = golden.run(replace(network, length="fixed", steps=len(run), readout=readout), run[None])
        for one, all_ in zip(alone.spikes, got.spikes, strict=True):
            np.testing.assert_array_equal(one[0], all_[n, :len(run)])
            assert not all_[n, len(run):].any()
        assert got.classes[n] == alone.classes[0]
        assert got.last_steps[n] == len(run) - 1
        if readout.needs_potential:
            np.testing.assert_array_equal(got.potentials[n], alone.potentials[0])


@pytest.mark.parametrize("seed", range(8))
def test_pieces_of_any_length_are_one_stream(seed: int) -> None:
    network = marked_graph(seed, keep=True)
    runs = runs_of(network, seed)
    got = golden.run(network, of_lengths(runs, network.steps))
    stream = np.concatenate(runs)[None]
    whole = golden.run(replace(network, length="fixed", state="clear", steps=stream.shape[1]), stream)
    edges = np.cumsum([0, *map(len, runs)])
    for one, pieces in zip(whole.spikes, got.spikes, strict=True):
        for n, run in enumerate(runs):
            np.testing.assert_array_equal(one[0, edges[n]:edges[n + 1]], pieces[n, :len(run)])
    if network.readout.needs_potential:
        np.testing.assert_array_equal(whole.potentials[0], got.potentials[-1])


def test_in_a_file(tmp_path: Path) -> None:
    network = marked_graph(3)
    save_network(network, tmp_path / "n.snn")
    assert load_network(tmp_path / "n.snn").hash == network.hash != replace(network, length="fixed").hash


NETWORK = marked_graph(0)
SHAPE = NETWORK.input.shape
T = NETWORK.steps


def broken(change: Callable[[npt.NDArray[np.uint8]], None]) -> npt.NDArray[np.uint8]:
    samples = of_lengths([np.zeros((2, *SHAPE))], T)
    change(samples)
    return samples


@pytest.mark.parametrize(("call", "message"), [
    (lambda: checked_samples(NETWORK, broken(lambda s: s.fill(NO_STEP))), "255 must fill all steps behind the end"),
    (lambda: checked_samples(NETWORK, broken(lambda s: s[0, 0].fill(NO_STEP))), "255 must fill all steps behind the"),
    (lambda: checked_samples(NETWORK, broken(lambda s: s[0, 1].ravel()[-1:].fill(NO_STEP))), "and stand nowhere else"),
    (lambda: checked_samples(NETWORK, broken(lambda s: s[0, 0].fill(2))), "spikes must be 0 or 1, not 2"),
    (lambda: checked_samples(replace(NETWORK, length="fixed"), broken(lambda s: None)), "must be 0 or 1, not 255"),
    (lambda: of_lengths([], 3), "runs must not be empty"),
    (lambda: of_lengths([np.zeros((4, 2))], 3), r"runs[0] must be spikes of shape (1..3, 2), not (4, 2)"),
    (lambda: of_lengths([np.zeros((2, 2)), np.zeros((0, 2))], 3), r"runs[1] must be spikes of shape (1..3, 2)"),
    (lambda: of_lengths([np.zeros((2, 2))], 0), "steps must be an integer above 0, not 0"),
])
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpikeloomError) as caught:
        call()
    assert message in str(caught.value)
