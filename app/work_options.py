"""The options that say who does the work: processes here, or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["work_options"]


def work_options(share: str) -> Callable[[Any], Any]:
    """``--jobs`` and ``--scheduler``; ``share`` says what is divided: "the samples"."""
    jobs = click.option("--jobs", type=click.IntRange(1, 1024),
                        help=f"Processes among which {share} are divided.  [default: as many as there are cores]")
    scheduler = click.option("--scheduler", help="Address of a Dask scheduler of your own, such as tcp://host:8786, "
                             f"whose workers take {share} instead.")
    return lambda command: jobs(scheduler(command))
