from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.numerics import Multiply, Shift, decay_for_tau, signed_bits, unsigned_bits

STATES = st.integers(-(1 << 47), (1 << 47) - 1)


@given(x=STATES, k=st.integers(0, 15))
def test_shift_subtracts_the_floor_of_a_power_of_two(x: int, k: int) -> None:
    assert Shift(k)(x) == x - math.floor(x / 2**k)  # exact: 48 bits fit a double


@given(x=STATES, c=st.integers(0, 4096))
def test_multiply_rounds_to_minus_infinity(x: int, c: int) -> None:
    y = Multiply(c)(x)
    assert 4096 * y <= x * c < 4096 * (y + 1)


def test_rounding_of_small_values() -> None:
    assert [Shift(1)(x) for x in (-3, -2, -1, 0, 1, 2, 3)] == [-1, -1, 0, 0, 1, 1, 2]
    assert [Multiply(2048)(x) for x in (-3, -2, -1, 0, 1, 2, 3)] == [-2, -1, -1, 0, 0, 1, 1]


@pytest.mark.parametrize("decay", [Shift(0), Shift(3), Multiply(0), Multiply(3277), Multiply(4096)])
def test_arrays_decay_as_integers_do(decay: Shift | Multiply) -> None:
    x = np.arange(-300, 300, dtype=np.int64)
    assert decay(x).tolist() == [decay(int(v)) for v in x]
    assert decay(x).dtype == np.int64


@pytest.mark.parametrize("decay", [Shift(0), Shift(1), Shift(4), Multiply(1), Multiply(2731), Multiply(4096)])
def test_decay_is_monotone(decay: Shift | Multiply) -> None:
    # The proof of the widths stands on this.
    assert (np.diff(decay(np.arange(-5000, 5000))) >= 0).all()


@pytest.mark.parametrize("k", [-1, 16, 1.0, "2", None])
def test_shift_out_of_range(k: object) -> None:
    with pytest.raises(SpikeloomError, match=r"decay shift k must be in 0\.\.15, not "):
        Shift(k)  # type: ignore[arg-type]


@pytest.mark.parametrize("c", [-1, 4097, 0.5, "2", None])
def test_multiply_out_of_range(c: object) -> None:
    with pytest.raises(SpikeloomError, match=r"decay factor c must be in 0\.\.4096, not "):
        Multiply(c)  # type: ignore[arg-type]


def test_time_constants() -> None:
    assert Shift(3).tau_steps == 8
    assert Multiply(3072).tau_steps == 4
    assert Multiply(4096).tau_steps == math.inf


@pytest.mark.parametrize(("tau", "decay"), [
    (1, Shift(0)), (2, Shift(1)), (4.0, Shift(2)), (16384, Shift(14)),
    (3, Multiply(2731)), (5, Multiply(3277)), (1.5, Multiply(1365))])
def test_decay_for_tau(tau: float, decay: Shift | Multiply) -> None:
    assert decay_for_tau(tau) == decay


@given(st.floats(1, 100))
def test_decay_for_tau_is_close(tau: float) -> None:
    assert 1 / decay_for_tau(tau).tau_steps == pytest.approx(1 / tau, abs=0.5 / 4096 + 1e-12)


@pytest.mark.parametrize("tau", [0, -1, 0.99, 32768, math.inf, -math.inf, math.nan])
def test_no_such_time_constant(tau: float) -> None:
    with pytest.raises(SpikeloomError, match=r"time constant tau in steps must be a number in 1\.\.32767, not"):
        decay_for_tau(tau)


def test_signed_bits_by_trying_every_width() -> None:
    for low in range(-17, 18):
        for high in range(low, 18):
            fits = [b for b in range(1, 8) if -(1 << b - 1) <= low and high < 1 << b - 1]
            assert signed_bits(low, high) == fits[0], (low, high)


def test_unsigned_bits() -> None:
    assert [unsigned_bits(n) for n in (0, 1, 2, 3, 4, 255, 256)] == [1, 1, 2, 2, 3, 8, 9]
