"""Programs in files: back without loss, and one clear error for what is no program."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from support.random_programs import plain_run, random_neuron

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.neurons.files import neuron_from_json, neuron_to_json
from spikeloom.model.neurons.recorded import RecordedNeuron, program_from_json, program_to_json
from spikeloom.model.neurons.types import Neuron
from spikeloom.model.numerics import Shift

GOOD = program_to_json(Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([3, 4]), once=True).program)


@pytest.mark.parametrize("seed", range(20))
def test_round_trip(seed: int) -> None:
    neuron = random_neuron(np.random.default_rng(seed), 4)
    described, arrays = neuron_to_json(neuron)
    again = neuron_from_json(json.loads(json.dumps(described)), arrays)
    assert isinstance(again, RecordedNeuron)
    assert again.name == "RandomNeuron"
    assert again.program.hash == neuron.program.hash
    own = {name: int(values[0]) for name, values in neuron.own_constants.items()} | {"bias": 5, "exists": True}
    sums = np.random.default_rng(seed).integers(-40, 41, 30).tolist()
    one, other = (n.recorded(has_bias=True, has_gaps=True) for n in (neuron, again))
    assert plain_run(one, sums, own) == plain_run(other, sums, own)
    assert not arrays, "all taken"


def index(name: str) -> int:
    return next(k for k, operation in enumerate(GOOD["operations"]) if operation[0] == name)


def operation(k: int, value: Any) -> Any:
    def change(d: dict[str, Any]) -> None:
        d["operations"][k] = value
    return change


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d.pop("outputs"), "program must have the fields"),
    (lambda d: d.update(sha256="0" * 64), "program was changed: its hash is"),
    (lambda d: d.update(registers={"a b": 0}), "registers must be names and reset values"),
    (lambda d: d["registers"].update(membrane=1 << 60), "program register membrane must be in"),
    (lambda d: d.update(operations=[]), "operations must be 1..4096 operations"),
    (lambda d: d.update(operations=[["constant", [], 1]] * 5000), "operations must be 1..4096 operations"),
    (operation(0, 5), r"operations\[0\]: must be \[name, arguments, value\]"),
    (operation(0, ["exec", [], None]), r"operations\[0\]: name must be one of"),
    (operation(index("add"), ["add", [0, 10**6], None]), "argument must be in 0.."),
    (operation(index("add"), ["add", [0], None]), "add takes 'ii'"),
    (operation(index("greater"), ["and", [0, 0], None]), "and takes 'tt'"),
    (operation(index("shift_right"), ["shift_right", [0], 64]), "count of shift_right must be in 0..63, not 64"),
    (operation(index("add"), ["multiply", [0, index("register")], None]), "multiply takes a constant or a parameter"),
    (operation(index("parameter"), ["parameter", [], "../x"]), "parameter must have a name of its own"),
    (operation(index("register"), ["register", [], "x"]), "register must be one of"),
    (lambda d: d["outputs"].update(spike=0), "output spike must be a truth value"),
    (lambda d: d["outputs"].update(spike=9999), "output spike must be in 0.."),
    (lambda d: d["outputs"].update(more=1), "outputs must be"),
    (lambda d: d.update(operations=[["sum", [], 0], *(["add", [k, k], None] for k in range(200))]),
     "at most 100 one behind the other, not 201"),
])
def test_no_program(change: Any, message: str) -> None:
    described = copy.deepcopy(GOOD)
    change(described)
    with pytest.raises(SpikeloomError, match=message):
        program_from_json(described)
