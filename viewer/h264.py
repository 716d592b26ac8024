"""H.264 byte streams (Annex B) into the length-prefixed form that MP4 wants (ISO 14496-15)."""

from __future__ import annotations

from typing import Final

from livestream.errors import MediaError

__all__ = ["avcc_of", "length_prefixed", "nal_units"]

START: Final = b"\x00\x00\x01"
SPS: Final = 7
PPS: Final = 8
SPS_COUNT_MAX: Final = 31  # Five bits in the record; H.264 knows 32, nobody uses two.
PPS_COUNT_MAX: Final = 255
PARAMETER_SET_BYTES_MAX: Final = 0xFFFF

# Profiles whose SPS tells the chroma format and the bit depths (ITU-T H.264, 7.3.2.1.1). The
# record repeats them for these (ISO 14496-15, 5.3.3.1.2), for High and its professional kin.
DETAILED_PROFILES: Final = (100, 110, 122, 144, 244)
CHROMA_444: Final = 3
EXP_GOLOMB_ZEROS_MAX: Final = 31


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
    """Make the decoder configuration record of SPS and PPS (ISO 14496-15, 5.3.3.1.2).

    Raises:
        MediaError: they are missing, or no parameter sets.
    """
    units = [unit for unit in nal_units(parameter_sets) if len(unit) <= PARAMETER_SET_BYTES_MAX]
    sps = [unit for unit in units if unit[0] & 0x1F == SPS][:SPS_COUNT_MAX]
    pps = [unit for unit in units if unit[0] & 0x1F == PPS][:PPS_COUNT_MAX]
    if not sps or not pps or len(sps[0]) < 4:
        raise MediaError("The channel's H.264 has no parameter sets, so it cannot be shown.")
    record = b"\x01" + sps[0][1:4] + b"\xff"
    record += bytes((0xE0 | len(sps),))
    record += b"".join(len(unit).to_bytes(2, "big") + unit for unit in sps)
    record += bytes((len(pps),))
    record += b"".join(len(unit).to_bytes(2, "big") + unit for unit in pps)
    if sps[0][1] in DETAILED_PROFILES:
        chroma, luma_depth, chroma_depth = _picture_format(sps[0])
        record += bytes((0xFC | chroma, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0))
    return record


def _picture_format(sps: bytes) -> tuple[int, int, int]:
    """Return chroma_format_idc and both bit depths, less eight. Raises MediaError."""
    bits = _Bits(sps[4:].replace(b"\x00\x00\x03", b"\x00\x00"))  # Less emulation prevention.
    bits.exp_golomb()  # seq_parameter_set_id
    chroma = bits.exp_golomb()
    if chroma == CHROMA_444:
        bits.read(1)  # separate_colour_plane_flag
    luma_depth, chroma_depth = bits.exp_golomb(), bits.exp_golomb()
    if chroma > CHROMA_444 or max(luma_depth, chroma_depth) > 6:
        raise MediaError("The channel's H.264 has a broken parameter set, so it cannot be shown.")
    return chroma, luma_depth, chroma_depth


class _Bits:
    """Reads bits, most significant first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int) -> int:
        value = 0
        for at in range(self._at, self._at + count):
            if at >> 3 >= len(self._data):
                raise MediaError("The channel's H.264 parameter sets are cut off.")
            value = value << 1 | self._data[at >> 3] >> (7 - at % 8) & 1
        self._at += count
        return value

    def exp_golomb(self) -> int:
        """Read ue(v) (ITU-T H.264, 9.1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > EXP_GOLOMB_ZEROS_MAX:
                raise MediaError("The channel's H.264 has a broken parameter set.")
        return (1 << zeros) - 1 + self.read(zeros)
