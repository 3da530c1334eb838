"""The answer to a C-STORE request, packed by hand: through pydicom it is a third of the cost of receiving."""

from __future__ import annotations

import struct

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE, DimsePrimitiveType
from pynetdicom.pdu_primitives import P_DATA

_LAST_COMMAND_FRAGMENT = b"\x03"  # PS3.8 E.2
_PDV_HEADER_BYTES = 6


class PromptResponder(DIMSEServiceProvider):
    """Sends C-STORE responses in its own way and everything else in pynetdicom's."""

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Encode a message and queue it for the peer."""
        if isinstance(primitive, C_STORE) and primitive.MessageIDBeingRespondedTo is not None:
            command = store_response(primitive)
            limit = self.maximum_pdu_size
            if limit == 0 or len(command) + _PDV_HEADER_BYTES <= limit:
                data = P_DATA()
                data.presentation_data_value_list.append((context_id, _LAST_COMMAND_FRAGMENT + command))
                self.dul.send_pdu(data)
                return
        super().send_msg(primitive, context_id)


def store_response(response: C_STORE) -> bytes:
    """The command set of a C-STORE-RSP, Implicit VR Little Endian (PS3.7 6.3.1, 9.3.1.2)."""
    elements = b"".join(
        (
            _text(0x0002, str(response.AffectedSOPClassUID or ""), b"\x00"),
            _number(0x0100, 0x8001),  # C-STORE-RSP
            _number(0x0120, response.MessageIDBeingRespondedTo or 0),
            _number(0x0800, 0x0101),  # no data set follows
            _number(0x0900, response.Status or 0),
            _text(0x0902, response.ErrorComment or "", b" "),
            _text(0x1000, str(response.AffectedSOPInstanceUID or ""), b"\x00"),
        )
    )
    return struct.pack("<HHII", 0x0000, 0x0000, 4, len(elements)) + elements


def _number(element: int, value: int) -> bytes:
    return struct.pack("<HHIH", 0x0000, element, 2, value)


def _text(element: int, text: str, padding: bytes) -> bytes:
    """A text element, left out when it is empty."""
    value = text.encode("ascii", "replace")
    if not value:
        return b""
    if len(value) % 2:
        value += padding
    return struct.pack("<HHI", 0x0000, element, len(value)) + value
