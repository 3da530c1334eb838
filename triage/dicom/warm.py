"""The cost of the first object, paid before there is a patient: imports, dictionaries, code tables, fonts."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage

from triage.dicom.explicit import encoded, raw
from triage.dicom.presentation_state import encode_presentation_state
from triage.dicom.secondary_capture import encode_secondary_capture
from triage.dicom.seg import encode_seg
from triage.dicom.sr import encode_sr
from triage.domain.finding import SUBTYPES, DecisionRule, KeySlice, SubtypeFinding, TriageResult
from triage.domain.geometry import stack_frames
from triage.domain.provenance import Provenance
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_STUDY, _SERIES, _INSTANCE = "2.25.1", "2.25.2", "2.25.3"


def warm_up() -> None:
    """Encode a made-up result of three pixels once, and throw it away.

    The first object of a process takes half a second longer than the next. A process that analyses calls this
    before it takes up work.
    """
    volume = _volume()
    contents = [_instance(source.sop_instance_uid, number) for number, source in enumerate(volume.sources)]
    labels = np.zeros(volume.hu.shape, dtype=np.uint8)
    labels[1, 1, 1 : 1 + len(SUBTYPES)] = range(1, 1 + len(SUBTYPES))
    found = {s: SubtypeFinding(0.9, volume.mask_ml(labels == i)) for i, s in enumerate(SUBTYPES, start=1)}
    result = TriageResult(
        score=0.9,
        rule=DecisionRule(0.5, 0.9),
        subtypes=found,
        total_volume_ml=volume.mask_ml(labels > 0),
        key_slice=KeySlice(volume.sources[1].sop_instance_uid, 1, 1),
        provisional=False,
    )
    nobody = Provenance("warm-up", "0", "0" * 64, "0", demonstration=True, content_at=datetime(2000, 1, 1, tzinfo=UTC))
    seg = encode_seg(contents, volume, labels, result, nobody)
    encode_sr(contents, volume, result, nobody, segmentation=seg, predecessor=None)
    encode_secondary_capture(contents, volume, labels, (1,), result, nobody)
    encode_presentation_state(contents, volume, labels, (1,), result, nobody)


def _volume() -> Volume:
    heights = np.arange(3) * 5.0
    return Volume(
        hu=np.zeros((3, 8, 8), dtype=np.float32),
        stack=stack_frames([FrameGeometry((0.0, 0.0, float(z)), _AXIAL, 5.0) for z in heights]),
        positions_mm=np.stack([np.zeros(3), np.zeros(3), heights], axis=1),
        orientation=np.array(_AXIAL),
        pixel_spacing_mm=(1.0, 1.0),
        frame_of_reference_uid="2.25.4",
        sources=tuple(SliceSource(f"{_INSTANCE}.{number}", 1) for number in range(3)),
    )


def _instance(sop_instance_uid: str, number: int) -> bytes:
    """A CT header of nobody, without file meta: what can be filed and has a rescale."""
    values = {
        0x00080016: ("UI", str(CTImageStorage)),
        0x00080018: ("UI", sop_instance_uid),
        0x0020000D: ("UI", _STUDY),
        0x0020000E: ("UI", _SERIES),
        0x00200013: ("IS", str(number + 1)),
        0x00281052: ("DS", "0"),
        0x00281053: ("DS", "1"),
    }
    elements = {}
    for tag, (vr, text) in values.items():
        padding = (b"\0" if vr == "UI" else b" ") * (len(text) % 2)
        elements[Tag(tag)] = raw(tag, vr, text.encode("ascii") + padding)
    return encoded(elements)
