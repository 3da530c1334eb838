"""The file meta information around a data set (PS3.10 7.1), without touching the data set."""

from __future__ import annotations

import struct

from triage.domain.errors import UnreadableInstance
from triage.domain.provenance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_PREFIX = bytes(128) + b"DICM"
_LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and file meta information: the same bytes for the same three UIDs."""
    elements = b"".join(
        (
            struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _element(0x0002, b"UI", sop_class_uid),
            _element(0x0003, b"UI", sop_instance_uid),
            _element(0x0010, b"UI", transfer_syntax_uid),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    return _PREFIX + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def dataset_offset(content: bytes) -> int:
    """Where the data set begins in a Part 10 file: after the last element of group 0002.

    The group length is not trusted; files exist in which it is wrong.

    Raises
    ------
    UnreadableInstance
        If there is no prefix, or the file ends within its meta information.
    """
    if content[128:132] != b"DICM":
        raise UnreadableInstance("The file has no DICM prefix, so its transfer syntax is not known.")
    offset = len(_PREFIX)
    while content[offset : offset + 2] == b"\x02\x00":
        header = content[offset : offset + 12]
        if header[4:6] in _LONG_VRS:
            length = int.from_bytes(header[8:12], "little") + 12
        else:
            length = int.from_bytes(header[6:8], "little") + 8
        offset += length
    if offset >= len(content):
        raise UnreadableInstance("The file ends before its data set begins.")
    return offset


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\x00" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value
