"""The host of an accelerator on a serial line: registers, samples, results, and what to do when something is lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from spikeloom.model.errors import SpikeloomError
from spikeloom.rtl.frames import ADDRESS_BYTES, NUMBERS, RESULT_NUMBERS, Kind, Reason
from spikeloom.rtl.registers import RegisterMap
from spikeloom.rtl.weight_loader import HEAD_BYTES, WORD_NUMBER_BYTES

from .serial_frames import FrameReader, encoded

__all__ = ["Host", "Line", "LineError", "Result"]

_TRIES = 4       # of the same thing, before we give up
_QUIET_S = 0.05  # after a refusal, before pieces are sent again
_UNDER_WAY = 4   # samples whose results have not come
_BAD = 0x80      # bit of a result's status


class LineError(SpikeloomError):
    """The accelerator does not answer, or answers nonsense."""


class Line(Protocol):
    """A serial port, as pyserial has it; ``read`` waits for ``timeout`` seconds at most."""

    timeout: float | None

    @property
    def in_waiting(self) -> int: ...

    def read(self, size: int = 1) -> bytes: ...

    def write(self, data: bytes) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came back for a sample.

    Attributes
    ----------
    beats : bytes
        Of the result, each in whole bytes, least significant first.
    bad : bool
        Its packet was malformed, or a memory answered with an error.
    seconds : float
        From the first byte of the sample to the last one of the result, on the host's clock.
    """

    beats: bytes
    bad: bool
    seconds: float


@dataclass
class _Piece:
    number: int
    sample: int
    frame: bytes
    size: int


class Host:
    """Sends and receives frames (:mod:`spikeloom.rtl.frames`).

    Parameters
    ----------
    line : Line
    registers : RegisterMap
    buffer_bytes : int
        Of the accelerator.
    patience_s : float
        How long an answer may take.

    Attributes
    ----------
    refused, garbled, restarts : int
        Frames that the accelerator refused, frames of its that were none, and how often all was begun anew. Nothing of
        this makes a result wrong.
    """

    def __init__(self, line: Line, registers: RegisterMap, buffer_bytes: int, *, patience_s: float = 1.0) -> None:
        self.line = line
        self.patience_s = patience_s
        self.buffer_bytes = buffer_bytes
        self.registers = registers
        self._offsets = {register.name: register.offset for register in registers.registers}
        self._reader = FrameReader()
        self._frames: deque[tuple[Kind, bytes]] = deque()
        self.refused = self.restarts = 0

    @property
    def garbled(self) -> int:
        return self._reader.garbled

    # Registers.

    def read(self, register: str) -> int:
        """A register's value.

        Raises
        ------
        LineError
            If there is no answer.
        """
        address = self._offsets[register].to_bytes(ADDRESS_BYTES, "little")
        answer = self._ask(encoded(Kind.READ, address), Kind.VALUE, address, f"reading register {register}")
        return int.from_bytes(answer[ADDRESS_BYTES:], "little")

    def write(self, register: str, value: int) -> None:
        """Write a register; raises as :meth:`read`."""
        address = self._offsets[register].to_bytes(ADDRESS_BYTES, "little")
        self._ask(encoded(Kind.WRITE, address, value.to_bytes(4, "little")), Kind.WRITTEN, address,
                  f"writing register {register}")

    def restart(self) -> None:
        """A soft reset: whatever was under way is forgotten on both sides."""
        self.write("control", 0b11)
        self._frames.clear()

    def _ask(self, frame: bytes, kind: Kind, address: bytes, what: str) -> bytes:
        """The answer; frames of other kinds that come before it wait."""
        others: list[tuple[Kind, bytes]] = []
        try:
            for _ in range(_TRIES):
                self.line.write(frame)
                until = time.monotonic() + self.patience_s
                while (got := self._frame(until)) is not None:
                    if got[0] == kind and got[1][:ADDRESS_BYTES] == address:
                        return got[1]
                    if got[0] != Kind.REFUSED:
                        others.append(got)
                        continue
                    self.refused += 1
                    if got[1][:1] != bytes([Reason.NUMBER]):  # this frame, or the rest of one that was broken off
                        break
        finally:
            self._frames.extendleft(reversed(others))
        raise LineError(f"{what}: no answer in {_TRIES} x {self.patience_s:g} s: is this the port, is the accelerator "
                        "configured, and is its clock what the build says?")

    def _frame(self, until: float) -> tuple[Kind, bytes] | None:
        """The next frame, or None if none comes in time."""
        while not self._frames:
            left = until - time.monotonic()
            if left <= 0:
                return None
            self.line.timeout = min(left, self.patience_s)
            self._frames += self._reader.feed(self.line.read(max(1, self.line.in_waiting)))
        return self._frames.popleft()

    # Samples.

    def run(self, packets: Sequence[bytes], under_way: int = _UNDER_WAY) -> Iterator[Result]:
        """Results of packets, in their order.

        Parameters
        ----------
        packets : sequence of bytes
            Beats, each in whole bytes.
        under_way : int
            Samples that are sent before the first one's result is awaited.

        Raises
        ------
        LineError
            If nothing comes any more, also after soft resets.
        """
        done = 0
        failures = 0
        while done < len(packets):
            try:
                for result in self._exchange(self._pieces(packets[done:]), len(packets) - done, under_way):
                    yield result
                    done, failures = done + 1, 0
            except LineError as error:
                failures += 1
                if failures == _TRIES:
                    raise LineError(f"sample {done}: {error}") from error
                self.restarts += 1

    def load(self, table: int, words: bytes, word_bytes: int) -> None:
        """Fill a weight RAM.

        Parameters
        ----------
        table : int
            Its index.
        words : bytes
            Of ``word_bytes`` each, least significant byte first.

        Raises
        ------
        LineError
            As :meth:`run`.
        """
        for failures in range(1, _TRIES + 1):
            try:
                for _ in self._exchange(self._weights(table, words, word_bytes), 0, 1):
                    pass
                return
            except LineError as error:
                if failures == _TRIES:
                    raise LineError(f"weights of table {table}: {error}") from error
                self.restarts += 1

    def await_weights(self, seconds: float) -> bool:
        """Wait until the accelerator has its weights from a flash, so long at most; whether it has.

        Raises
        ------
        LineError
            If that takes longer, or as :meth:`read`.
        """
        self._await("weights", "loading", False, seconds)
        return not self.read("weights") & self._mask("weights", "failed")

    def load_set(self, index: int, words: Sequence[int], hash_words: Sequence[int]) -> None:
        """Write a set of weights and constants, and take it into use.

        Parameters
        ----------
        index : int
            Of the table whose words they are.
        words, hash_words : sequence of int
            Of the set; of its network's hash.

        Raises
        ------
        LineError
            As :meth:`run`, or if the accelerator does not take the set into use.
        """
        for place, value in enumerate(hash_words):
            self.write(f"load_hash{place}", value)
        for failures in range(1, _TRIES + 1):
            try:
                self.restart()  # nothing is under way
                self.write("load", self._mask("load", "begin"))
                self._await("load", "ready", True)
                for _ in self._exchange(self._weights(index, b"".join(w.to_bytes(4, "little") for w in words), 4), 0,
                                        1):
                    pass
                refused = self._mask("events", "refused")
                self.write("events", refused)
                self.write("load", self._mask("load", "use"))
                self._await("load", "pending", False)
                if self.read("events") & refused:
                    raise LineError("the accelerator refused it: not all of its words came")
                return
            except LineError as error:
                if failures == _TRIES:
                    raise LineError(f"set of weights: {error}") from error
                self.restarts += 1

    def weights_written(self) -> None:
        """Say that weight RAMs hold what :meth:`load` wrote; raises as :meth:`read`."""
        self.write("weights", self._mask("weights", "written"))

    def _mask(self, register: str, field: str) -> int:
        return next(f.mask for r in self.registers.registers for f in r.fields
                    if (r.name, f.name) == (register, field))

    def _await(self, register: str, field: str, wanted: bool, seconds: float | None = None) -> None:
        patience_s = self.patience_s if seconds is None else seconds
        until, mask = time.monotonic() + patience_s, self._mask(register, field)
        while bool(self.read(register) & mask) != wanted:
            if time.monotonic() > until:
                raise LineError(f"{register}.{field} did not become {int(wanted)} within {patience_s:g} s")

    def _exchange(self, pieces: Iterator[_Piece], results: int, under_way: int) -> Iterator[Result]:
        """From a restart on, since pieces and results are numbered from 0 then. Ends with the last result; where there
        is to be none, when all pieces have been taken."""
        self.restart()
        waiting: deque[_Piece] = deque()  # those that were sent and have not left the accelerator's buffer
        again: deque[_Piece] = deque()    # those that must be sent once more
        upcoming = next(pieces, None)
        begun: dict[int, float] = {}
        done = 0
        until = time.monotonic() + self.patience_s
        while done < results or (not results and (upcoming or again or waiting)):
            piece = again[0] if again else upcoming
            room = self.buffer_bytes - sum(piece.size for piece in waiting)
            if piece is not None and piece.size <= room and piece.sample < done + under_way:
                begun.setdefault(piece.sample, time.monotonic())
                self.line.write(piece.frame)
                waiting.append(piece)
                if again:
                    again.popleft()
                else:
                    upcoming = next(pieces, None)
                if not self._frames and not self.line.in_waiting:
                    until = time.monotonic() + self.patience_s
                    continue
            got = self._frame(until)
            if got is None:
                raise LineError(f"nothing came for {self.patience_s:g} s")
            until = time.monotonic() + self.patience_s
            kind, values = got
            if kind == Kind.RESULT:
                if not values or values[-1] & ~_BAD != done % RESULT_NUMBERS:
                    raise LineError("a result was lost")
                yield Result(beats=values[:-1], bad=bool(values[-1] & _BAD), seconds=time.monotonic() - begun[done])
                done += 1
                until = time.monotonic() + self.patience_s  # the caller may have taken its time
            elif kind == Kind.TAKEN and values:
                waiting = deque(piece for piece in waiting if _ahead(values[0], piece.number))
            elif kind == Kind.REFUSED and len(values) == 2:
                self.refused += 1
                expected = self._after_refusals(values[1])
                again = deque([*(piece for piece in waiting if _ahead(expected, piece.number)), *again])
                waiting = deque(piece for piece in waiting if not _ahead(expected, piece.number))

    def _after_refusals(self, expected: int) -> int:
        """Wait until all that is on the way has been refused, too; the piece that is expected then."""
        kept = []
        while (got := self._frame(time.monotonic() + min(_QUIET_S, self.patience_s))) is not None:
            if got[0] == Kind.REFUSED and len(got[1]) == 2:
                self.refused, expected = self.refused + 1, got[1][1]
            else:
                kept.append(got)
        self._frames.extend(kept)
        return expected

    def _weights(self, table: int, words: bytes, word_bytes: int) -> Iterator[_Piece]:
        most = max(word_bytes, (self.buffer_bytes // 2 - HEAD_BYTES) // word_bytes * word_bytes)
        for nth, start in enumerate(range(0, len(words), most)):
            head = bytes([table]) + (start // word_bytes).to_bytes(WORD_NUMBER_BYTES, "little")
            part = head + words[start:start + most]
            number = nth % NUMBERS
            yield _Piece(number, 0, encoded(Kind.WEIGHTS, bytes([number]), part), len(part))

    def _pieces(self, packets: Sequence[bytes]) -> Iterator[_Piece]:
        number = 0
        for sample, packet in enumerate(packets):
            most = len(packet) if len(packet) <= self.buffer_bytes else self.buffer_bytes // 2
            for start in range(0, len(packet), most):
                part = packet[start:start + most]
                kind = Kind.LAST if start + most >= len(packet) else Kind.PART
                yield _Piece(number % NUMBERS, sample, encoded(kind, bytes([number % NUMBERS]), part), len(part))
                number += 1


def _ahead(mark: int, number: int) -> bool:
    """Whether a piece's number is not before ``mark``; both count modulo :data:`NUMBERS`."""
    return (number - mark) % NUMBERS < NUMBERS // 2
