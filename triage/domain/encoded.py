"""Result objects and messages as bytes, ready for the file area and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from triage.domain.study import InstanceHeader


class ObjectKind(StrEnum):
    """What can be made of a result. A destination names the kinds that it is sent; a notifier has one."""

    SEG = "SEG"  # Segmentation, BINARY
    SEG_LABELMAP = "SEG_LABELMAP"  # Label Map Segmentation, without a background segment
    SEG_FRACTIONAL = "SEG_FRACTIONAL"  # Segmentation, FRACTIONAL of type PROBABILITY
    SR = "SR"  # Comprehensive 3D SR
    SR_COMPREHENSIVE = "SR_COMPREHENSIVE"  # Comprehensive SR
    SR_ENHANCED = "SR_ENHANCED"  # Enhanced SR
    SR_TEXT = "SR_TEXT"  # Basic Text SR, for archives that know nothing else
    KOS = "KOS"  # Key Object Selection "Of Interest"
    SC = "SC"  # Secondary Capture: overlays of the key slices and a summary page
    GSPS = "GSPS"  # Grayscale Softcopy Presentation State: outlines over the source slices
    KOS_REJECTED = "KOS_REJECTED"  # Key Object Selection "Rejected for Quality Reasons": a superseded set
    ORU = "ORU"  # HL7 v2.5.1 ORU^R01 message
    UPS = "UPS"  # Unified Procedure Step of high priority
    IAN = "IAN"  # Instance Availability Notification
    WEBHOOK = "WEBHOOK"  # JSON body of a webhook
    EMAIL = "EMAIL"  # e-mail message (RFC 5322)


SEG_KINDS = frozenset({ObjectKind.SEG, ObjectKind.SEG_LABELMAP, ObjectKind.SEG_FRACTIONAL})
SR_KINDS = frozenset({ObjectKind.SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED, ObjectKind.SR_TEXT})
MESSAGE_KINDS = frozenset({ObjectKind.ORU, ObjectKind.UPS, ObjectKind.IAN, ObjectKind.WEBHOOK, ObjectKind.EMAIL})


@dataclass(frozen=True, slots=True)
class EncodedObject:
    """One result object or message.

    ``content`` is the whole Part 10 file, or an HL7 message, the body of a webhook, or an e-mail: those have no
    SOP class and no transfer syntax (empty), and ``sop_instance_uid`` is then the identifier of the message.
    """

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    content: bytes

    def reference(self, study_instance_uid: str) -> ObjectReference:
        """Where it is found; results lie in the study of their source."""
        return ObjectReference(study_instance_uid, self.series_instance_uid, self.sop_class_uid, self.sop_instance_uid)


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """Where an object is found (PS3.3 C.17.2): the study, its series, its class and itself."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str

    @classmethod
    def of(cls, header: InstanceHeader) -> ObjectReference:
        """Where a received instance is found."""
        return cls(header.study_instance_uid, header.series_instance_uid, header.sop_class_uid, header.sop_instance_uid)


@dataclass(slots=True)
class Addressed:
    """One object and the destinations that it is sent to."""

    encoded: EncodedObject
    destinations: list[str]
