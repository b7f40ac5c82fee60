"""784-128-10 on binary spikes of 15 % density, five steps: ours beside Spiker+.

Cycles are measured in the co-simulation of the generated Verilog, LUTs by Yosys for Xilinx 7 series, with the
weights in block RAM. Spiker+'s cycles follow from its own control: every step scans all inputs one by one, and also
all neurons of a layer that spiked in the step before; its cell counts were measured once (see README.md).

    python bench/spiker_plus.py
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
from results import save

from spikeloom.cosim.simulate import simulate
from spikeloom.gen.build import build
from spikeloom.gen.cycles import predict_latency
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.gen.synth import synthesize
from spikeloom.model import golden
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput
from spikeloom.model.numerics import Shift

SIZES, STEPS, DENSITY, SAMPLES, SEED = (784, 128, 10), 5, 0.15, 200, 0
WEIGHT_BITS = 4
SPIKER_PLUS = {"lut": 7335, "ff": 2926, "bram": 43, "cycles": "4,869-5,259"}


def network() -> Network:
    """Seeded random weights; thresholds at which about a tenth of the neurons spike."""
    rng = np.random.default_rng(SEED)

    def layer(name: str, inputs: int, outputs: int, threshold: int) -> Layer:
        weight = np.clip(np.rint(rng.normal(0, 2.2, (outputs, inputs))), -8, 7).astype(int)
        return Layer(name=name, connection=Dense(weight=weight, weight_bits=WEIGHT_BITS),
                     neuron=Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([threshold]),
                                   fraction_bits=2))

    return Network.chain(name="spiker-plus-784-128-10", input=SpikeInput(shape=SIZES[:1]), steps=STEPS,
                   layers=(layer("hidden", 784, 128, 370), layer("output", 128, 10, 60)),
                   readout=Readout.count())


def folds() -> list[Fold]:
    """Step by step, all hidden neurons side by side; two, three or four spikes a cycle."""
    return [Fold(name=f"{banks} spikes a cycle", window_steps=1, input_per_beat=per_beat,
                 layers=(LayerFold(lanes=128, inputs_per_cycle=banks, neuron_units=8), LayerFold(lanes=lanes)))
            for banks, per_beat, lanes in ((2, 32, 10), (3, 30, 5), (4, 32, 10))]


def spiker_plus_cycles(sizes: tuple[int, ...], steps: int) -> tuple[int, int]:
    """Fewest and most cycles by Spiker+'s control."""
    idle = max(n + 5 for n in sizes[:-1])
    busy = max(n + outputs + 7 for n, outputs in itertools.pairwise(sizes))
    return 5 + (steps + 1) * idle, 5 + (steps + 1) * busy


def main() -> None:
    net = network()
    samples = (np.random.default_rng(SEED + 1).random((SAMPLES, STEPS, SIZES[0])) < DENSITY).astype(np.uint8)
    active = [float(layer.any(axis=1).mean()) for layer in golden.run(net, samples).spikes]
    rows, values = [], []
    for fold in folds():
        with tempfile.TemporaryDirectory() as folder:
            build(make_plan(net, fold), Path(folder) / "build")
            sim = simulate(Path(folder) / "build", samples, predict=predict_latency)
            synth = synthesize(Path(folder) / "build", "xc7")
        if not sim.ok:
            raise SystemExit(f"fold {fold.name}: the Verilog differs from the models: {sim.to_json()}")
        values.append({"fold": fold.to_dict(), "sim": sim.to_json(), "synth": synth.to_json()})
        rows.append([f"spikeloom, {fold.name}", f"{sim.cycles_mean:.0f} ({sim.cycles_min}-{sim.cycles_max})",
                     f"{synth.lut:,}", f"{synth.ff:,}", f"{synth.bram}", f"{synth.dsp}"])
    low, high = spiker_plus_cycles(SIZES, STEPS)
    rows.append([f"Spiker+, measured (by its control: {low:,}-{high:,})", str(SPIKER_PLUS["cycles"]),
                 f"{SPIKER_PLUS['lut']:,}", f"{SPIKER_PLUS['ff']:,}", f"{SPIKER_PLUS['bram']}", "0"])
    save("spiker_plus", {"network": net.topology, "steps": STEPS, "density": DENSITY, "samples": SAMPLES, "seed": SEED,
                         "active": active, "ours": values, "spiker_plus": SPIKER_PLUS,
                         "spiker_plus_cycles_by_control": [low, high]},
         ["784-128-10, T = 5", "cycles, mean (min-max)", "LUT", "FF", "RAMB18", "DSP"], rows)


if __name__ == "__main__":
    main()
