"""Spyx 1.0.0: dense networks of its neurons, their files and the spikes of its own modules."""
import jax.numpy as jnp, nir, numpy as np, spyx.nn as snn
from flax import nnx
from spyx.nir import to_nir
rng = np.random.default_rng(0)
x = (rng.random((1, 100, 8)) < 0.3).astype(np.float32)
def net(kind, seed):
    rngs = nnx.Rngs(seed)
    cell = getattr(snn, kind)
    own = {} if kind in ("IF", "RIF") else {"beta": 0.9} if "Cu" not in kind else {"alpha": 0.8, "beta": 0.9}
    return nnx.Sequential(nnx.Linear(8, 12, rngs=rngs), cell((12,), rngs=rngs, **own), nnx.Linear(12, 5, rngs=rngs),
                          cell((5,), rngs=rngs, **own))
for kind in ("LIF", "IF", "CuBaLIF", "RLIF", "RCuBaLIF"):
    model = net(kind, 1)
    for k in (0, 2):
        model.layers[k].kernel[...] = model.layers[k].kernel[...] * 2
    states = {1: model.layers[1].initial_state(1), 3: model.layers[3].initial_state(1)}
    outs = []
    for t in range(100):
        s = jnp.asarray(x[:, t])
        for k, layer in enumerate(model.layers):
            if k in states: s, states[k] = layer(s, states[k])
            else: s = layer(s)
        outs.append(np.asarray(s))
    out = np.stack(outs, 1)
    g = to_nir(model, {"input": np.array([8])}, {"output": np.array([5])})
    nir.write(f"spyx_{kind.lower()}.nir", g)
    np.savez(f"spyx_{kind.lower()}.npz", x=x.astype(np.uint8), spikes=(out > 0).astype(np.uint8))
