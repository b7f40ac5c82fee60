"""What a host sends on a serial line, written by hand from RFC 1055 and the table in rtl/frames.py."""

from __future__ import annotations

import binascii

__all__ = ["frame_bytes", "slip", "unslip"]


def slip(packet: bytes) -> bytes:
    """The packet on the line."""
    return b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def unslip(line: bytes) -> list[bytes]:
    """The packets of a line without errors."""
    return [part.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb") for part in line.split(b"\xc0") if part]


def frame_bytes(body: bytes) -> bytes:
    """A frame on the line."""
    return slip(body + binascii.crc_hqx(body, 0).to_bytes(2, "big"))
