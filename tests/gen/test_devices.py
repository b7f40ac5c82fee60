import pytest

from spikeloom.gen.devices import DEVICES, find_device
from spikeloom.model.errors import SpikeloomError


def test_known_devices_by_name_in_any_case():
    device = find_device("LFE5U-85F")
    assert device.family == "ecp5"
    assert device.capacity() == {"lut": 83_640, "ff": 83_640, "bram": 208, "dsp": 156}
    assert device.bram_unit == "DP16KD"
    assert find_device("xc7").capacity() == {"lut": None, "ff": None, "bram": None, "dsp": None}


def test_names_and_commands_go_together():
    assert all(name == device.name for name, device in DEVICES.items())
    assert DEVICES["ice40-up5k"].synth_command == "synth_ice40 -device u -dsp -spram -dffe_min_ce_use 8"
    assert DEVICES["ice40-hx8k"].synth_command == "synth_ice40 -device hx"
    assert DEVICES["xc7a35t"].synth_command == "synth_xilinx -family xc7 -flatten"
    assert DEVICES["lfe5u-25f"].synth_command == "synth_ecp5"


@pytest.mark.parametrize(("name", "meant"), [("lfe5u-85", "lfe5u-85f"), ("up5k", "ice40-up5k"), ("xc7a53t", "xc7a35t")])
def test_unknown_device_suggests_one(name, meant):
    with pytest.raises(SpikeloomError, match=f"device '{name}' is not known, did you mean {meant}"):
        find_device(name)


def test_unknown_device_lists_all():
    with pytest.raises(SpikeloomError, match=r"'spartan' is not known \(known: lfe5u-25f, .*xc7\)"):
        find_device("spartan")
