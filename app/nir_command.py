"""NIR files on the command line: what a file means, its float semantics, and its way to a network file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.table import Table

from spikeloom.console import bar, command_line, out, print_json, print_next, print_table
from spikeloom.data_options import data_option, json_option, load_data, samples_option, split_option
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.paths import shown

if TYPE_CHECKING:
    import numpy.typing as npt

    from spikeloom.model.exchange.dialects import Dialect
    from spikeloom.model.exchange.nir_file import NirGraph
    from spikeloom.model.exchange.real_network import RealNetwork
    from spikeloom.model.network import Network

__all__ = ["check_nir", "dialect_options", "evaluate_nir", "export_nir", "import_nir", "is_nir", "save_spikes"]

F = TypeVar("F", bound=Callable[..., Any])
WEIGHTED = ("Affine", "Linear", "Scale", "Conv1d", "Conv2d")
BATCH = 100  # samples that are run together in float
READOUTS = ["count", "last_potential", "max_potential", "first_spike", "raster"]


def dialect_options(command: F) -> F:
    """How a NIR file is read; the arguments ``dialect``, ``settings`` and ``single_spike``."""
    command = click.option("--single-spike", is_flag=True, help="Of a NIR file whose framework counts several spikes "
                           "of a neuron in a step: one at most. Results change.")(command)
    command = click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field of the "
                           "dialect: dt, decay, reset, ... (may be repeated).")(command)
    return click.option("--dialect", help="Whose rules a NIR file follows: nir, snntorch, snntorch-nodelay, norse, "
                        "norse-1.1, sinabs, rockpool, spyx, spikingjelly.")(command)


def is_nir(path: str) -> bool:
    """Whether an argument is a NIR file by its name."""
    return path.endswith(".nir")


def chosen(path: str, graph: NirGraph, name: str | None, settings: Sequence[str], single_spike: bool) -> Dialect:
    """The dialect that was asked for; never one that nobody has chosen."""
    from spikeloom.model.exchange.dialects import CHOICES, DIALECTS, Dialect, suggested
    if name is None:
        likely = "; ".join(f"--dialect {dialect} ({why})" for dialect, why in suggested(graph))
        raise SpikeloomError(f"{shown(Path(path))}: a NIR file does not say what happens in a time step: choose a "
                             f"dialect. It looks like {likely}")
    if name not in DIALECTS:
        raise SpikeloomError(f"--dialect must be one of {', '.join(DIALECTS)}, not {name!r}")
    dialect = DIALECTS[name]
    known = [f.name for f in fields(Dialect) if f.name not in ("name", "multi", "old_spikes")]
    for setting in settings:
        field, equals, text = setting.partition("=")
        if not equals or field not in known:
            raise SpikeloomError(f"--set must be FIELD=VALUE with one of {', '.join(known)}, not {setting!r}")
        value: Any = text
        if field not in CHOICES or isinstance(CHOICES[field][0], int):
            try:
                value = float(text) if field not in CHOICES else int(text)
            except ValueError:
                raise SpikeloomError(f"--set {field} must be a number, not {text!r}") from None
        dialect = replace(dialect, **{field: value})
    if dialect.multi and not single_spike:
        raise SpikeloomError(f"dialect {name}: a neuron can spike several times in a step there, and once here: "
                             "results change; --single-spike says that this is wanted")
    if dialect.multi:
        click.echo(f"dialect {name}: one spike a step at most, where {name} can have more: results change",
                   err=True)
    return replace(dialect, multi=False)


def check_nir(path: str, name: str | None, settings: Sequence[str], single_spike: bool, picture: Path | None,
              as_json: bool) -> None:
    """What each node becomes, or why it cannot."""
    from spikeloom.model.exchange.dialects import suggested
    from spikeloom.model.exchange.integers import described, integer_network
    from spikeloom.model.exchange.meaning import meaning
    from spikeloom.model.exchange.nir_file import read_nir
    from spikeloom.model.readout import Readout
    graph = read_nir(path)
    value: dict[str, Any] = {"file": path, "nir_version": graph.version, "dialect": None,
                             "suggested": [{"dialect": d, "why": why} for d, why in suggested(graph)],
                             "edges": [list(edge) for edge in graph.edges]}
    nodes: dict[str, dict[str, Any]] = {
        node.name: {"name": node.name, "type": node.type, "becomes": None, "exact": None, "error": None}
        for node in graph.nodes.values()}
    problem = None
    try:
        dialect = chosen(path, graph, name, settings, single_spike)
        value["dialect"] = asdict(dialect)
        real, meanings = meaning(graph, dialect, Path(path).stem)
        became = described(integer_network(real, steps=1, readout=Readout(kind="raster")), real)
        for one in meanings:
            layer = one.becomes.removeprefix("layer ")
            approximate = (became.get(layer, "exact") if one.becomes.startswith("layer ") else
                           "weights rounded" if one.type in WEIGHTED else "exact")
            nodes[one.name].update(becomes=one.becomes, exact=approximate == "exact")
            if approximate != "exact":
                nodes[one.name]["becomes"] = f"{one.becomes}: {approximate}"
    except SpikeloomError as error:
        problem = error
        for node_name, node in nodes.items():
            if str(error).startswith(f"node {node_name}:"):
                node["error"] = str(error)
    value["nodes"] = list(nodes.values())
    if picture is not None:
        from spikeloom.nir_picture import draw
        draw(graph, picture)
        value["picture"] = str(picture)
    if as_json:
        print_json(value | {"error": None if problem is None else str(problem)})
    else:
        _print_nodes(path, graph, value)
        if problem is None:
            more = [*(word for setting in settings for word in ("--set", setting)),
                    *(["--single-spike"] if single_spike else [])]
            print_next(command_line("import", path, "--dialect", name, *more, "--steps", 100, "-o",
                                    f"{_network_name(path)}.snn"))
    if problem is not None:
        raise problem


def _print_nodes(path: str, graph: NirGraph, value: Mapping[str, Any]) -> None:
    if value["dialect"]:
        out.print("dialect: " + ", ".join(f"{key} {given}" for key, given in value["dialect"].items()))
    for one in value["suggested"]:
        out.print(f"looks like {one['dialect']}: {one['why']}")
    table = Table(title=f"{path}, NIR {graph.version or 'of unknown version'}", title_justify="left")
    for title in ("node", "type", "to", "becomes"):
        table.add_column(title)
    for node in value["nodes"]:
        table.add_row(node["name"], node["type"], ", ".join(graph.targets(node["name"])),
                      node["error"] or node["becomes"] or "")
    out.print(table)


def _real(path: str, name: str | None, settings: Sequence[str], single_spike: bool) -> tuple[RealNetwork, Dialect]:
    from spikeloom.model.exchange.meaning import meaning
    from spikeloom.model.exchange.nir_file import read_nir
    graph = read_nir(path)
    dialect = chosen(path, graph, name, settings, single_spike)
    try:
        return meaning(graph, dialect, _network_name(path))[0], dialect
    except SpikeloomError as error:
        raise SpikeloomError(f"{shown(Path(path))}: {error}") from None


def _own(path: str) -> Network | None:
    """The network in a file that `spikeloom export` wrote."""
    from spikeloom.model.exchange.export import own_network
    from spikeloom.model.exchange.nir_file import read_nir
    try:
        return own_network(read_nir(path))
    except SpikeloomError as error:
        where = shown(Path(path))
        raise SpikeloomError(f"{where}: {str(error).removeprefix(f'{where}: ')}") from None


def _network_name(path: str) -> str:
    import re
    return re.sub(r"[^A-Za-z0-9_.-]", "_", Path(path).stem).lstrip("_.-")[:100] or "network"


def evaluate_nir(path: str, name: str | None, settings: Sequence[str], single_spike: bool, data: str | None,
                 split: str | None, samples: int | None, steps: int | None, save: Path | None,
                 as_json: bool) -> None:
    """Run the network in the dialect's own arithmetic; with ``steps``, images are currents of 0 to 1 in so many."""
    import numpy as np

    from spikeloom.model.exchange.integers import as_currents
    from spikeloom.model.exchange.real_network import joined, run
    real, dialect = _real(path, name, settings, single_spike)
    if data is None:
        raise SpikeloomError(f"{shown(Path(path))}: a NIR file does not say on which data it was trained: name some by "
                             f"--data, with samples of shape (steps, {', '.join(map(str, real.input_shape))})")
    loaded = load_data(data, samples, split)
    results = []
    with bar("float semantics", len(loaded)) as advance:
        for start in range(0, len(loaded), BATCH):
            images = loaded.images[start:start + BATCH]
            results.append(run(real, images if steps is None else as_currents(images, steps)))
            advance(len(images))
    result = joined(results)
    output = next(p for p in real.populations if p.name == real.output)
    spiking = output.neuron.threshold is not None
    scores = (result.spikes[real.output].sum(axis=1).astype(np.int64) if spiking
              else result.potentials[real.output])
    classes = scores.argmax(axis=1)
    right = float((classes == loaded.labels).mean())
    if save is not None:
        save_spikes(save, result.spikes, scores, result.potentials[real.output], classes)
    rates = {population: float(spikes.mean()) for population, spikes in result.spikes.items()}
    value = {"network": real.name, "dialect": asdict(dialect), "data": loaded.name, "samples": len(loaded),
             "accuracy": right, "spikes_per_neuron_and_step": rates, "saved": None if save is None else str(save)}
    print_table(as_json, value, f"{real.name}: float semantics of dialect {dialect.name}", [
        ("data", f"{loaded.name}, {loaded.split}"), ("samples", f"{len(loaded):,}"), ("accuracy", f"{right:.2%}"),
        ("score", "spike count" if spiking else "membrane potential in the last step"),
        *((f"spikes per neuron and step in {population}", f"{rate:.4f}") for population, rate in rates.items()),
        *([] if save is None else [("saved", save)])])


def save_spikes(path: Path, spikes: Mapping[str, npt.NDArray[Any]], scores: npt.NDArray[Any],
                potentials: npt.NDArray[Any], classes: npt.NDArray[Any]) -> None:
    """An ``.npz``: spikes (N, T, neurons) under each population's name; ``scores``, ``potentials``, ``classes``."""
    import numpy as np

    from spikeloom.model.system.writing import check_file, new_file
    own = {"scores": scores, "potentials": potentials, "classes": classes}
    if path.suffix != ".npz":
        raise SpikeloomError(f"{shown(path)}: spikes are written as .npz")
    if clash := sorted(own.keys() & spikes.keys()):
        raise SpikeloomError(f"{shown(path)}: a population's name, {clash[0]}, is that of another array")

    def is_ours(existing: Path) -> bool:
        try:
            with np.load(existing) as arrays:
                return own.keys() <= set(arrays.files)
        except (OSError, ValueError, EOFError):
            return False

    check_file(path, is_ours)
    with new_file(path, is_ours) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **own, **spikes)


@click.command("import")
@click.argument("file")
@dialect_options
@data_option
@split_option
@samples_option
@click.option("--steps", type=click.IntRange(1, 65536), help="Time steps of a run.  [default: those of the data]")
@click.option("--input-bits", type=click.IntRange(1, 8), help="The input are images, whose pixels are currents of 0 to "
              "1 in every step: so many bits of them.  [default: it is spikes]")
@click.option("--weight-bits", type=click.IntRange(2, 16), default=8, show_default=True, help="2 to 8, or 16.")
@click.option("--differ-at-most", type=click.FloatRange(0, 1), help="As few weight bits, up to --weight-bits, as leave "
              "no larger share of spikes different from float; needs --data.")
@click.option("--fraction-bits", type=click.IntRange(0, 16), help="Of the states.  [default: follows the thresholds]")
@click.option("--readout", type=click.Choice(READOUTS), help="What the output's activity becomes.  [default: count, or "
              "last_potential where it does not spike]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Network file to write.")
@json_option
def import_nir(file: str, dialect: str | None, settings: tuple[str, ...], single_spike: bool, data: str | None,
               split: str | None, samples: int | None, steps: int | None, input_bits: int | None, weight_bits: int,
               differ_at_most: float | None, fraction_bits: int | None, readout: str | None, output: Path,
               as_json: bool) -> None:
    """A network file from the NIR file FILE, quantised.

    A file that `spikeloom export` wrote becomes the network that it was; others need a --dialect.
    With --data, integer neurons are fitted to the spikes of the float ones on these samples, and compared.

    \b
    Examples:
      spikeloom import model.nir --dialect snntorch --data spikes.npz -o model.snn
      spikeloom import model.nir --dialect norse --set dt=1e-3 --steps 100 -o model.snn
      spikeloom import model.nir --dialect snntorch --set reset=zero --weight-bits 6 --data spikes.npz -o model.snn
    """
    from spikeloom.model.exchange.integers import agreement, integer_network
    from spikeloom.model.network_file import save_network
    from spikeloom.model.readout import Readout
    if dialect is None and (own := _own(file)) is not None:
        save_network(own, output)
        print_table(as_json, {"network": own.name, "hash": own.hash, "file": str(output), "dialect": None,
                              "topology": own.topology, "steps": own.steps}, f"{own.name}: {own.topology}", [
            ("as it was exported", f"hash {own.hash[:16]}"), ("file", output),
            ("next", command_line("build", output, "-o", f"build/{own.name}"))])
        return
    real, rules = _real(file, dialect, settings, single_spike)
    loaded = None if data is None else load_data(data, samples, split)
    if differ_at_most is not None and loaded is None:
        raise SpikeloomError("--differ-at-most needs --data to compare with")
    if steps is None:
        if loaded is None or loaded.images.ndim < 3 or input_bits is not None:
            raise SpikeloomError("--steps must be given where no --data of spikes, (N, steps, ...), say how many")
        steps = loaded.images.shape[1]
    out_neuron = next(p.neuron for p in real.populations if p.name == real.output)
    kind: Any = readout or ("count" if out_neuron.threshold is not None else "last_potential")
    images = None if loaded is None else loaded.images
    how = {"nir": {"file": Path(file).name, "dialect": asdict(rules),
                   "calibration": None if loaded is None else {"data": loaded.name, "samples": len(loaded)}}}
    tried = [bits for bits in (2, 3, 4, 5, 6, 7, 8, 16) if differ_at_most is not None and bits < weight_bits]
    with bar("quantise", len(tried) + 1) as advance:
        for bits in (*tried, weight_bits):
            network = integer_network(real, steps=steps, readout=Readout(kind=kind), weight_bits=bits, metadata=how,
                                      fraction_bits=fraction_bits, input_bits=input_bits, calibration=images)
            advance(1)
            if bits < weight_bits and images is not None and agreement(network, real, images).share <= (
                    differ_at_most or 0):
                break
    save_network(network, output)
    value: dict[str, Any] = {"network": network.name, "hash": network.hash, "file": str(output), "steps": steps,
                             "topology": network.topology, "weight_bits": bits, "dialect": asdict(rules)}
    rows: list[tuple[str, Any]] = [("dialect", rules.name), ("steps", steps), ("weights", f"{bits} bits"),
                                   ("readout", kind)]
    if loaded is not None:
        compared = agreement(network, real, loaded.images)
        value["differing_spikes"] = {"share": compared.share, **compared.differing}
        counts = ", ".join(f"{name} {count}" for name, count in compared.differing.items())
        rows.append(("spikes that differ from float",
                     f"{compared.share:.2%} of {sum(compared.of.values()):,} bits: {counts}"))
    print_table(as_json, value, f"{network.name}: {network.topology}", [
        *rows, ("file", output), ("next", command_line("build", output, "-o", f"build/{network.name}"))])


@click.command("export")
@click.argument("network")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="NIR file to write.")
@json_option
def export_nir(network: str, output: Path, as_json: bool) -> None:
    """NETWORK as a NIR file for other frameworks; `spikeloom import` makes of it what it was.

    What NIR's nodes cannot say is told: it stands in the file's metadata only, where others do not look.

    \b
    Examples:
      spikeloom export fashion-mnist-400-400 -o mine.nir
    """
    import spikeloom
    from spikeloom.model.exchange.export import export_nir as write
    net = spikeloom.load(network)
    unsaid = write(net, output)
    print_table(as_json, {"network": net.name, "hash": net.hash, "file": str(output), "not_in_nodes": unsaid},
                f"{net.name}: {net.topology}", [("file", output), ("not in its nodes", "; ".join(unsaid) or "nothing")])
