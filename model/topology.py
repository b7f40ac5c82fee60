"""TSSL-BP's notation of a network, e.g. ``32C5p2-P2-64C5p2-P2-1024``, read into layers."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .errors import SpikeloomError
from .geometry import ConvGeometry, Pool, Shape, as_map

__all__ = ["LayerShape", "read_topology"]

_ITEM = re.compile(r"(?P<pool>[POA])(?P<size>\d+)"
                   r"|(?P<channels>\d+)(?P<kind>[CD])(?P<kernel>\d+)(?:s(?P<stride>\d+))?(?:p(?P<padding>\d+))?"
                   r"|(?P<neurons>\d+)")
TSSLBP_POOL_GAIN = 1.1  # the factor of the authors' sum pool


@dataclass(frozen=True)
class LayerShape:
    """One layer: what its input goes through.

    Attributes
    ----------
    name : str
        ``conv1``, ``conv2``, ..., ``hidden1``, ..., ``output``.
    pool : Pool or None
    pool_gain : float
        Real value of one unit of the pool's integer output: 1.1 for a sum, ``1 / size**2`` for an average.
    inputs, outputs : int
        Values after the pool, and neurons.
    geometry : ConvGeometry or None
        None: dense.
    """

    name: str
    pool: Pool | None
    pool_gain: float
    inputs: int
    outputs: int
    geometry: ConvGeometry | None


def read_topology(text: str, shape: Shape, classes: int) -> list[LayerShape]:
    """Layers of hidden part ``text`` between an input of ``shape`` and ``classes`` output neurons.

    Parts are joined by dashes: ``<n>`` dense neurons; ``<n>C<k>[s<stride>][p<padding>]`` a convolution with
    n channels and k x k kernels; ``<n>D<k>...`` the same depthwise; ``P<k>`` a sum pool with TSSL-BP's
    factor 1.1, ``A<k>`` an average pool, ``O<k>`` an OR pool.

    Raises
    ------
    SpikeloomError
        If a part cannot be read or the shapes do not chain.
    """
    layers: list[LayerShape] = []
    pool, gain = None, 1.0
    for part in [*text.split("-"), str(classes)] if text else [str(classes)]:
        match = _ITEM.fullmatch(part)
        if match is None:
            raise SpikeloomError(f"topology {text!r}: part {part!r} must be like 400, 32C5, 32C5s2p2, 32D3, P2, A2 "
                                 "or O2")
        item = match.groupdict()
        try:
            if item["pool"]:
                if pool is not None:
                    raise SpikeloomError("follows another pool; use one with the product of their sizes")
                pool = Pool("or" if item["pool"] == "O" else "sum", int(item["size"]))
                gain = {"P": TSSLBP_POOL_GAIN, "O": 1.0, "A": 1 / max(1, int(item["size"])) ** 2}[item["pool"]]
                shape = pool.output_shape(shape)
                continue
            geometry = None
            if item["kind"]:
                maps = as_map(shape)
                geometry = ConvGeometry(
                    input_shape=maps, channels=int(item["channels"]), kernel=(int(item["kernel"]),) * 2,
                    stride=int(item["stride"] or 1), padding=int(item["padding"] or 0),
                    groups=maps[0] if item["kind"] == "D" else 1)
            elif int(item["neurons"]) < 1:
                raise SpikeloomError("must have at least one neuron")
        except SpikeloomError as error:
            raise SpikeloomError(f"topology {text!r}: part {part!r}: {error}") from error
        after = geometry.output_shape if geometry else (int(item["neurons"]),)
        name = "conv" if geometry else "hidden"
        number = sum(layer.name.startswith(name) for layer in layers) + 1
        layers.append(LayerShape(f"{name}{number}", pool, gain, int(np.prod(shape)), int(np.prod(after)), geometry))
        shape, pool, gain = after, None, 1.0
    last = layers[-1]
    return [*layers[:-1], LayerShape("output", last.pool, last.pool_gain, last.inputs, last.outputs, None)]
