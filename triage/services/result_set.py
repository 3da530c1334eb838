"""Every object that the destinations want of one result, each made once, and who is sent which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from triage.dicom.seg import encode_seg
from triage.dicom.sr import encode_sr
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.key_slices import key_slices
from triage.domain.profile import Profile
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume
from triage.inference.predict import Analysis


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One analysed series revision.

    ``predecessors`` are the reports of the revision before, by kind; ``superseded`` what each destination was
    sent of it.
    """

    contents: Sequence[bytes]
    volume: Volume
    analysis: Analysis
    provenance: Provenance
    predecessors: Mapping[ObjectKind, ObjectReference] = field(default_factory=dict)
    superseded: Mapping[str, Sequence[ObjectReference]] = field(default_factory=dict)


@dataclass(slots=True)
class Addressed:
    """One object and the destinations that it is sent to."""

    encoded: EncodedObject
    destinations: list[str]


def result_set(case: Case, profiles: Mapping[str, Profile]) -> list[Addressed]:
    """Make what the profiles ask for, in the order in which an archive should get it: what is referred to first.

    A report names a segmentation, so there is one whether or not it is sent. With no destination at all SEG and
    SR are made, for ``triage show``.
    """
    maker = _Maker(case)
    addressed: dict[str, Addressed] = {}
    for name, profile in (profiles or {"": DEFAULT}).items():
        for encoded in maker.objects(profile):
            item = addressed.setdefault(encoded.sop_instance_uid, Addressed(encoded, []))
            if name and encoded.kind in profile.objects:
                item.destinations.append(name)
    return list(addressed.values())


DEFAULT = Profile((ObjectKind.SEG, ObjectKind.SR))


class _Maker:
    """Makes each object once, whichever destinations want it."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._made: dict[tuple[ObjectKind | None, ...], EncodedObject] = {}
        self._key_slices = key_slices(case.analysis.labels, case.volume, case.analysis.result)

    def objects(self, profile: Profile) -> list[EncodedObject]:
        if not profile.wants(self._case.analysis.result):
            return []
        seg = self._seg(profile.seg_kind or ObjectKind.SEG) if self._case.analysis.labels.any() else None
        sr = self._sr(profile.sr_kind, seg) if profile.sr_kind is not None else None
        return [made for made in (seg, sr) if made is not None]

    def _seg(self, kind: ObjectKind) -> EncodedObject:
        case = self._case
        if (kind,) not in self._made:
            self._made[(kind,)] = encode_seg(
                case.contents,
                case.volume,
                case.analysis.labels,
                case.analysis.result,
                case.provenance,
                kind=kind,
                probabilities=case.analysis.probabilities,
            )
        return self._made[(kind,)]

    def _sr(self, kind: ObjectKind, seg: EncodedObject | None) -> EncodedObject:
        case, key = self._case, (kind, seg.kind if seg is not None else None)
        if key not in self._made:
            self._made[key] = encode_sr(
                case.contents,
                case.volume,
                case.analysis.result,
                case.provenance,
                segmentation=seg,
                predecessor=case.predecessors.get(kind),
            )
        return self._made[key]
