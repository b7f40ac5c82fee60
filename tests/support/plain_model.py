"""A golden model in plain Python, written from docs/integer-definition.md alone; it imports nothing.

A network is a dict of numbers: ``steps``, ``input`` (``kind``, ``bits``), ``layers`` in order, ``readout``
(``weights``, ``ties``). A layer has ``pool`` (kind, size) or None; ``shape`` (channels, height, width) of the map that
it reads, or None; ``kernel`` (stride, padding, groups) or None for dense; ``weight``; ``bias`` (a list, one for each
output, or None); ``threshold`` (one for each output); ``synapse`` and ``membrane``, each ("shift", k) or ("multiply",
c); ``fraction_bits``; ``compare``; ``reset``.
"""

from __future__ import annotations

from typing import Any


def decay(how: tuple[str, int], x: int) -> int:
    """``>>`` rounds to minus infinity."""
    kind, n = how
    return x - (x >> n) if kind == "shift" else (x * n) >> 12


def pooled(values: list[int], shape: tuple[int, int, int], kind: str,
           size: int) -> tuple[list[int], tuple[int, int, int]]:
    """Sums, or ORs, of windows of a map in C order."""
    channels, height, width = shape
    out = []
    for c in range(channels):
        for y in range(height // size):
            for x in range(width // size):
                window = [values[(c * height + y * size + dy) * width + x * size + dx]
                          for dy in range(size) for dx in range(size)]
                out.append(sum(window) if kind == "sum" else int(any(window)))
    return out, (channels, height // size, width // size)


def weighted(layer: dict[str, Any], values: list[int]) -> list[int]:
    """``x`` of every output neuron, with its bias."""
    shape = layer["shape"]
    if layer["pool"] is not None:
        values, shape = pooled(values, shape, *layer["pool"])
    weight = layer["weight"]
    if layer["kernel"] is None:
        sums = [sum(w * s for w, s in zip(row, values, strict=True)) for row in weight]
    else:
        stride, padding, groups = layer["kernel"]
        _, height, width = shape
        rows, columns = len(weight[0][0]), len(weight[0][0][0])
        per_input = len(weight) // groups
        sums = []
        for m, kernels in enumerate(weight):
            for y in range((height + 2 * padding - rows) // stride + 1):
                for x in range((width + 2 * padding - columns) // stride + 1):
                    total = 0
                    for k, kernel in enumerate(kernels):
                        c = k if groups == 1 else m // per_input
                        for ky in range(rows):
                            for kx in range(columns):
                                iy, ix = stride * y + ky - padding, stride * x + kx - padding
                                if 0 <= iy < height and 0 <= ix < width:
                                    total += kernel[ky][kx] * values[(c * height + iy) * width + ix]
                    sums.append(total)
    return sums if layer["bias"] is None else [s + b for s, b in zip(sums, layer["bias"], strict=True)]


def population(layer: dict[str, Any], drives: list[list[int]]) -> tuple[list[list[int]], list[int]]:
    """Spikes of every step, and each neuron's V in the last one."""
    count = len(drives[0])
    j, u, last = [0] * count, [0] * count, [0] * count
    trains = []
    for x in drives:
        spikes = []
        for n in range(count):
            j[n] = decay(layer["synapse"], j[n]) + (x[n] << layer["fraction_bits"])
            v = decay(layer["membrane"], u[n]) + j[n]
            theta = layer["threshold"][n]
            s = v > theta if layer["compare"] == ">" else v >= theta
            u[n] = v if not s else 0 if layer["reset"] == "zero" else v - theta
            last[n] = v
            spikes.append(int(s))
        trains.append(spikes)
    return trains, last


def run(network: dict[str, Any], sample: list[Any]) -> tuple[list[list[list[int]]], int]:
    """Spikes of every layer and step, and the class; ``sample`` is pixels 0..255, or spikes of each step."""
    steps = network["steps"]
    if network["input"]["kind"] == "static":
        sample = [[p >> (8 - network["input"]["bits"]) for p in sample]] * steps
    signal, trains, last = sample, [], []
    for layer in network["layers"]:
        signal, last = population(layer, [weighted(layer, step) for step in signal])
        trains.append(signal)
    weights = network["readout"]["weights"]
    scores = [sum(c * spikes[n] for c, spikes in zip(weights, signal, strict=True)) for n in range(len(last))]
    best = [n for n, score in enumerate(scores) if score == max(scores)]
    if network["readout"]["ties"] == "membrane":
        best = [n for n in best if last[n] == max(last[k] for k in best)]
    return trains, best[0]
