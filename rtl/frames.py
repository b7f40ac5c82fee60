"""Frames between a host and an accelerator on a serial line: their numbers. Both sides read this file.

A frame is a kind, its values, least significant byte first, and a checksum (:mod:`.checksum`), in a packet of SLIP
(:mod:`.slip`).

From the host:

========  =====================================================  ==================================================
READ      address (2 bytes)                                      answered by ``VALUE``
WRITE     address (2), data (4)                                  answered by ``WRITTEN``
PART      number (1), bytes                                      a piece of a sample's packet, not its last
LAST      number (1), bytes                                      the last piece
WEIGHTS   number (1), table (1), word (3), words                 words of a weight RAM, from that one on; they are
                                                                 counted, wait and are taken as pieces are
========  =====================================================  ==================================================

Pieces are numbered from 0 on, modulo 256, after a reset or a soft reset; another number than the next is refused.
Pieces that wait hold at most as many bytes as the buffer: ``TAKEN`` says that there is room again.

From the accelerator:

========  =====================================================  ==================================================
VALUE     address (2), data (4)
WRITTEN   address (2)
TAKEN     number (1) of the next piece to leave the buffer       may stand for several pieces
RESULT    the result's beats in whole bytes, status (1)          bit 7 of the status: bad, see the registers; below it
                                                                 the result's number, from 0 on, modulo 128
REFUSED   reason (1), number (1) of the piece that is expected   whatever the frame was, it had no effect
========  =====================================================  ==================================================
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ADDRESS_BYTES", "NUMBERS", "RESULT_NUMBERS", "Kind", "Reason"]

ADDRESS_BYTES = 2
NUMBERS = 256
RESULT_NUMBERS = 128


class Kind(IntEnum):
    """First byte of a frame."""

    READ = 0x01
    WRITE = 0x02
    PART = 0x03
    LAST = 0x04
    WEIGHTS = 0x05
    VALUE = 0x81
    WRITTEN = 0x82
    TAKEN = 0x83
    RESULT = 0x84
    REFUSED = 0xFF


class Reason(IntEnum):
    """Why a frame was refused."""

    CHECKSUM = 1
    FORM = 2
    ADDRESS = 3
    NUMBER = 4
    ROOM = 5
