"""The energy of an inference, estimated: shipped networks in several folds, at clocks that place and route reached.

    python bench/energy.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from results import save

import spikeloom
from spikeloom.gen.energy_constants import Range

SAMPLES = 20
# Network, fold, device, MHz: of bench/place_route.py and bench/devices.py the slowest seed, rounded down.
DESIGNS = (
    ("fashion-mnist-400-400", "fast", "lfe5u-85f", 79),
    ("fashion-mnist-128", "balanced", "lfe5u-25f", 80),
    ("fashion-mnist-128", "small", "lfe5u-25f", 68),
    ("fashion-mnist-128", "balanced", "gw2ar-18", 151),
    ("fashion-mnist-128", "small", "ice40-up5k", 35),
)


def uj(nj: Range) -> str:
    """Likely (least - most) microjoules."""
    return f"{nj.typical / 1000:.2f} ({nj.low / 1000:.2f} - {nj.high / 1000:.2f})"


def mw(power: Range) -> str:
    """Likely (least - most) milliwatts."""
    return f"{power.typical:,.0f} ({power.low:,.0f} - {power.high:,.0f})"


def main() -> None:
    data = spikeloom.dataset("fashion-mnist-demo", SAMPLES + 1)
    rows, results = [], []
    for name, fold, device, clock_mhz in DESIGNS:
        with tempfile.TemporaryDirectory() as folder:
            plan = spikeloom.compile(spikeloom.load(name), fold, device)
            outside = spikeloom.write(plan, Path(folder) / "build").external
            found = spikeloom.estimate_energy(Path(folder) / "build", data.images, device, clock_mhz=clock_mhz)
        kinds = found.kinds_nj
        rows.append([name.removeprefix("fashion-mnist-"), f"{fold}, weights outside" if outside else fold, device,
                     str(clock_mhz), f"{found.cycles:,.0f}", uj(found.total_nj), uj(found.dynamic_nj),
                     ", ".join(f"{kinds[kind].typical / 1000:.2f}" for kind in
                               ("flip-flops", "logic", "block RAM", "clock", "static")),
                     mw(found.power_mw), mw(found.total_idle_mw),
                     f"{found.register_rate:.1%}, {found.logic_rate:.1%}", f"{found.known_registers:.1%}"])
        print(" | ".join(rows[-1]), flush=True)
        results.append({"network": name, "fold": fold, "weights_outside": bool(outside), **found.to_json()})
    save("energy", {"samples": SAMPLES, "data": data.name, "designs": results},
         ["network", "fold", "device", "MHz", "cycles", "uJ an inference", "without static power",
          "flip-flops, logic, block RAM, clock, static", "mW at work", "mW waiting",
          "flip-flops, LUTs that toggle in a cycle", "flip-flops counted by name"], rows)


if __name__ == "__main__":
    main()
