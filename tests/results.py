"""Made-up analyses of a series, for tests of what is sent back: a mask with some voxels of each subtype asked for."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.builders import ct_series, part10
from triage.dicom.seg import encode_seg
from triage.dicom.sr import encode_sr
from triage.dicom.volume import read_volume
from triage.domain.encoded import EncodedObject, ObjectReference
from triage.domain.finding import KINDS, SUBTYPES, DecisionRule, KeySlice, Subtype, SubtypeFinding, TriageResult
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume

PROVENANCE = Provenance(
    bundle_name="demo-heads",
    bundle_version="1.2",
    bundle_digest="0123456789abcdef" * 4,
    software_version="0.1.0",
    demonstration=True,
    content_at=datetime(2024, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
    measured=(
        "Learned from: SYNTHETIC heads.",
        "Measured on: 60 SYNTHETIC exams. Nothing is claimed for other examinations.",
        "With 95 % intervals: exam AUC 0.949 [0.890, 0.993], n = 60 exams.",
    ),
)
REAL = replace(
    PROVENANCE, bundle_name="site-heads", bundle_digest="fedcba9876543210" * 4, demonstration=False, measured=()
)


@dataclass(frozen=True, eq=False)
class Analysed:
    """A series as bytes, its volume, and what an analysis might have found in it."""

    contents: list[bytes]
    volume: Volume
    labels: NDArray[np.uint8]
    result: TriageResult
    provenance: Provenance = PROVENANCE

    def seg(self, **changes: Any) -> EncodedObject:
        """The segmentation, with any argument of `encode_seg` changed."""
        arguments = {name: getattr(self, name) for name in ("contents", "volume", "labels", "result", "provenance")}
        return encode_seg(**{**arguments, **changes})

    def sr(self, predecessor: ObjectReference | None = None, **changes: Any) -> EncodedObject:
        """The report, with its segmentation when there is one."""
        given = {name: getattr(self, name) for name in ("contents", "volume", "result", "provenance")}
        if "segmentation" not in changes:
            changes = {**changes, "segmentation": self.seg() if self.labels.any() else None}
        return encode_sr(**{**given, "predecessor": predecessor, **changes})


def analysed(
    contents: Sequence[bytes] | None = None,
    subtypes: Iterable[Subtype] = SUBTYPES,
    score: float = 0.97,
    provenance: Provenance = PROVENANCE,
) -> Analysed:
    """An analysis that found blobs of the given subtypes; twelve synthetic slices unless contents are given.

    Blood of unspecified type comes alone: such a bundle tells no subtypes apart.
    """
    subtypes = list(subtypes)
    files = list(contents) if contents is not None else [part10(ds) for ds in ct_series(12)]
    volume = read_volume(files)
    labels = blobs(volume.hu.shape, subtypes)
    found = {
        s: SubtypeFinding(min(0.11 * i + 0.4, 0.97) if (labels == i).any() else 0.05, volume.mask_ml(labels == i))
        for i, s in enumerate(KINDS, start=1)
        if (s is Subtype.ICH) is (Subtype.ICH in subtypes)
    }
    busiest = int(np.argmax(np.count_nonzero(labels, axis=(1, 2))))
    key = volume.sources[busiest]
    result = TriageResult(
        score=score,
        rule=DecisionRule(suspected_at=0.5, emergent_at=0.9),
        subtypes=found,
        total_volume_ml=volume.mask_ml(labels > 0),
        key_slice=KeySlice(key.sop_instance_uid, key.frame_number, busiest) if labels.any() else None,
        provisional=False,
    )
    return Analysed(files, volume, labels, result, provenance)


def blobs(shape: tuple[int, int, int], subtypes: Iterable[Subtype]) -> NDArray[np.uint8]:
    """Labels with one lopsided blob per subtype, on slices of its own that overlap with those of the next."""
    slices, rows, columns = shape
    labels = np.zeros(shape, dtype=np.uint8)
    for subtype in subtypes:
        place = KINDS.index(subtype)
        first = place * (slices - 4) // 5
        row, column = rows // 4 + place * rows // 12, columns // 5 + place * columns // 10
        labels[first : first + 3, row : row + 5, column : column + 4] = place + 1
        labels[first + 1, row + 5, column] = place + 1
    return labels


def dataset(encoded: EncodedObject) -> Dataset:
    """The object as another program reads it."""
    return dcmread(io.BytesIO(encoded.content))
