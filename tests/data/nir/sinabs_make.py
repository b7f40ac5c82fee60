"""Sinabs 3.1.3: a dense network of IAF and LIF neurons, its file and the spikes of its own modules."""
import nir, numpy as np, torch
import sinabs.layers as sl
from sinabs.activation import SingleSpike
from sinabs.nir import to_nir
torch.manual_seed(0)
rng = np.random.default_rng(0)
x = (rng.random((1, 100, 8)) < 0.3).astype(np.float32)
for name, cell in (("iaf", lambda n: sl.IAF(spike_threshold=torch.ones(n), spike_fn=SingleSpike, min_v_mem=None)),
                   ("lif", lambda n: sl.LIF(tau_mem=torch.full((n,), 10.0), spike_threshold=torch.full((n,), 0.3), spike_fn=SingleSpike, min_v_mem=None))):
    net = torch.nn.Sequential(torch.nn.Linear(8, 12), cell(12), torch.nn.Linear(12, 5), cell(5))
    for layer in net:
        if hasattr(layer, "weight"):
            layer.weight.data *= 2 if name == "iaf" else 8
    with torch.no_grad():
        hidden = net[1](net[0](torch.tensor(x)))
        out = net[3](net[2](hidden))
    nir.write(f"sinabs_{name}.nir", to_nir(net, torch.tensor(x)))
    np.savez(f"sinabs_{name}.npz", x=x.astype(np.uint8), spikes=out.numpy().astype(np.uint8))
