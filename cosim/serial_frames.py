"""Frames of a serial line, the host's side: see :mod:`spikeloom.rtl.frames` for their meaning."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from spikeloom.rtl.checksum import CHECKSUM_BYTES
from spikeloom.rtl.frames import Kind
from spikeloom.rtl.slip import END, ESC, ESC_END, ESC_ESC

__all__ = ["FrameReader", "encoded"]

_END, _ESC = bytes([END]), bytes([ESC])
_INSTEAD_OF_END, _INSTEAD_OF_ESC = bytes([ESC, ESC_END]), bytes([ESC, ESC_ESC])
_MAX_BYTES = 1 << 24  # of a packet; who sends more between two ends does not send frames


def encoded(kind: Kind, *values: bytes) -> bytes:
    """A frame as it goes over the line."""
    body = bytes([kind]) + b"".join(values)
    whole = body + binascii.crc_hqx(body, 0).to_bytes(CHECKSUM_BYTES, "big")
    return _END + whole.replace(_ESC, _INSTEAD_OF_ESC).replace(_END, _INSTEAD_OF_END) + _END


class FrameReader:
    """Frames out of the bytes that come from a line.

    Attributes
    ----------
    garbled : int
        How often something came between two ends that was no frame.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.garbled = 0

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Kind and values of each frame that is complete."""
        *packets, self._rest = (self._rest + data).split(_END)
        self._rest = self._rest[-_MAX_BYTES:]
        for packet in packets:
            frame = _frame(packet)
            if frame is not None:
                yield frame
            elif packet:
                self.garbled += 1


def _frame(packet: bytes) -> tuple[Kind, bytes] | None:
    whole = packet.replace(_INSTEAD_OF_END, _END).replace(_INSTEAD_OF_ESC, _ESC)
    if len(whole) <= CHECKSUM_BYTES or binascii.crc_hqx(whole, 0):
        return None
    try:
        return Kind(whole[0]), whole[1:-CHECKSUM_BYTES]
    except ValueError:
        return None
