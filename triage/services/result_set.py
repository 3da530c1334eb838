"""Every object that the destinations want of one result, each made once, and who is sent which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from triage.dicom.key_objects import encode_key_objects, encode_rejection
from triage.dicom.presentation_state import encode_presentation_state
from triage.dicom.secondary_capture import encode_secondary_capture
from triage.dicom.seg import encode_seg
from triage.dicom.sr import encode_sr
from triage.domain.encoded import Addressed, EncodedObject, ObjectKind, ObjectReference
from triage.domain.key_slices import key_slices
from triage.domain.profile import Profile
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume
from triage.inference.predict import Analysis


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One analysed series revision.

    ``predecessors`` are the reports of the revision before, by kind; ``superseded`` what each destination was
    sent of earlier revisions, the newest last.
    """

    contents: Sequence[bytes]
    volume: Volume
    analysis: Analysis
    provenance: Provenance
    predecessors: Mapping[ObjectKind, ObjectReference] = field(default_factory=dict)
    superseded: Mapping[str, Sequence[ObjectReference]] = field(default_factory=dict)


def result_set(case: Case, profiles: Mapping[str, Profile]) -> list[Addressed]:
    """Make what the profiles ask for, in the order in which an archive should get it: what is referred to first.

    A report names a segmentation, so there is one whether or not it is sent. With no destination at all SEG and
    SR are made, for ``triage show``.
    """
    maker = _Maker(case)
    addressed: dict[str, Addressed] = {}
    for name, profile in (profiles or {"": DEFAULT}).items():
        for encoded in maker.objects(name, profile):
            item = addressed.setdefault(encoded.sop_instance_uid, Addressed(encoded, []))
            if name and (encoded.kind in profile.objects or encoded.kind is ObjectKind.KOS_REJECTED):
                item.destinations.append(name)
    return list(addressed.values())


DEFAULT = Profile((ObjectKind.SEG, ObjectKind.SR))

Key = tuple[object, ...]


class _Maker:
    """Makes each object once, whichever destinations want it."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._made: dict[Key, list[EncodedObject]] = {}
        self._key_slices = key_slices(case.analysis.labels, case.volume, case.analysis.result)

    def objects(self, destination: str, profile: Profile) -> list[EncodedObject]:
        superseded = self._case.superseded.get(destination, ())
        if not profile.wants(self._case.analysis.result) and not superseded:
            return []  # an archive that holds an earlier revision gets the next one, whatever that says
        outlined = bool(self._case.analysis.labels.any())
        results = self._seg(profile.seg_kind or ObjectKind.SEG) if outlined else []
        if profile.sr_kind is not None:
            predecessor = self._predecessor(profile.sr_kind, superseded)
            results = [*results, *self._sr(profile.sr_kind, results[0] if outlined else None, predecessor)]
        found = [*results]
        if ObjectKind.SC in profile.objects:
            found += self._secondary_capture()
        if ObjectKind.GSPS in profile.objects and outlined:
            found += self._presentation_state()
        if ObjectKind.KOS in profile.objects and self._key_slices:
            found += self._key_objects([one for one in results if one.kind in profile.objects])
        if profile.reject_superseded:
            made = {one.sop_instance_uid for one in found}
            # An image that does not count makes a new revision with the same results, which supersede nothing.
            found += self._rejection([one for one in superseded if one.sop_instance_uid not in made])
        return found

    def _once(self, key: Key, make: Callable[[], list[EncodedObject]]) -> list[EncodedObject]:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _seg(self, kind: ObjectKind) -> list[EncodedObject]:
        case = self._case
        return self._once(
            (kind,),
            lambda: [
                encode_seg(
                    case.contents,
                    case.volume,
                    case.analysis.labels,
                    case.analysis.result,
                    case.provenance,
                    kind=kind,
                    probabilities=case.analysis.probabilities,
                )
            ],
        )

    def _predecessor(self, kind: ObjectKind, superseded: Sequence[ObjectReference]) -> ObjectReference | None:
        """The newest report of this kind that a destination was sent; that of another when it was sent none."""
        newest = self._case.predecessors.get(kind)
        mine = [one for one in superseded if newest is not None and one.sop_class_uid == newest.sop_class_uid]
        return mine[-1] if mine else newest

    def _sr(
        self, kind: ObjectKind, seg: EncodedObject | None, predecessor: ObjectReference | None
    ) -> list[EncodedObject]:
        case = self._case
        return self._once(
            (kind, seg.kind if seg is not None else None),
            lambda: [
                encode_sr(
                    case.contents,
                    case.volume,
                    case.analysis.result,
                    case.provenance,
                    segmentation=seg,
                    predecessor=predecessor,
                    kind=kind,
                )
            ],
        )

    def _secondary_capture(self) -> list[EncodedObject]:
        case, labels, result = self._case, self._case.analysis.labels, self._case.analysis.result
        return self._once(
            (ObjectKind.SC,),
            lambda: encode_secondary_capture(
                case.contents, case.volume, labels, self._key_slices, result, case.provenance
            ),
        )

    def _presentation_state(self) -> list[EncodedObject]:
        case, labels, result = self._case, self._case.analysis.labels, self._case.analysis.result
        return self._once(
            (ObjectKind.GSPS,),
            lambda: [
                encode_presentation_state(case.contents, case.volume, labels, self._key_slices, result, case.provenance)
            ],
        )

    def _key_objects(self, referenced: Sequence[EncodedObject]) -> list[EncodedObject]:
        case = self._case
        return self._once(
            (ObjectKind.KOS, *(one.sop_instance_uid for one in referenced)),
            lambda: [encode_key_objects(case.contents, case.volume, self._key_slices, referenced, case.provenance)],
        )

    def _rejection(self, superseded: Sequence[ObjectReference]) -> list[EncodedObject]:
        case = self._case
        if not superseded:
            return []
        return self._once(
            (ObjectKind.KOS_REJECTED, *superseded),
            lambda: [encode_rejection(case.contents, superseded, case.provenance)],
        )
