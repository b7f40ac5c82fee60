"""``spikeloom energy``: what an inference costs on a device, estimated from the switching of real samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import spikeloom
from spikeloom.console import bar, print_json, print_table
from spikeloom.data_options import data_for, data_option, json_option, split_option
from spikeloom.model.system.paths import shown

if TYPE_CHECKING:
    from spikeloom.gen.energy import EnergyEstimate

__all__ = ["energy"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--device", default="lfe5u-85f", show_default=True,
              help="lfe5u-25f, lfe5u-45f, lfe5u-85f, ice40-up5k, gw1nr-9 or gw2ar-18.")
@data_option
@split_option
@click.option("--samples", type=click.IntRange(1), default=20, show_default=True,
              help="Samples whose switching is counted; one more warms up.")
@click.option("--clock-mhz", type=click.FloatRange(0.001, 1000), default=100.0, show_default=True,
              help="The clock that it runs at.")
@json_option
def energy(folder: Path, device: str, data: str | None, split: str | None, samples: int, clock_mhz: float,
           as_json: bool) -> None:
    """Estimate the energy of an inference of the build in FOLDER on a device.

    Samples go through the Verilog under Verilator, and every toggle is counted; Yosys says of what cells. What a toggle
    costs is known within limits: the result is a range. docs/energy.md says what is measured and what is assumed. It is
    kept in FOLDER/results.

    \b
    Examples:
      spikeloom energy build/fast --device lfe5u-85f
      spikeloom energy build/128 --device lfe5u-25f --samples 100 --clock-mhz 75 --json
    """
    from spikeloom.gen.energy_constants import constants_of
    from spikeloom.gen.manifest import read_manifest
    from spikeloom.gen.results import keep_result
    manifest = read_manifest(folder)
    not_in_it = [*(["the bus around the accelerator"] if manifest.bus is not None else []),
                 *(["the external memory, where weights lie"] if manifest.external else [])]
    constants_of(device)
    loaded = data_for(spikeloom.load(folder), data, samples + 1, split, labelled=False)
    with bar(f"energy on {device}") as advance:
        result = spikeloom.estimate_energy(folder, loaded.images, device, clock_mhz=clock_mhz,
                                           progress=lambda what: advance(1, what=what[:60]))
    value = result.to_json()
    kept = keep_result(folder, f"energy_{result.device}.json", json.dumps(value, indent=1) + "\n")
    if as_json:
        print_json(value | {"file": str(kept)})
    else:
        print_table(False, {}, f"{shown(folder)} on {result.device}, estimated: likely (least - most)",
                    [*_rows(result), *([("not in it", ", ".join(not_in_it))] if not_in_it else []),
                     ("kept in", kept)])


def _rows(result: EnergyEstimate) -> list[tuple[str, Any]]:
    from spikeloom.gen.energy import range_text
    assumed = [name for name, constant in result.constants.items() if constant.assumed]
    return [
        ("samples", f"{result.samples:,}, one at a time, {result.cycles:,.1f} cycles each"),
        *((f"{kind}, nJ", range_text(each)) for kind, each in result.kinds_nj.items() if each.high),
        ("an inference, nJ", range_text(result.total_nj)),
        ("without static power, nJ", range_text(result.dynamic_nj)),
        *((f"of that, {part}", range_text(each)) for part, each in result.parts_nj.items()),
        (f"at {result.clock_mhz:g} MHz: at work, mW", range_text(result.power_mw)),
        ("waiting, mW", range_text(result.total_idle_mw)),
        ("toggle in a cycle of work", f"{result.register_rate:.1%} of flip-flops, {result.logic_rate:.1%} of LUTs"),
        ("waiting", f"{result.idle_register_rate:.1%}, {result.idle_logic_rate:.1%}"),
        ("flip-flops counted by name", f"{result.known_registers:.1%}"),
        ("accesses to a block RAM a cycle", f"{result.block_rate:.2f}; waiting {result.idle_block_rate:.2f}"),
        ("assumed, not measured", ", ".join(assumed)),
    ]
