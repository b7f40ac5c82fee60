"""Samples through an accelerator on a serial line, a board's or a simulated one, against the golden model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen.bus_top import packet_config
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.manifest import SerialDescription
from spikeloom.gen.plan import Plan, plan_of
from spikeloom.gen.stimulus import packets_of
from spikeloom.gen.testbench import expected_results, random_samples
from spikeloom.gen.weight_sets import WeightSet, weight_set
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.system.arguments import an, called, choice, short
from spikeloom.model.system.paths import shown
from spikeloom.rtl.byte_beats import beat_bytes
from spikeloom.rtl.control import control_registers
from spikeloom.rtl.flash_loader import TRIES

from .build_folder import BuildFolder
from .serial_host import Host, Line, LineError
from .serial_simulation import simulated_line
from .stimulus import checked_stimulus

__all__ = ["RunResult", "run_on_line"]

_ALONE = 10                 # samples that go one at a time, so that their cycles can be read
_PATIENCE_S = 1.0
_SIMULATED_PATIENCE_S = 120.0
_WRITE_S = 30.0             # for what a line carries in a fraction of a second

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came back.

    Attributes
    ----------
    port : str
    simulated : bool
    samples : int
    wrong : int
        Samples whose result is not the golden model's, or was marked as bad by the accelerator.
    first_wrong : int or None
    accuracy : float or None
        0..1; None without labels.
    samples_per_s : float
        Of samples sent while others are under way; the line is part of it. In a simulation it means nothing.
    latency_ms : float
        From the first byte of a sample that is alone to the last one of its result, mean; likewise.
    cycles_mean : float
        Of the samples that were alone, as the accelerator counts them.
    core_per_s : float
        Samples a second of the accelerator itself, at its clock, without the line.
    line_per_s : float
        Samples a second that the line can carry.
    refused, garbled, restarts : int
        Frames that had to be sent again, and how often all was begun anew.
    """

    port: str
    simulated: bool
    samples: int
    wrong: int
    first_wrong: int | None
    accuracy: float | None
    samples_per_s: float
    latency_ms: float
    cycles_mean: float
    core_per_s: float
    line_per_s: float
    refused: int
    garbled: int
    restarts: int

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.wrong

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def run_on_line(folder: Any, samples: npt.ArrayLike, labels: npt.ArrayLike | None = None, *,
                port: str | None = None, progress: Progress | None = None,
                network: Network | None = None, load_weights: bool = False) -> RunResult:
    """Send samples to an accelerator with ``interface="uart"`` or ``"spi"``; compare every result with the golden
    model's.

    Parameters
    ----------
    folder : path
        Its build folder.
    samples : uint8 array
        As the golden model takes them.
    labels : integer array (N,), optional
    port : str, optional
        ``/dev/ttyUSB0``, ``COM3``, ...; None: a simulated one, with the whole design behind it. To SPI, what stands at
        the port hands bytes on, both ways.
    progress : callable, optional
        Called with ``(stage, done, total)``.
    network : Network, optional
        Another one of the same shape, whose weights and constants are written first: for a build with ``weight_sets``.
    load_weights : bool
        Write external weights over the line, also where a flash holds them.

    Raises
    ------
    SpikeloomError
        If the folder or the samples are bad, the port cannot be opened or goes away, nothing there answers, another
        network answers, or the flash there does not hold its weights.
    """
    build = BuildFolder.load(folder)
    bus = build.manifest.bus
    if bus is None or bus.serial is None:
        raise SpikeloomError(f"{shown(build.path)}: has no serial line: build it with --interface uart or spi")
    plan = plan_of(build.manifest, build.network)
    loaded: WeightSet | None = None
    if network is not None:
        build, loaded = build.loading(network)
    elif build.weight_sets:  # another one may be loaded
        loaded = weight_set(plan, build.network)
    tell: Progress = called(progress, "progress") or (lambda stage, done, total: None)
    loads = choice(load_weights, "load_weights", (True, False)) or bus.flash is None or network is not None
    array, label_array = checked_stimulus(build, samples, labels)
    if port is not None:
        an(str, port, "port")
    packets = packets_of(build.network, plan.channels[0], plan.window_steps, array)
    expected = expected_results(plan, golden.run(build.network, array))
    if port is None:
        with simulated_line(build, bus.serial, tell) as simulated, _opened(simulated, bus.serial) as line:
            return _run(build, plan, bus.serial, line, packets, expected, label_array, simulated, True, tell, loaded,
                        loads)
    with _opened(port, bus.serial) as line:
        return _run(build, plan, bus.serial, line, packets, expected, label_array, port, False, tell, loaded, loads)


def _run(build: BuildFolder, plan: Plan, serial: SerialDescription, line: Line, packets: list[bytes],
         expected: list[int], labels: npt.NDArray[Any] | None, port: str, simulated: bool, tell: Progress,
         loaded: WeightSet | None, loads: bool) -> RunResult:
    flash = None if build.manifest.bus is None else build.manifest.bus.flash
    config = packet_config(plan, "uart", filled=flash is not None)
    patience_s = _SIMULATED_PATIENCE_S if simulated else _PATIENCE_S + 4 * (
        10 * max(map(len, packets)) / serial.baud + _cycles_at_most(build, plan) / serial.clock_hz)
    host = Host(line, control_registers(config.control), serial.buffer_bytes, patience_s=patience_s)
    _check_there(host, build, port)
    if flash is not None:
        tell("weights from the flash", 0, 1)
        wait_s = patience_s + 2 * TRIES * flash.load_cycles / serial.clock_hz
        if not host.await_weights(wait_s) and not loads:
            raise LineError(f"port {port}: the accelerator there found in its flash not the weights of "
                            f"{shown(build.path)}: write {flash.file} into it from byte {flash.offset:,} on, or the "
                            "weights over the line (--load-weights)")
    for index, table in enumerate(build.external if loads else ()):
        tell("weights", index, len(build.external))
        host.load(index, table.contents, table.bus_bits // 8)
    if flash is not None and loads:
        host.weights_written()
    if loaded is not None:
        tell("weights", len(build.external), len(build.external) + 1)
        host.load_set(len(build.external), loaded.words, loaded.hash_words)
    each, size = len(expected) // len(packets), beat_bytes(config.result_bits)
    wrong: list[int] = []
    answers, cycles, seconds = [], [], []
    total = len(packets)
    alone = min(_ALONE, total)

    def take(number: int, beats: bytes, bad: bool) -> None:
        got = [int.from_bytes(beats[at:at + size], "little") for at in range(0, len(beats), size)]
        if bad or got != expected[number * each:(number + 1) * each]:
            wrong.append(number)
        answers.append(got[0] if got else -1)
        tell("run", number + 1, total)

    tell("run", 0, total)
    for number, result in enumerate(host.run(packets[:alone], under_way=1)):
        take(number, result.beats, result.bad)
        seconds.append(result.seconds)
        cycles.append(host.read("cycles"))
    began = time.monotonic()
    for number, result in enumerate(host.run(packets[alone:]), alone):
        take(number, result.beats, result.bad)
    rate = (total - alone) / (time.monotonic() - began) if total > alone else 1 / float(np.mean(seconds))
    raster = plan.readout is None
    accuracy = None if labels is None or raster else float((np.array(answers) == labels).mean())
    cycles_mean = float(np.mean(cycles))
    bytes_mean = float(np.mean([len(packet) for packet in packets]))
    return RunResult(
        port=port, simulated=simulated, samples=total, wrong=len(wrong), first_wrong=wrong[0] if wrong else None,
        accuracy=accuracy, samples_per_s=rate, latency_ms=1e3 * float(np.mean(seconds)), cycles_mean=cycles_mean,
        core_per_s=serial.clock_hz / cycles_mean, line_per_s=serial.baud / 10 / bytes_mean,
        refused=host.refused, garbled=host.garbled, restarts=host.restarts)


def _cycles_at_most(build: BuildFolder, plan: Plan) -> float:
    """Of any sample, as far as we know."""
    most = build.manifest.predicted_cycles.max
    return most or 20 * float(count_cycles(plan, random_samples(plan.network, 4, 0)).latency.max())


def _check_there(host: Host, build: BuildFolder, port: str) -> None:
    """That the accelerator which answers is the one of the build."""
    registers = {register.name: register for register in host.registers.registers}
    constants = {name: register.fields[0].reset for name, register in registers.items()
                 if register.fields[0].access == "constant"}
    try:
        told = {name: host.read(name) for name in constants}
    except LineError as error:
        raise LineError(f"port {port}: {error}") from error
    if told["identity"] != constants["identity"]:
        raise LineError(f"port {port}: what answers there is no accelerator of spikeloom: its identity is "
                        f"{told['identity']:#010x}, not {constants['identity']:#010x}")
    if told["version"] != constants["version"]:
        raise LineError(f"port {port}: the accelerator has version {told['version']} of the registers, the build "
                        f"{constants['version']}")
    if told.get("load_shape") != constants.get("load_shape"):
        raise LineError(f"port {port}: the accelerator there is of another build than {shown(build.path)}: its "
                        f"load_shape is {told['load_shape']:#010x}, not {constants['load_shape']:#010x}: load the "
                        "bitstream of this build")
    if told != constants:
        digits = "".join(f"{told[name]:08x}" for name in sorted(told) if name.startswith("hash"))
        raise LineError(f"port {port}: the accelerator there is for another network than {shown(build.path)}: its hash "
                        f"is {digits}, not {build.network.hash[:len(digits)]}: load the bitstream of this build")


@contextmanager
def _opened(port: str, serial: SerialDescription) -> Iterator[Line]:
    try:
        from serial import Serial, SerialException
    except ImportError:
        raise SpikeloomError("a serial port needs pyserial: pip install 'spikeloom[board]'") from None
    try:
        line = Serial(port, serial.baud, timeout=_PATIENCE_S, write_timeout=_WRITE_S, exclusive=True)
    except Exception as error:  # pyserial passes on whatever the system's calls raise
        raise LineError(f"port {short(port)}: cannot be opened with {serial.baud:,} baud: {str(error)[:300]}"
                        ) from error
    try:
        with line:
            line.reset_input_buffer()
            yield line
    except (SerialException, OSError) as error:
        raise LineError(f"port {port}: went away: {error}") from error
