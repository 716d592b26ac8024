"""H.264 byte streams (Annex B) into the length-prefixed form that MP4 wants (ISO 14496-15)."""

from __future__ import annotations

from typing import Final

from livestream.errors import MediaError

__all__ = ["avcc_of", "length_prefixed", "nal_units"]

START: Final = b"\x00\x00\x01"
SPS: Final = 7
PPS: Final = 8


def nal_units(data: bytes) -> list[bytes]:
    """Cut an Annex B byte stream at its start codes."""
    units = []
    at = data.find(START)
    while at >= 0:
        end = data.find(START, at + 3)
        unit = data[at + 3 : end if end >= 0 else len(data)]
        # A four-byte start code leaves its first zero here; trailing zeros mean nothing.
        unit = unit.rstrip(b"\x00") if end >= 0 else unit
        if unit:
            units.append(unit)
        at = end
    return units


def length_prefixed(data: bytes) -> bytes:
    """Replace start codes by four-byte lengths."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in nal_units(data))


def avcc_of(parameter_sets: bytes) -> bytes:
    """Make the decoder configuration record of SPS and PPS. Raises MediaError without them."""
    units = nal_units(parameter_sets)
    sps = [unit for unit in units if unit[0] & 0x1F == SPS]
    pps = [unit for unit in units if unit[0] & 0x1F == PPS]
    if not sps or not pps or len(sps[0]) < 4:
        raise MediaError("The channel's H.264 has no parameter sets, so it cannot be shown.")
    record = b"\x01" + sps[0][1:4] + b"\xff"
    record += bytes((0xE0 | len(sps),))
    record += b"".join(len(unit).to_bytes(2, "big") + unit for unit in sps)
    record += bytes((len(pps),))
    return record + b"".join(len(unit).to_bytes(2, "big") + unit for unit in pps)
