"""AAC as MPEG-TS carries it: every frame behind a header (ISO/IEC 13818-7, 6.2 ADTS)."""

from __future__ import annotations

from typing import Final

__all__ = ["audio_specific_config", "is_adts", "strip_header"]

HEADER_SIZE: Final = 7
CRC_SIZE: Final = 2


def is_adts(data: bytes) -> bool:
    """Whether an AAC frame begins with an ADTS header: sync word, and layer 0."""
    return len(data) >= HEADER_SIZE and data[0] == 0xFF and data[1] & 0xF6 == 0xF0


def audio_specific_config(data: bytes) -> bytes | None:
    """Return what the header says as an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).

    None where a header cannot say it all: channels in a program config element, or a reserved
    sampling frequency.
    """
    object_type = (data[2] >> 6) + 1
    frequency_index = data[2] >> 2 & 0x0F
    channels = (data[2] & 1) << 2 | data[3] >> 6
    if channels == 0 or frequency_index > 12:
        return None
    return (object_type << 11 | frequency_index << 7 | channels << 3).to_bytes(2, "big")


def strip_header(data: bytes) -> bytes:
    """Return the raw frame."""
    protection_absent = data[1] & 1
    return data[HEADER_SIZE if protection_absent else HEADER_SIZE + CRC_SIZE :]
