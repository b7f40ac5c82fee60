"""Networks of other frameworks: their own modules run step by step, and their own exporters' files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CASES", "Case", "made"]

logging.disable(logging.WARNING)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import nir
    import norse.torch as norse
    import snntorch as snn
    import torch
    from norse.torch.utils.export_nir import to_nir as norse_to_nir
    from snntorch import utils
    from snntorch.export_nir import export_to_nir as snntorch_to_nir
    from spikingjelly.activation_based import functional, neuron
    from spikingjelly.activation_based.nir_exchange.to_nir import export_to_nir as spikingjelly_to_nir
logging.disable(logging.NOTSET)

Array = npt.NDArray[Any]
INPUTS, NEURONS, STEPS = 20, 24, 120

#: Name, dialect, settings that differ from it, and what makes (NIR graph, spikes in, spikes out).
Case = tuple[str, str, dict[str, Any], Callable[[Array], tuple[Any, Array]]]


def _linear(outputs: int, inputs: int, gain: float) -> torch.nn.Linear:
    layer = torch.nn.Linear(inputs, outputs)
    layer.weight.data *= gain
    return layer


def _spikes(outputs: list[torch.Tensor]) -> Array:
    out: Array = torch.stack(outputs, 1).detach().numpy() > 0
    return out.reshape(*out.shape[:2], -1)


def _snntorch(kind: str, reset: str, delay: bool) -> Callable[[Array], tuple[Any, Array]]:
    def make(x: Array) -> tuple[Any, Array]:
        beta = 0.85 + 0.1 * torch.rand(NEURONS)
        own: dict[str, Any] = {"beta": beta, "threshold": torch.ones(NEURONS), "reset_mechanism": reset,
                               "reset_delay": delay}
        if "Synaptic" in kind:
            own["alpha"] = 0.7 + 0.2 * torch.rand(NEURONS)
        if kind.startswith("R"):
            own |= {"all_to_all": True, "linear_features": NEURONS}
        cell = getattr(snn, kind)(**own)
        linear = _linear(NEURONS, INPUTS, 1.5 if "Synaptic" in kind else 3)
        graph = snntorch_to_nir(torch.nn.Sequential(linear, cell), torch.tensor(x[0, 0]))
        state = getattr(cell, f"init_{kind.lower()}")()
        state = state if isinstance(state, tuple) else (state,)
        outputs = []
        for t in range(x.shape[1]):
            given = cell(linear(torch.tensor(x[:, t])), *state)
            # The spikes are a state of their own where they come back.
            state = given if kind.startswith("R") else given[1:]
            outputs.append(given[0])
        return graph, _spikes(outputs)
    return make


def _snntorch_convolution(x: Array) -> tuple[Any, Array]:
    def leaky(beta: float, *shape: int) -> Any:
        return snn.Leaky(beta=torch.full(shape, beta), threshold=torch.ones(shape), init_hidden=True)

    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 5, padding=2), torch.nn.AvgPool2d(2), leaky(0.9, 6, 6, 6),
        torch.nn.Conv2d(6, 4, 3, padding=1), leaky(0.8, 4, 6, 6), torch.nn.Flatten(), _linear(10, 144, 1),
        leaky(0.8, 10))
    for layer in net:
        if hasattr(layer, "weight"):
            layer.weight.data *= 8
    utils.reset(net)
    outputs = [net(torch.tensor(x[:, t])) for t in range(x.shape[1])]
    utils.reset(net)
    return snntorch_to_nir(net, torch.tensor(x[:1, 0]), ignore_dims=[0]), _spikes(outputs)


def _norse(cell: Callable[[], Any], gain: float) -> Callable[[Array], tuple[Any, Array]]:
    def make(x: Array) -> tuple[Any, Array]:
        net = norse.SequentialState(_linear(NEURONS, INPUTS, gain), cell(), _linear(NEURONS, NEURONS, gain), cell())
        outputs, state = [], None
        for t in range(x.shape[1]):
            spikes, state = net(torch.tensor(x[:, t]), state)
            outputs.append(spikes)
        return norse_to_nir(net, torch.tensor(x[0, 0])), _spikes(outputs)
    return make


def _per_neuron(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.full((NEURONS,), value) for name, value in values.items()}


def _lif() -> Any:
    return norse.LIFCell(p=norse.LIFParameters(**_per_neuron(
        tau_syn_inv=200.0, tau_mem_inv=100.0, v_leak=0.0, v_th=0.3, v_reset=0.0)))


def _lif_box() -> Any:
    return norse.LIFBoxCell(p=norse.LIFBoxParameters(**_per_neuron(
        tau_mem_inv=100.0, v_leak=0.0, v_th=0.2, v_reset=0.0)))


def _iaf() -> Any:
    return norse.IAFCell(p=norse.IAFParameters(**_per_neuron(v_th=1.0, v_reset=0.0)))


def _run_spikingjelly(net: Any, x: Array) -> tuple[Any, Array]:
    functional.reset_net(net)
    outputs = [net(torch.tensor(x[:, t])) for t in range(x.shape[1])]
    functional.reset_net(net)
    return spikingjelly_to_nir(net, torch.tensor(x[:1, 0])), _spikes(outputs)


def _spikingjelly(cell: Callable[[], Any]) -> Callable[[Array], tuple[Any, Array]]:
    return lambda x: _run_spikingjelly(torch.nn.Sequential(
        _linear(NEURONS, INPUTS, 12), cell(), _linear(NEURONS, NEURONS, 16), cell()), x)


def _spikingjelly_convolution(x: Array) -> tuple[Any, Array]:
    def cell() -> Any:
        return neuron.LIFNode(tau=2.0, decay_input=False, v_reset=0.0)

    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 5, padding=2), cell(), torch.nn.AvgPool2d(2),
        torch.nn.Conv2d(6, 4, 3, stride=2, padding=1),
        cell(), torch.nn.Flatten(), _linear(10, 36, 1), cell())
    for layer in net:
        if hasattr(layer, "weight"):
            layer.weight.data *= 8
    return _run_spikingjelly(net, x)


CASES: list[Case] = [
    *((f"snntorch-{kind}-{reset}-{'delay' if delay else 'nodelay'}", "snntorch",
       {"reset": "subtract_again" if reset == "subtract" and not delay else reset, "reset_delay": int(delay)},
       _snntorch(kind, reset, delay))
      for kind in ("Leaky", "Synaptic", "RLeaky", "RSynaptic") for reset in ("subtract", "zero", "none")
      for delay in (True, False)
      if kind != "RSynaptic" or delay),  # (which fails by itself otherwise)
    ("snntorch-convolution", "snntorch", {}, _snntorch_convolution),
    ("norse-LIFCell", "norse-1.1", {}, _norse(_lif, 6)),
    ("norse-LIFBoxCell", "norse-1.1", {}, _norse(_lif_box, 7)),
    ("norse-IAFCell", "norse-1.1", {}, _norse(_iaf, 3)),
    ("spikingjelly-IF", "spikingjelly", {}, _spikingjelly(lambda: neuron.IFNode(v_threshold=1.0, v_reset=0.0))),
    ("spikingjelly-LIF", "spikingjelly", {}, _spikingjelly(lambda: neuron.LIFNode(tau=4.0, v_reset=0.0))),
    ("spikingjelly-LIF-nodecay", "spikingjelly", {}, _spikingjelly(
        lambda: neuron.LIFNode(tau=4.0, decay_input=False, v_reset=0.0))),
    ("spikingjelly-LIF-reset", "spikingjelly", {}, _spikingjelly(lambda: neuron.LIFNode(tau=4.0, v_reset=-0.25))),
    ("spikingjelly-PLIF", "spikingjelly", {}, _spikingjelly(lambda: neuron.ParametricLIFNode(init_tau=3.0))),
    ("spikingjelly-CUBALIF", "spikingjelly", {}, _spikingjelly(
        lambda: neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_reset=0.0))),
    ("spikingjelly-convolution", "spikingjelly", {}, _spikingjelly_convolution),
]


def made(case: Case, folder: Path) -> tuple[Path, Array, Array]:
    """The framework's NIR file, spikes in, and the spikes that its own modules give."""
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    shape = (2, 40, 2, 12, 12) if "convolution" in case[0] else (2, STEPS, INPUTS)
    x = (rng.random(shape) < 0.3).astype(np.float32)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph, want = case[3](x)
        nir.write(folder / "network.nir", graph)
    return folder / "network.nir", x, want
