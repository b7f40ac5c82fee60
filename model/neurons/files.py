"""Neurons in network files: the name of the type, and its constants; of a type from outside, its program.

A file never carries code. Arrays lie beside the JSON, under the path of their field: ``membrane.c``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from ..numerics import Multiply, Shift, Shifts
from ..system.arguments import short
from .neuron_type import NeuronType
from .parts import Adaptation, Alpha, Clamp, DualExponential, Gain, LateCurrent, Offset, Ramp, ResetTo, Trace
from .recorded import RecordedNeuron, program_from_json, program_to_json
from .types import Integrator, Neuron

__all__ = ["neuron_from_json", "neuron_to_json"]

Arrays = dict[str, npt.NDArray[Any]]

PROGRAM = "program"
NEURONS: dict[str, type[NeuronType]] = {kind.__name__: kind for kind in (Neuron, Integrator)}
PARTS: dict[str, type] = {kind.__name__: kind for kind in (
    Adaptation, Alpha, Clamp, DualExponential, Gain, LateCurrent, Multiply, Offset, Ramp, ResetTo, Shift, Shifts,
    Trace)}


def neuron_to_json(neuron: NeuronType) -> tuple[dict[str, Any], Arrays]:
    """A neuron as JSON values, and its arrays by the paths of their fields."""
    if type(neuron) in NEURONS.values():
        arrays: Arrays = {}
        return _to_json(neuron, "", arrays), arrays
    name = neuron.name if isinstance(neuron, RecordedNeuron) else type(neuron).__name__
    program = neuron.program
    return {"kind": PROGRAM, "name": name, "program": program_to_json(program)}, {
        key: neuron.arrays[key] for key in program.parameters}


def _to_json(value: Any, path: str, arrays: Arrays) -> dict[str, Any]:
    out: dict[str, Any] = {"kind": type(value).__name__}
    for f in fields(value):
        inner = getattr(value, f.name)
        if isinstance(inner, np.ndarray):
            arrays[f"{path}{f.name}"] = inner
        elif is_dataclass(inner):
            out[f.name] = _to_json(inner, f"{path}{f.name}.", arrays)
        elif f.default is MISSING or inner != f.default:
            out[f.name] = inner
    return out


def neuron_from_json(value: Any, arrays: Arrays) -> NeuronType:
    """What :func:`neuron_to_json` wrote; takes the arrays that belong to it out of ``arrays``.

    Raises
    ------
    SpikeloomError
        Naming field, value, and what is allowed.
    """
    if isinstance(value, Mapping) and value.get("kind") == PROGRAM:
        if set(value) != {"kind", "name", "program"} or not isinstance(value["name"], str) or len(value["name"]) > 100:
            raise SpikeloomError(f"neuron must have kind, name and program, not {short(sorted(value))}")
        program = program_from_json(value["program"])
        missing = [name for name in program.parameters if name not in arrays]
        if missing:
            raise SpikeloomError(f"array {missing[0]} is missing")
        return RecordedNeuron(name=value["name"], recorded_program=program,
                              constants={name: arrays.pop(name) for name in program.parameters})
    neuron: NeuronType = _from_json(value, "neuron", "", arrays, {**NEURONS})
    return neuron


def _from_json(value: Any, what: str, path: str, arrays: Arrays, kinds: Mapping[str, type]) -> Any:
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str) or value["kind"] not in kinds:
        allowed = [*kinds, PROGRAM] if kinds.keys() == NEURONS.keys() else sorted(kinds)
        raise SpikeloomError(f"field {what}.kind: must be one of {', '.join(allowed)}, not "
                             f"{short(value.get('kind') if isinstance(value, Mapping) else value)}")
    kind = kinds[value["kind"]]
    known = {f.name: f for f in fields(kind)}
    for name in value:
        if name != "kind" and name not in known:
            raise SpikeloomError(f"field {what}.{name} is unknown; a {kind.__name__} has {', '.join(known)}")
    given: dict[str, Any] = {}
    for name, f in known.items():
        if name in value:
            inner = value[name]
            given[name] = (_from_json(inner, f"{what}.{name}", f"{path}{name}.", arrays, PARTS)
                           if isinstance(inner, Mapping) else inner)
        elif f"{path}{name}" in arrays:
            given[name] = arrays.pop(f"{path}{name}")
        elif f.default is MISSING:
            # What is one value for each neuron is an array; all else stands in the description.
            what_is = f"array {path}{name}" if "IntArray" in str(f.type) else f"field {what}.{name}"
            raise SpikeloomError(f"{what_is} is missing")
    try:
        return kind(**given)
    except SpikeloomError as error:
        raise SpikeloomError(f"{what}: {error}" if path else str(error)) from None
