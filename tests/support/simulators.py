"""Simulators that no package index for Python has."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["icarus_program"]


def icarus_program() -> str:
    """Icarus Verilog's compiler; the test is skipped where there is none."""
    found = shutil.which("iverilog")
    if found is None:
        assert "CI" not in os.environ, "CI installs Icarus"
        pytest.skip("Icarus (iverilog) is not installed")
    return found
