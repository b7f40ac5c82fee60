"""Rockpool 3.1.0: a dense network of LIFTorch neurons, its file and the spikes of its own modules."""
import numpy as np, torch, nir
from rockpool.nn.modules import LIFTorch, LinearTorch, to_nir
from rockpool.nn.combinators import Sequential
torch.manual_seed(0)
rng = np.random.default_rng(0)
x = (rng.random((1, 100, 8)) < 0.3).astype(np.float32)
net = Sequential(LinearTorch((8, 12)), LIFTorch((12, 12), tau_mem=0.02, tau_syn=0.01, threshold=1.0, dt=1e-3, max_spikes_per_dt=1), LinearTorch((12, 5)), LIFTorch((5, 5), tau_mem=0.02, tau_syn=0.01, threshold=1.0, dt=1e-3, max_spikes_per_dt=1))
out, _, _ = net(torch.tensor(x))
net.reset_state()
nir.write("rockpool_lif.nir", to_nir(net, torch.zeros(1, 1, 8)))
np.savez("rockpool_lif.npz", x=x.astype(np.uint8), spikes=out.detach().numpy().astype(np.uint8))
