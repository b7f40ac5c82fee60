"""Every module says what is public, and that is there."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

PACKAGES = ("spikeloom.model", "spikeloom.model.exchange", "spikeloom.model.neurons", "spikeloom.model.system",
            "spikeloom.rtl", "spikeloom.gen", "spikeloom.cosim")
# An editable install keeps the packages in folders of their own.
MODULES = sorted({f"{package}.{module.name}" for package in ("spikeloom", *PACKAGES)
                  for module in pkgutil.iter_modules(importlib.import_module(package).__path__)} - set(PACKAGES))


NEED_TORCH = {f"spikeloom.model.{name}" for name in ("augment", "epochs", "rates", "teacher", "train", "train_recipe",
                                                     "training_files", "tsslbp")}


def test_modules_are_found() -> None:
    some = {"spikeloom.cli", "spikeloom.model.golden", "spikeloom.rtl.accelerator", "spikeloom.gen.build",
            "spikeloom.cosim.simulate"}
    assert some.issubset(MODULES)


@pytest.mark.parametrize("name", ["spikeloom", *PACKAGES, *MODULES])
def test_all(name: str) -> None:
    if name == "spikeloom.cosim.bench":
        pytest.skip("is imported by the simulator")
    if name in NEED_TORCH:
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    assert module.__doc__
    if name in PACKAGES:  # their modules are imported by name
        return
    names = module.__all__
    assert len(set(names)) == len(names)
    for public in names:
        assert getattr(module, public) is not None
