"""What a training is told: every setting once, with its default, what is allowed and what it means.

The command's options, the keys of its configuration file and the table of docs/training.md are made from the fields
here, so that they cannot drift apart. Needs no PyTorch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt

from .errors import SpikeloomError
from .network import ALLOWED_WEIGHT_BITS, MAX_STEPS, NETWORK_NAME
from .system.arguments import choice, real, short, whole

__all__ = ["LEAST_STEPS", "RatesConfig", "Setting", "TeacherConfig", "TrainConfig", "config_for", "settings"]

LEAST_STEPS = 3000  # of the optimiser: fewer leave a network like ours undertrained
SMALLEST_BATCH = 20
MOST_VALIDATION = 5000

_TINY, _HUGE = 1e-38, 1e38  # what float32 holds
_LARGEST_SEED = (1 << 32) - 1


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes
    ----------
    name : str
    default : Any
    help : str
    kind : "integer", "number", "flag", "choice" or "text"
    allowed : str
    follows_data : str
        What the default is when nobody says, where the data decide that; else empty.
    check : callable (value, what), optional
        Gives the value, or raises :class:`.SpikeloomError`.
    choices : tuple of str
    """

    name: str
    default: Any
    help: str
    kind: str
    allowed: str
    follows_data: str
    check: Callable[[Any, str], Any]
    choices: tuple[str, ...] = ()


def _setting(default: Any, text: str, kind: str, allowed: str, check: Callable[[Any, str], Any], data: str = "",
             choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": text, "kind": kind, "allowed": allowed, "check": check,
                                            "follows_data": data, "choices": choices})


def _integer(default: int, low: int, high: int, text: str, data: str = "") -> Any:
    return _setting(default, text, "integer", f"{low}..{high}", lambda v, what: whole(v, what, low, high), data)


def _number(default: float, low: float, high: float, allowed: str, text: str, data: str = "") -> Any:
    def check(value: Any, what: str) -> float:
        try:
            return real(value, what, low, high)
        except SpikeloomError:
            raise SpikeloomError(f"{what} must be {allowed}, not {short(value)}") from None
    return _setting(default, text, "number", allowed, check, data)


def _fraction(default: float, text: str) -> Any:
    return _number(default, 0, math.nextafter(1, 0), "in 0..1, 1 excluded", text)


def _positive(default: float, text: str, data: str = "") -> Any:
    return _number(default, _TINY, _HUGE, "a number above 0", text, data)


def _flag(default: bool, text: str) -> Any:
    return _setting(default, text, "flag", "true or false", lambda v, what: choice(v, what, (True, False)))


def _one_of(default: str, names: tuple[str, ...], text: str) -> Any:
    return _setting(default, text, "choice", " or ".join(names), lambda v, what: choice(v, what, names), choices=names)


def _weight_bits(value: Any, what: str) -> Any:
    return choice(value, what, (None, *ALLOWED_WEIGHT_BITS))


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not NETWORK_NAME.fullmatch(value):
        raise SpikeloomError(f"{what} must be letters, digits, '_', '.' or '-', not {short(value)}")
    return value


def _hidden(value: Any, what: str) -> str:
    if (not isinstance(value, str) or len(value) > 1000 or any(len(n) > 6 for n in re.findall(r"\d+", value))):
        raise SpikeloomError(f"{what} must be a topology such as '400-400', of layers below 1,000,000 neurons, not "
                             f"{short(value)}")
    return value


class _Settings:
    """Checks of every field, by its setting."""

    def __post_init__(self) -> None:
        for one in settings(type(self)):
            value = one.check(getattr(self, one.name), f"training: {one.name}")
            object.__setattr__(self, one.name, value)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(_Settings):
    """Everything that determines a training, but the data: each field's ``metadata`` says what it means.

    Raises
    ------
    SpikeloomError
        If a value is out of range; the message names the field.
    """

    name: str = _setting("network", "Of the network.", "text", "letters, digits, '_', '.' or '-'", _name)
    hidden: str = _setting(
        "400-400", "Layers between input and classes, e.g. 400-400 or 15C5-P2-40C5-P2-300 (C: convolution, D: "
        "depthwise, P, A, O: sum, average and OR pool; s: stride, p: padding).", "text", "layers of the notation of "
        "model/topology.py", _hidden)
    classes: int = _integer(10, 1, 1 << 16, "Of the labels.", "as many as the data have")
    steps: int = _integer(5, 1, MAX_STEPS, "Time steps T.")
    tau_m: float = _number(4.0, 1, (1 << 15) - 1, "in 1..32767 steps", "Membrane time constant in steps; powers of "
                           "two become shifts.")
    tau_s: float = _number(2.0, 1, (1 << 15) - 1, "in 1..32767 steps", "Synapse time constant in steps.")
    mean: float = _number(0.1307, -_HUGE, _HUGE, "finite", "A pixel p in 0..255 enters as (p / 255 - mean) / std.",
                          "the training images' mean")
    std: float = _positive(0.3081, "See mean.", "the training images' standard deviation")
    weight_bits: int | None = _setting(
        4, "Bits of a weight; none (on the command line 0) trains a float network.", "integer", "1..8, 16 or none",
        _weight_bits)
    granularity: Literal["channel", "layer"] = _one_of(
        "channel", ("channel", "layer"), "One weight scale and threshold per neuron or channel, or per layer.")
    symmetric: bool = _flag(False, "Leave out the most negative weight: with 2 bits, ternary weights; quantised "
                            "training only.")
    fraction_bits: int = _integer(4, 0, 16, "Fractional bits of the states; quantised training only.")
    input_bits: int = _integer(4, 1, 8, "Bits of a pixel; quantised training only.")
    bias: bool = _flag(True, "Train biases.")
    gradient: Literal["tssl", "surrogate"] = _one_of(
        "tssl", ("tssl", "surrogate"), "TSSL-BP's, or a surrogate slope back through time.")
    loss: Literal["mse", "softmax", "kernel", "count"] = _one_of(
        "mse", ("mse", "softmax", "kernel", "count"), "Of the output neurons' PSC sums, or PSCs (kernel).")
    label_smoothing: float = _fraction(0.05, "Softmax loss: smoothing of the target.")
    gain: float = _positive(2.0, "Softmax loss: factor on the PSC sums.")
    ties: Literal["lowest_index", "membrane"] = _one_of(
        "lowest_index", ("lowest_index", "membrane"),
        "The readout's rule for equal scores. With membrane the output layer has one weight scale for all neurons, so "
        "that their potentials are comparable, and the softmax and mse losses see the potentials.")
    potential_gain: float = _number(
        0.5, 0, _HUGE, "at least 0", "Softmax and mse loss with ties by membrane: what is added to a PSC sum for a "
        "last potential at the threshold, or taken off for one as far below 0. What lies further out adds no more: "
        "else nobody would need to spike.")
    wanted: float = _number(2.5, -_HUGE, _HUGE, "finite", "Count and mse loss: PSC sum of the label.")
    unwanted: float = _number(0.0, -_HUGE, _HUGE, "finite", "Count loss: PSC sum of the other classes.")
    distill: float = _number(0.0, 0, 1, "in 0..1", "Softmax and mse loss: weight of the teacher's probabilities "
                             "against the label.")
    activity: float = _number(0.0, 0, _HUGE, "at least 0", "Added to the loss per spike of a hidden neuron, mean over "
                              "the samples: fewer spikes, fewer cycles.")
    sparsity: float = _fraction(0.0, "Share of the weights of hidden dense layers that become 0, those nearest to it, "
                                "in the first half of the epochs: for a fold with sparse rows.")
    sparsity_lanes: int = _integer(1, 1, 1 << 16, "Lanes of that fold: of each input, each lane keeps as many weights.")
    epochs: int = _integer(30, 0, 1_000_000, "Times that all images are shown. With 0 what the training starts from is "
                           "exported as it is, but for the readout and the scales.",
                           f"30, or as many as make {LEAST_STEPS:,} steps")
    batch: int = _integer(100, 1, 1 << 20, "Images a step.", f"100, of few images a hundredth, at least "
                          f"{SMALLEST_BATCH}")
    lr: float = _positive(1e-3, "Learning rate of AdamW.")
    schedule: Literal["cosine", "constant"] = _one_of(
        "cosine", ("cosine", "constant"), "Whether the learning rate falls to 0, or not.")
    weight_decay: float = _number(0.01, 0, _HUGE, "at least 0", "Of weights; scales and biases have none.")
    clip: float = _positive(1.0, "Largest norm of the gradient.")
    dropout: float = _fraction(0.1, "Probability that a hidden dense neuron's PSC is left out for a whole sample.")
    conv_dropout: float = _fraction(0.0, "The same of convolutions.")
    mirror: bool = _flag(False, "Show every other image mirrored, left to right, drawn anew in every epoch.")
    shift: int = _integer(0, 0, 64, "Show every image moved by up to so many pixels, drawn anew in every epoch.")
    ema: float = _fraction(0.999, "Decay per step of the moving average of the weights, which is what is evaluated and "
                           "exported; 0: off.")
    validation: int = _integer(5000, 0, 1 << 31, "Training images, drawn by split_seed, that are held back to measure "
                               "the accuracy.", f"a tenth, at most {MOST_VALIDATION:,}")
    split_seed: int = _integer(0, 0, _LARGEST_SEED, "Of the choice of the images that are held back.")
    seed: int = _integer(0, 0, _LARGEST_SEED, "Of everything else that is random.")
    fused: bool = _flag(False, "Let torch.compile fuse elementwise operations: a third faster, needs a C++ compiler.")
    threads: int = _integer(2, 1, 1024, "Of PyTorch. Results are identical for equal seeds and threads.")

    # What concerns more than one setting.
    _RULES: ClassVar[tuple[tuple[str, Callable[[TrainConfig], bool], str], ...]] = (
        ("ties", lambda c: c.ties == "lowest_index" or c.weight_bits is not None,
         "'lowest_index' in a float network, whose potentials are real numbers"),
        ("sparsity", lambda c: not c.sparsity or c.weight_bits != 1, "0 with weights of one bit, which cannot be 0"),
        ("distill", lambda c: not c.distill or c.loss in ("mse", "softmax"), "0 unless loss is 'mse' or 'softmax'"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, holds, allowed in self._RULES:
            if not holds(self):
                raise SpikeloomError(f"training: {name} must be {allowed}, not {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(_Settings):
    """Settings of a teacher, :mod:`.teacher`; the split of the images is that of the training.

    Raises
    ------
    SpikeloomError
        If a value is out of range; the message names the field.
    """

    epochs: int = _integer(26, 1, 1_000_000, "Times that all images are shown.")
    batch: int = _integer(128, 1, 1 << 20, "Images a step.")
    lr: float = _positive(4e-3, "Highest learning rate of AdamW: it rises and falls once.")
    weight_decay: float = _number(0.02, 0, _HUGE, "at least 0", "Of all parameters.")
    label_smoothing: float = _fraction(0.02, "Of the target.")
    shift: int = _integer(2, 0, 64, "Show every image moved by up to so many pixels.")
    mirror: bool = _flag(True, "Show every other image mirrored, left to right.")
    bfloat16: bool = _flag(True, "Multiply in bfloat16: twice as fast on processors that can.")
    seed: int = _integer(0, 0, _LARGEST_SEED, "Of everything random.")
    threads: int = _integer(2, 1, 1024, "Of PyTorch.")


@dataclass(frozen=True, kw_only=True)
class RatesConfig(_Settings):
    """Settings of a training on spike rates, :mod:`.rates`; the rest are those of the training that follows.

    Raises
    ------
    SpikeloomError
        If a value is out of range; the message names the field.
    """

    epochs: int = _integer(20, 1, 1_000_000, "Times that all images are shown.")
    lr: float = _positive(3e-3, "Highest learning rate of AdamW: it rises and falls once.")
    gain: float = _positive(4.0, "Factor on the outputs' drives in the softmax.")
    temperature: float = _positive(2.0, "Makes the teacher's probabilities less sure.")
    dropout: float = _fraction(0.2, "Probability that a hidden dense neuron's rate is left out.")


def settings(of: type = TrainConfig) -> tuple[Setting, ...]:
    """All settings of a configuration, in their order."""
    return tuple(_of(one) for one in fields(of))


def _of(one: Field[Any]) -> Setting:
    assert one.default is not MISSING
    told = cast("dict[str, Any]", dict(one.metadata))
    return Setting(one.name, one.default, **told)


def config_for(images: npt.NDArray[np.uint8], classes: int, given: dict[str, Any]) -> TrainConfig:
    """The configuration for a training on these images (N, ...): what is not ``given`` follows the data.

    Small data sets need as many steps as large ones, not as many epochs.
    """
    follows: dict[str, Any] = {"classes": classes}
    if "validation" not in given:
        follows["validation"] = min(MOST_VALIDATION, len(images) // 10)
    kept = max(1, len(images) - int({**follows, **given}["validation"]))
    if "batch" not in given:
        follows["batch"] = min(100, max(SMALLEST_BATCH, kept // 100))
    if "epochs" not in given:
        follows["epochs"] = max(30, -(-LEAST_STEPS // -(-kept // int({**follows, **given}["batch"]))))
    if "mean" not in given:
        follows["mean"] = round(float(images.mean()) / 255, 4)
    if "std" not in given:
        follows["std"] = round(max(float(images.std()) / 255, 1e-3), 4)
    return TrainConfig(**{**follows, **given})
