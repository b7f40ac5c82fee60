"""Run samples through the emitted Verilog and compare everything with the models."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import jinja2
import numpy as np
import numpy.typing as npt

from spikeloom.gen.cycles import MEMORY, predict_latency
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network

from .build_folder import BuildFolder
from .capture import Results, read_results, results_record_bytes, stream_record_bytes
from .compare import Comparison, Mismatch
from .runner import Program, SimulationError, compile_program, run_program
from .stimulus import beat_bytes, pack_samples

__all__ = ["CyclePredictor", "Progress", "SimResult", "simulate"]

CyclePredictor = Callable[[Network, "dict[str, Any]", npt.NDArray[Any]], npt.ArrayLike]
Progress = Callable[[Literal["compile", "simulate", "compare"], int, int], None]

_TOP = "snn_testbench"
_BATCH = 1000
_POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class SimResult:
    """What a co-simulation found.

    Attributes
    ----------
    samples : int
    mismatches : int
        Differing spike bits, of every layer and step, plus differing classes.
    first_mismatch : Mismatch or None
        By sample, then layer, step and neuron.
    cycles_min, cycles_mean, cycles_max
        Cycles from a sample's first input transfer to its result.
    cycles_mispredicted : int or None
        Samples whose cycles differ from the cycle model's; None if they were not compared (only the
        isolated mode without stalls has predictable cycles).
    accuracy : float or None
        Of the hardware's classes, 0..1; None without labels.
    wall_s : float
        Everything: compiling, simulating, comparing.
    cycles_per_s : float
        Simulated cycles of all jobs together per second of simulation.
    seed : int
        Of the random stalls.
    latencies : int64 array (N,)
        Cycles of every sample.
    classes : int64 array (N,)
        The hardware's answers.
    invalid : bool array (N,)
        Answers that the hardware marked because an external memory reported an error.
    waves : Path or None
        The waveforms, if they were asked for.
    """

    samples: int
    mismatches: int
    first_mismatch: Mismatch | None
    cycles_min: int
    cycles_mean: float
    cycles_max: int
    cycles_mispredicted: int | None
    accuracy: float | None
    wall_s: float
    cycles_per_s: float
    seed: int
    latencies: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    invalid: npt.NDArray[np.bool_]
    waves: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether everything that was compared is equal."""
        return self.mismatches == 0 and not self.cycles_mispredicted

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, ready for ``json.dumps``."""
        return {
            "samples": self.samples,
            "mismatches": self.mismatches,
            "first_mismatch": self.first_mismatch.to_json() if self.first_mismatch else None,
            "cycles": {"min": self.cycles_min, "mean": self.cycles_mean, "max": self.cycles_max},
            "cycles_mispredicted": self.cycles_mispredicted,
            "invalid": int(self.invalid.sum()),
            "accuracy": self.accuracy,
            "wall_s": self.wall_s,
            "cycles_per_s": self.cycles_per_s,
            "seed": self.seed,
            "waves": str(self.waves) if self.waves else None,
        }


@dataclass(frozen=True, kw_only=True)
class _Stimulation:
    """How the samples are sent."""

    mode: str
    input_gap: float
    output_stall: float
    seed: int
    reset_cycles: tuple[int, ...]
    max_idle_cycles: int
    memory: MemoryTiming
    memory_error_address: int | None

    def plusargs(self, job: int) -> list[str]:
        random = np.random.SeedSequence([self.seed, job]).generate_state(1)[0] or 1  # xorshift must not start at 0
        return [f"+stream={int(self.mode == 'stream')}", f"+input_gap={round(self.input_gap * 65536)}",
                f"+output_stall={round(self.output_stall * 65536)}", f"+random={random}",
                f"+max_idle={self.max_idle_cycles}", f"+axi_latency={self.memory.latency_cycles}",
                f"+axi_beat_interval={self.memory.beat_interval_cycles}",
                f"+axi_error_address={-1 if self.memory_error_address is None else self.memory_error_address}"]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A share of the samples, simulated by one process in a folder of its own."""

    run_dir: Path
    start: int
    stop: int

    @property
    def samples(self) -> int:
        return self.stop - self.start


def simulate(folder: str | Path, samples: npt.ArrayLike, labels: npt.ArrayLike | None = None, *, jobs: int = 2,
             mode: Literal["isolated", "stream"] = "isolated", input_gap: float = 0.0, output_stall: float = 0.0,
             seed: int = 0, reset_cycles: Sequence[int] = (), waves: str | Path | None = None,
             predict: CyclePredictor | None = None, progress: Progress | None = None,
             max_idle_cycles: int | None = None, memory: MemoryTiming = MEMORY,
             memory_error_address: int | None = None) -> SimResult:
    """Simulate a build folder's Verilog on samples and compare every spike, class and cycle count.

    Parameters
    ----------
    folder : path
        What ``spikeloom build`` wrote.
    samples : uint8 array
        As the golden model takes them (:func:`spikeloom.model.golden.encode_input`).
    labels : integer array (N,)
        For the accuracy.
    jobs : int
        Processes among which the samples are divided.
    mode : "isolated" or "stream"
        Send a sample when the one before has its class, or as soon as the hardware takes it.
    input_gap, output_stall : float
        0..1 (exclusive): probability per cycle that the input pauses, that the output has to wait.
    seed : int
        Of these random pauses.
    reset_cycles : sequence of int
        Cycles, counted in each process from its start, at which the hardware is reset; samples without a
        class by then are sent again.
    waves : path
        Write waveforms (``.vcd``) to this file; one process, and much slower.
    predict : callable
        ``predict(network, manifest, samples)`` gives the cycles of each sample. Default: the generator's
        cycle model. Compared in isolated mode without stalls only.
    progress : callable
        Called with ``(stage, done, total)``; stages are "compile", "simulate" and "compare".
    max_idle_cycles : int
        Give up after so many cycles without a transfer at either port. The default follows from the
        network's size.
    memory : MemoryTiming
        Of the external memories, if the build has any.
    memory_error_address : int
        External memories answer reads of the bus word with this byte with an error.

    Raises
    ------
    SpikeloomError
        If the folder, the samples or a parameter is bad, or there is no simulator.
    SimulationError
        If the hardware hangs, breaks the rules of its streams, or sends another number of beats than its
        manifest says. (Wrong spikes are no error: they are in the result.)
    """
    began = time.monotonic()
    build = BuildFolder.load(folder)
    array, label_array = _checked(build, samples, labels)
    stimulation = _stimulation(build, mode, input_gap, output_stall, seed, reset_cycles, max_idle_cycles,
                                memory, memory_error_address)
    if jobs < 1:
        raise SpikeloomError(f"jobs must be at least 1, not {jobs!r}")
    waves_file = _checked_waves(waves)
    report: Progress = progress or (lambda stage, done, total: None)

    report("compile", 0, 1)
    program = compile_program(_sources(build), _TOP, waves=waves_file is not None)
    report("compile", 1, 1)
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as scratch:
        shares = _divide(len(array), 1 if waves_file else jobs, Path(scratch))
        simulating = time.monotonic()
        _simulate_all(build, program, array, shares, stimulation, waves_file, report)
        simulating = time.monotonic() - simulating
        results, cycles = [], 0
        for share in shares:
            results.append(_checked_results(build, share, mode))
            cycles += int((share.run_dir / "summary.txt").read_text().split()[1])
        comparison = _compare_all(build, array, shares, results, report)

    classes = np.concatenate([r.classes for r in results])
    latencies = np.concatenate([r.latencies for r in results])
    mispredicted = None
    if mode == "isolated" and input_gap == 0 and output_stall == 0:
        predicted = np.asarray((predict or partial(predict_latency, memory=memory))(
            build.network, dict(build.manifest), array))
        if predicted.shape != latencies.shape:
            raise SpikeloomError(f"predict gave {predicted.shape}, not one number for each of {len(array)} samples")
        mispredicted = int((latencies != predicted).sum())
    return SimResult(
        samples=len(array), mismatches=comparison.mismatches, first_mismatch=comparison.first,
        cycles_min=int(latencies.min()), cycles_mean=float(latencies.mean()), cycles_max=int(latencies.max()),
        cycles_mispredicted=mispredicted,
        accuracy=None if label_array is None else float((classes == label_array).mean()),
        wall_s=time.monotonic() - began, cycles_per_s=cycles / simulating, seed=seed, latencies=latencies,
        classes=classes, invalid=np.concatenate([r.invalid for r in results]), waves=waves_file)


def _checked(build: BuildFolder, samples: npt.ArrayLike,
             labels: npt.ArrayLike | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    array = np.asarray(samples)
    golden.encode_input(build.network, array[:1])
    if len(array) == 0:
        raise SpikeloomError("there must be at least one sample")
    if labels is None:
        return array, None
    label_array = np.asarray(labels)
    if label_array.shape != (len(array),):
        raise SpikeloomError(f"labels have shape {label_array.shape}, but there are {len(array)} samples")
    return array, label_array


def _checked_waves(waves: str | Path | None) -> Path | None:
    if waves is None:
        return None
    path = Path(waves).absolute()
    if path.suffix != ".vcd":
        raise SpikeloomError(f"{path}: waveforms are written as .vcd")
    if not path.parent.is_dir():
        raise SpikeloomError(f"{path}: folder {path.parent} does not exist")
    return path


def _stimulation(build: BuildFolder, mode: str, input_gap: float, output_stall: float, seed: int,
                 reset_cycles: Sequence[int], max_idle_cycles: int | None, memory: MemoryTiming,
                 memory_error_address: int | None) -> _Stimulation:
    if mode not in ("isolated", "stream"):
        raise SpikeloomError(f"mode must be 'isolated' or 'stream', not {mode!r}")
    for name, probability in (("input_gap", input_gap), ("output_stall", output_stall)):
        if not 0 <= probability <= 0.99:
            raise SpikeloomError(f"{name} must be in 0..0.99, not {probability!r}")
    if any(cycle < 0 for cycle in reset_cycles):
        raise SpikeloomError(f"reset_cycles must not be negative, not {tuple(reset_cycles)!r}")
    if seed < 0:
        raise SpikeloomError(f"seed must not be negative, not {seed!r}")
    if max_idle_cycles is None:
        # One lane that handles one synapse in two cycles would still be four times faster than this.
        work = sum((la.connection.inputs + 8) * (la.connection.outputs + 8) for la in build.network.layers)
        slow = 1 + memory.latency_cycles + 64 * memory.beat_interval_cycles if build.external else 1
        max_idle_cycles = min(math.ceil(8 * build.windows * work / (1 - output_stall)) * slow, (1 << 31) - 1)
    return _Stimulation(mode=mode, input_gap=input_gap, output_stall=output_stall, seed=seed,
                        reset_cycles=tuple(sorted(reset_cycles)), max_idle_cycles=max_idle_cycles, memory=memory,
                        memory_error_address=memory_error_address)


def _sources(build: BuildFolder) -> dict[str, str]:
    """The design's files and the testbench made for it."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     keep_trailing_newline=True)
    template = resources.files("spikeloom.cosim").joinpath("harness", f"{_TOP}.sv.j2").read_text(encoding="utf-8")
    bench = environment.from_string(template).render(
        top=build.top, beats_per_sample=build.beats_per_sample, beat_bits=build.beat_bits,
        result_bits=build.class_bits + bool(build.external), windows=build.windows, layers=build.layers,
        external=build.external)
    files = {p.name: p.read_text(encoding="utf-8") for p in (*build.waivers, *build.sources)}
    if build.external:
        memory = resources.files("spikeloom.cosim").joinpath("harness", "axi_memory.sv").read_text(encoding="utf-8")
        files["axi_memory.sv"] = memory
    return {**files, f"{_TOP}.sv": bench}


def _divide(count: int, jobs: int, scratch: Path) -> list[_Job]:
    edges = np.linspace(0, count, min(jobs, count) + 1).astype(int).tolist()
    return [_Job(run_dir=scratch / f"job{i}", start=a, stop=b) for i, (a, b) in enumerate(pairwise(edges))]


def _simulate_all(build: BuildFolder, program: Program, samples: npt.NDArray[Any], shares: list[_Job],
                  stimulation: _Stimulation, waves: Path | None, report: Progress) -> None:
    total = len(samples)
    report("simulate", 0, total)
    with ThreadPoolExecutor(len(shares)) as pool:
        # The threads only wait for their processes.
        pending = {pool.submit(_simulate_one, build, program, samples, share, index, stimulation, waves)
                   for index, share in enumerate(shares)}
        while pending:
            done, pending = wait(pending, _POLL_SECONDS, FIRST_EXCEPTION)
            report("simulate", sum(_completed(build, share) for share in shares), total)
            for future in done:
                future.result()


def _completed(build: BuildFolder, share: _Job) -> int:
    try:
        return os.stat(share.run_dir / "results.bin").st_size // results_record_bytes(build)
    except OSError:
        return 0


def _simulate_one(build: BuildFolder, program: Program, samples: npt.NDArray[Any], share: _Job, index: int,
                  stimulation: _Stimulation, waves: Path | None) -> None:
    share.run_dir.mkdir()
    for memory in build.memories:  # the Verilog names them relative to the working directory
        (share.run_dir / memory.name).symlink_to(memory.absolute())
    for table in build.external:
        (share.run_dir / f"{table.layer}_table.hex").write_text(table.hex())
    stimulus = share.run_dir / "stimulus.bin"
    with stimulus.open("wb") as file:
        for start in range(share.start, share.stop, _BATCH):
            file.write(pack_samples(build, samples[start:min(start + _BATCH, share.stop)]).tobytes())
    plusargs = [f"+stimulus={stimulus}", f"+samples={share.samples}", *stimulation.plusargs(index)]
    if stimulation.reset_cycles:
        if stimulus.stat().st_size >= 1 << 31:
            raise SpikeloomError(f"with resets a process can take at most 2 GiB of stimulus, not {share.samples} "
                                 f"samples of {build.beats_per_sample * beat_bytes(build)} bytes: use more jobs")
        resets = share.run_dir / "resets.txt"
        resets.write_text("".join(f"{cycle}\n" for cycle in stimulation.reset_cycles))
        plusargs.append(f"+resets={resets}")
    run_program(program, "spikeloom.cosim.bench", share.run_dir, plusargs=plusargs, waves=waves)


def _checked_results(build: BuildFolder, share: _Job, mode: str) -> Results:
    """Results of one job, if the hardware kept to the rules; wrong spikes are the comparison's business."""
    results = read_results(build, share.run_dir)
    completed, cycles, protocol_errors, _ = (int(w) for w in (share.run_dir / "summary.txt").read_text().split())
    beats = np.array([build.windows * layer.beats_per_window for layer in build.layers])
    count = len(results.classes)
    expected = beats * np.arange(1, count + 1)[:, None]
    # Back to back, a layer may already be busy with the next samples.
    wrong = results.transfers < expected if mode == "stream" else results.transfers != expected
    if wrong.any():
        n, i = (int(x) for x in np.unravel_index(int(wrong.argmax()), wrong.shape))
        got = results.transfers[n, i] - (results.transfers[n - 1, i] if n else 0)
        raise SimulationError(f"sample {share.start + n}, layer {build.layers[i].name}: {got} beats of spikes until "
                              f"the result, expected {beats[i]}")
    if completed < share.samples:
        raise SimulationError(f"sample {share.start + completed}: no result until cycle {cycles}: the hardware hangs")
    for i, layer in enumerate(build.layers):
        size = (share.run_dir / f"spikes_{layer.name}.bin").stat().st_size
        extra = size // stream_record_bytes(layer) - int(beats[i]) * count
        if extra:
            raise SimulationError(f"layer {layer.name}: {extra} beats of spikes too many after the last result")
    if protocol_errors:
        raise SimulationError(f"{protocol_errors} times a stream changed or withdrew its payload before the transfer, "
                              "or a result came that nobody asked for")
    return results


def _compare_all(build: BuildFolder, samples: npt.NDArray[Any], shares: list[_Job], results: list[Results],
                 report: Progress) -> Comparison:
    comparison = Comparison()
    report("compare", 0, len(samples))
    for share, result in zip(shares, results, strict=True):
        for start in range(share.start, share.stop, _BATCH):
            stop = min(start + _BATCH, share.stop)
            local = start - share.start
            comparison.add(build, share.run_dir, local, golden.run(build.network, samples[start:stop]),
                           result.classes[local:local + stop - start], start)
            report("compare", stop, len(samples))
    return comparison
