"""Post-training quantisation: a float network becomes integers, its scales folded into the thresholds.

With weights ``w ~ scale * q`` and pixels ``x = step * (v - zero_point)``, the drive of integers ``q v`` is
the float one divided by ``scale * step``; so is the threshold. The pixels' zero point becomes a bias,
``-zero_point * sum_j q_j``, exactly.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import float_network, golden
from .errors import SpikeloomError
from .float_network import FloatLayer, FloatNetwork
from .network import (
    ALLOWED_WEIGHT_BITS,
    Conv2d,
    Dense,
    Layer,
    Network,
    Neuron,
    Readout,
    StaticInput,
    weight_range,
)
from .neurons.intervals import MAX_BITS
from .numerics import decay_for_tau
from .system.arguments import an, array, choice, whole

__all__ = ["Granularity", "mse_scale", "quantize", "round_weight"]

Granularity = Literal["layer", "channel"]
Array = npt.NDArray[np.float64]

_CANDIDATES = np.linspace(1.0, 0.1, 91)  # of the scale at which nothing clips


def round_weight(weight: npt.NDArray[np.floating[Any]], scale: float | Array, bits: int) -> npt.NDArray[np.int64]:
    """Integers nearest to ``weight / scale`` that ``bits`` bits hold (1 bit: the sign, -1 or +1)."""
    ratio = np.asarray(weight, np.float64) / scale
    if bits == 1:
        return np.where(ratio < 0, -1, 1)
    return np.clip(np.rint(ratio), *weight_range(bits)).astype(np.int64)


def mse_scale(weight: npt.NDArray[np.floating[Any]], bits: int, granularity: Granularity) -> Array:
    """Scales of least squared rounding error, one per output ("channel") or one ("layer").

    Parameters
    ----------
    weight : float array (outputs, ...)
    bits : int
    granularity : "layer" or "channel"

    Returns
    -------
    float64 array (outputs,) or (1,)
        Above 0.
    """
    rows = np.asarray(weight, np.float64).reshape(len(weight) if granularity == "channel" else 1, -1)
    largest: Array = np.abs(rows).max(axis=1)
    largest[largest == 0] = 1.0  # a row of zeros is exact at any scale
    if bits == 1:
        mean = np.abs(rows).mean(axis=1)
        return np.where(mean > 0, mean, 1.0)
    full: Array = largest / weight_range(bits)[1]
    best, least = full, np.full(len(rows), np.inf)
    for fraction in _CANDIDATES:
        scale = full * fraction
        error = np.square(round_weight(rows, scale[:, None], bits) * scale[:, None] - rows).sum(axis=1)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def quantize(network: FloatNetwork, *, weight_bits: int, granularity: Granularity = "channel", fraction_bits: int = 4,
             input_bits: int = 4, calibration: npt.NDArray[np.uint8] | None = None) -> Network:
    """Quantise a float network without training it further.

    Parameters
    ----------
    network : FloatNetwork
    weight_bits : int
        1..8 or 16.
    granularity : "channel" or "layer"
        One scale, and so one threshold, per output neuron or per layer.
    fraction_bits : int
        0..16: fractional bits of the states.
    input_bits : int
        1..8: bits of a pixel; ``p`` in 0..255 enters as ``p >> (8 - input_bits)``.
    calibration : uint8 array (N, *shape), optional
        Some hundreds of images. Of several scales around that of least squared error, those are taken
        whose integer neurons' spikes are nearest to the float neurons'; layer after layer, so that later
        layers see the errors of the earlier ones. Without images: least squared error.

    Returns
    -------
    Network
        For :mod:`.golden` and the generator; ``network.metadata["quantization"]`` says how it was made.

    Raises
    ------
    SpikeloomError
        If an option is out of range, or the images or the network's states do not fit.
    """
    an(FloatNetwork, network, "quantize: network")
    choice(weight_bits, "quantize: weight_bits", ALLOWED_WEIGHT_BITS)
    choice(granularity, "quantize: granularity", ("layer", "channel"))
    whole(fraction_bits, "quantize: fraction_bits", 0, 16)
    inp = StaticInput(shape=network.shape, bits=input_bits)
    levels = (1 << inp.bits) - 1
    wanted = None
    if calibration is not None:
        calibration = array(calibration, "quantize: calibration")
        if calibration.size == 0:
            raise SpikeloomError("quantize: calibration must not be empty")
        wanted = float_network.run(network, calibration).spikes

    def integer(layers: list[Layer]) -> Network:
        how = {"weight_bits": weight_bits, "granularity": granularity,
               "calibration_images": 0 if calibration is None else len(calibration)}
        synapse = decay_for_tau(network.layers[len(layers) - 1].tau_s)
        return Network.chain(name=network.name, input=inp, layers=tuple(layers), steps=network.steps,
                       readout=Readout.psc_sum(network.steps, synapse),
                       metadata={**network.metadata, "quantization": how})

    done: list[Layer] = []
    for index, layer in enumerate(network.layers):
        # One step of the input in float units, and where its zero lies.
        unit, zero = (1 / (levels * network.std), network.mean * levels) if index == 0 else (1.0, 0.0)
        unit *= layer.pool_gain
        scale = mse_scale(layer.weight, weight_bits, granularity)
        if wanted is not None and calibration is not None:
            errors = []
            for factor in _TRIALS:
                tried = integer([*done, _integer_layer(layer, scale * factor, weight_bits, fraction_bits, unit, zero)])
                spikes = golden.run(tried, calibration).spikes[-1]
                wrong_spikes = (spikes != wanted[index]).sum(axis=(0, 1))  # per neuron: they do not interact
                errors.append(wrong_spikes.reshape(len(layer.weight), -1).sum(axis=1))
            wrong = np.array(errors) if granularity == "channel" else np.sum(errors, axis=1)[:, None]
            scale = scale * _TRIALS[wrong.argmin(axis=0)]
        done.append(_integer_layer(layer, scale, weight_bits, fraction_bits, unit, zero))
    return integer(done)


_TRIALS = np.array([1.0, 0.94, 1.06, 0.88, 1.13, 0.8, 1.22, 0.7, 1.35])  # the first of equals wins


def _integer_layer(layer: FloatLayer, scale: Array, bits: int, fraction_bits: int, unit: float, zero: float) -> Layer:
    """The layer with these scales; ``unit`` and ``zero`` are step and (fractional) zero point of its input."""
    weight = round_weight(layer.weight, scale.reshape(-1, *[1] * (layer.weight.ndim - 1)), bits)
    drive = scale * unit  # one weight LSB of drive in float units
    if not (np.isfinite(drive) & (drive > 0)).all():
        raise SpikeloomError(f"layer {layer.name}: weights of {np.abs(layer.weight).max():g} at most, with a step of "
                             f"the input of {unit:g}, are beyond what floats scale")
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias / drive
    zero *= 1 if layer.pool is None else layer.pool.largest
    # Of the rounded weights, not of the float ones: then their errors weigh pixels around the mean, not around black.
    geometry = layer.geometry
    if geometry is not None and geometry.padding and zero:  # the border sees fewer pixels
        seen = geometry.correlate(np.ones((1, *geometry.input_shape)), weight.astype(np.float64))[0]
        offsets = _integers(layer, "bias", bias[:, None, None] - zero * seen)
    else:
        offsets = _integers(layer, "bias", bias - zero * weight.reshape(len(weight), -1).sum(axis=1))
    threshold = _integers(layer, "threshold", layer.tau_s * layer.theta / drive * 2**fraction_bits)
    offset = offsets if offsets.any() else None
    try:
        return Layer(
            name=layer.name, pool=layer.pool,
            connection=(Dense(weight=weight, weight_bits=bits, bias=offset) if geometry is None
                        else Conv2d(geometry=geometry, weight=weight, weight_bits=bits, bias=offset)),
            neuron=Neuron(synapse=decay_for_tau(layer.tau_s), membrane=decay_for_tau(layer.tau_m),
                          threshold=threshold,
                          fraction_bits=fraction_bits))
    except SpikeloomError as error:
        raise SpikeloomError(f"layer {layer.name}: {error}") from error


def _integers(layer: FloatLayer, what: str, values: Array) -> npt.NDArray[np.int64]:
    """Rounded values; raises :class:`.SpikeloomError` if one is beyond what a network may hold."""
    largest = float(np.abs(values).max())
    if not largest < 1 << MAX_BITS:
        raise SpikeloomError(f"layer {layer.name}: {what} becomes {largest:g} weight steps, allowed are less than "
                             f"2**{MAX_BITS}: theta, bias, mean or std are too large for the weights")
    return np.rint(values).astype(np.int64)
