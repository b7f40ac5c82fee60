"""``spikeloom run``: samples through a board, or through the whole of its design in a simulation."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import spikeloom
from spikeloom.console import bar, print_table
from spikeloom.data_options import data_for, data_option, json_option, split_option
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.paths import shown

__all__ = ["run"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--port", help="The serial port: /dev/ttyUSB0, COM3, ...")
@click.option("--simulate", is_flag=True, help="No board: the design behind a pseudo-terminal, under Verilator.")
@data_option
@split_option
@click.option("--network", help="Write the weights of this network first: the design was built with --weight-sets, and "
              "the network has the same shape.")
@click.option("--load-weights", is_flag=True, help="Write external weights over the line, also where a flash "
              "holds them.")
@click.option("--samples", type=click.IntRange(1), default=100, show_default=True, help="At most the first N samples.")
@json_option
def run(folder: Path, port: str | None, simulate: bool, data: str | None, split: str | None, network: str | None,
        load_weights: bool, samples: int, as_json: bool) -> None:
    """Send samples to the board with the design in FOLDER; compare every answer with the golden model's.

    FOLDER was built with --interface uart; its bitstream is `spikeloom pnr FOLDER --board ...`. With --interface spi,
    what stands at the port hands bytes on. What the line garbles is sent again. Needs `pip install 'spikeloom[board]'`.
    Exit code 1 if an answer is wrong.

    \b
    Examples:
      spikeloom run build/board --simulate
      spikeloom run build/board --port /dev/ttyUSB0 --samples 10000
    """
    if simulate == (port is not None):
        raise SpikeloomError("run: name a port by --port, or say --simulate")
    other = None if network is None else spikeloom.load(network)
    loaded = data_for(other or spikeloom.load(folder), data, samples, split)
    with bar("run") as advance:
        result = spikeloom.run(folder, loaded.images, loaded.labels, port=port, network=other,
                               load_weights=load_weights,
                               progress=lambda stage, done, total: advance(what=stage, done=done, total=total))
    where = "in a simulation" if simulate else f"on {result.port}"
    print_table(as_json, result.to_json(), f"{shown(folder)} {where}", [
        ("samples", f"{result.samples:,}"),
        ("wrong answers", f"{result.wrong:,}" + ("" if result.first_wrong is None else
                                                  f", the first is sample {result.first_wrong}")),
        ("accuracy", "no labels" if result.accuracy is None else f"{result.accuracy:.2%}"),
        ("cycles per sample, mean", f"{result.cycles_mean:,.1f}"),
        ("samples a second", f"{result.samples_per_s:,.1f}" + (" (of the simulation)" if simulate else "")),
        ("  the line carries", f"{result.line_per_s:,.1f}"), ("  the core could do", f"{result.core_per_s:,.1f}"),
        ("latency, ms", f"{result.latency_ms:.2f}" + (" (of the simulation)" if simulate else "")),
        ("sent again", f"{result.refused} frames refused, {result.garbled} garbled, {result.restarts} restarts"),
    ])
    sys.exit(0 if result.ok else 1)
