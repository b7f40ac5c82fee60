"""Frames of a serial line, the host's side: see :mod:`spikeloom.rtl.frames` for their meaning."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from spikeloom.rtl.frames import Kind

__all__ = ["FrameReader", "encoded"]

_END, _ESC = b"\xc0", b"\xdb"  # RFC 1055
_CHECKSUM_BYTES = 2
_MAX_BYTES = 1 << 24  # of a packet; who sends more between two ends does not send frames


def encoded(kind: Kind, *values: bytes) -> bytes:
    """A frame as it goes over the line."""
    body = bytes([kind]) + b"".join(values)
    whole = body + binascii.crc_hqx(body, 0).to_bytes(_CHECKSUM_BYTES, "big")
    return _END + whole.replace(_ESC, b"\xdb\xdd").replace(_END, b"\xdb\xdc") + _END


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
    whole = packet.replace(b"\xdb\xdc", _END).replace(b"\xdb\xdd", _ESC)
    if len(whole) <= _CHECKSUM_BYTES or binascii.crc_hqx(whole, 0):
        return None
    try:
        return Kind(whole[0]), whole[1:-_CHECKSUM_BYTES]
    except ValueError:
        return None
