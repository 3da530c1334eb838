"""Send the objects of a synthetic study to an archive, fetch them again, and say what it kept, altered or refused."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from triage import __version__
from triage.dicom.comparison import Change, changes
from triage.dicom.header import read_header
from triage.dicom.synthetic import synthetic_study
from triage.dicom.volume import read_volume
from triage.domain.encoded import SEG_KINDS, SR_KINDS, ObjectKind, ObjectReference
from triage.domain.errors import DeliveryUnconfirmed, TriageError
from triage.domain.finding import SUBTYPES, DecisionRule, KeySlice, Subtype, SubtypeFinding, TriageResult
from triage.domain.profile import Profile
from triage.domain.provenance import Provenance
from triage.inference.predict import Analysis
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.services.result_set import Case, result_set

SOURCE = "CT"
"""What the table calls the source images."""

SETTLE_SECONDS = 10.0
_POLL_SECONDS = 0.5
_BEST_FIRST = {
    "seg": (ObjectKind.SEG, ObjectKind.SEG_FRACTIONAL, ObjectKind.SEG_LABELMAP),
    "sr": (ObjectKind.SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED, ObjectKind.SR_TEXT),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One object to try. ``name`` is its kind, or `SOURCE`."""

    name: str
    reference: ObjectReference
    transfer_syntax_uid: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Archive:
    """How an archive is reached.

    ``find`` says which SOP Instance UIDs of a study it has, ``fetch`` gives one object back as a Part 10 file,
    ``remove`` deletes a study; None where its protocol has no such thing.
    """

    store: Callable[[Sequence[OutgoingInstance]], list[SendOutcome]]
    find: Callable[[str, Collection[str]], set[str]]
    fetch: Callable[[ObjectReference], bytes]
    remove: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one object. ``error`` is why it was not stored, ``lost`` why it did not come back."""

    name: str
    error: str | None = None
    found: bool = False
    lost: str | None = None
    changed: tuple[Change, ...] = ()

    @property
    def kept(self) -> bool:
        """Stored and given back; what was altered on the way is another matter."""
        return self.error is None and self.lost is None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole self-test.

    ``recommended`` is what to write into ``objects``. ``not_found_because`` is why the archive could not be
    queried, ``left_because`` why the synthetic study is still in it; None where that is not so.
    """

    study_instance_uid: str
    trials: tuple[Trial, ...]
    recommended: tuple[ObjectKind, ...]
    not_found_because: str | None
    left_because: str | None


def selftest(
    archive: Archive, *, run: str, at: datetime, tell: Callable[[str], None], settle_seconds: float = SETTLE_SECONDS
) -> Verdict:
    """Try every kind of object.

    Parameters
    ----------
    run : str
        Names this run: another name is another study.
    tell
        Hears what is being done.
    settle_seconds : float
        So long the archive may take to find what it has stored.

    Raises
    ------
    DeliveryUnconfirmed, DeliveryRefused
        If nothing could be stored, and that has one reason.
    """
    samples = synthetic_samples(run, at)
    study = samples[0].reference.study_instance_uid
    tell(f"sending {len(samples)} objects")
    outcomes = archive.store([_outgoing(sample) for sample in samples])
    _raise_what_ends_it(outcomes)
    errors = {o.sop_instance_uid: str(o.error) for o in outcomes if o.error is not None}
    tell("looking for them")
    wanted = {sample.reference.sop_instance_uid for sample in samples} - set(errors)
    found, silence = _find(archive, study, wanted, settle_seconds)
    trials = []
    for sample in samples:
        uid = sample.reference.sop_instance_uid
        if uid in errors:
            trials.append(Trial(sample.name, error=errors[uid]))
        else:
            tell(f"fetching {sample.name}")
            trials.append(_fetched(archive, sample, found=uid in found))
    left = _remove(archive, study)
    return Verdict(study, tuple(trials), recommended(trials), not_found_because=silence, left_because=left)


def _raise_what_ends_it(outcomes: Sequence[SendOutcome]) -> None:
    """The one reason why nothing was stored: no answer at all, or the same refusal for every object."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) < len(outcomes):
        return
    if all(isinstance(error, DeliveryUnconfirmed) for error in errors) or len({str(error) for error in errors}) == 1:
        raise errors[0]


def _outgoing(sample: Sample) -> OutgoingInstance:
    known = sample.reference
    return OutgoingInstance(
        known.sop_class_uid, known.sop_instance_uid, sample.transfer_syntax_uid, lambda: sample.content
    )


def _find(archive: Archive, study: str, wanted: set[str], settle_seconds: float) -> tuple[set[str], str | None]:
    """What the archive finds, once it has had time to; and why it could not be asked."""
    deadline = time.monotonic() + settle_seconds
    while True:
        try:
            found = archive.find(study, wanted)
        except TriageError as exc:
            return set(), str(exc)
        if wanted <= found or time.monotonic() > deadline:
            return found, None
        time.sleep(_POLL_SECONDS)


def _fetched(archive: Archive, sample: Sample, *, found: bool) -> Trial:
    try:
        returned = archive.fetch(sample.reference)
    except TriageError as exc:
        return Trial(sample.name, found=found, lost=str(exc))
    return Trial(sample.name, found=found, changed=tuple(changes(sample.content, returned)))


def _remove(archive: Archive, study: str) -> str | None:
    """Why the study is still there; None when it is gone."""
    if archive.remove is None:
        return "The protocol of this destination has no way to delete."
    try:
        archive.remove(study)
    except TriageError as exc:
        return str(exc)
    return None


def synthetic_samples(run: str, at: datetime) -> list[Sample]:
    """The source images, then every kind of result object of a study in which blood was drawn."""
    contents = synthetic_study(run, at)
    volume = read_volume(contents)
    labels = np.zeros(volume.hu.shape, dtype=np.uint8)
    for number in (1, 2):
        labels[4 + number : 7 + number, 40 : 52 + 4 * number, 30 * number : 30 * number + 10] = number
    found = {s: volume.mask_ml(labels == i) for i, s in enumerate(SUBTYPES, start=1)}
    key = volume.sources[6]
    result = TriageResult(
        score=0.9,
        rule=DecisionRule(suspected_at=0.5, emergent_at=0.8),
        subtypes={s: SubtypeFinding(0.9 if ml else 0.01, ml) for s, ml in found.items()},
        total_volume_ml=volume.mask_ml(labels > 0),
        key_slice=KeySlice(key.sop_instance_uid, key.frame_number, 6),
        provisional=False,
    )
    probabilities = {Subtype(s): (labels == i).astype(np.uint8) * 230 for i, s in enumerate(SUBTYPES, 1) if found[s]}
    analysis = Analysis(result, labels, labels, np.zeros((len(labels), 6)), len(labels), probabilities)
    provenance = Provenance(
        bundle_name="self-test",
        bundle_version="0",
        bundle_digest=hashlib.sha256(f"self-test {run}".encode()).hexdigest(),
        software_version=__version__,
        demonstration=True,
        content_at=at,
    )
    profiles = {
        "first": Profile((ObjectKind.SEG, ObjectKind.SR, ObjectKind.KOS, ObjectKind.SC, ObjectKind.GSPS)),
        **{kind.value: Profile((kind,)) for family in _BEST_FIRST.values() for kind in family[1:]},
    }
    made = result_set(Case(contents, volume, analysis, provenance), profiles)
    sources = [read_header(content) for content in contents]
    images = [
        Sample(
            SOURCE,
            ObjectReference.of(header),
            header.transfer_syntax_uid,
            content,
        )
        for header, content in zip(sources, contents, strict=True)
    ]
    objects = [
        Sample(
            one.kind,
            one.reference(sources[0].study_instance_uid),
            one.transfer_syntax_uid,
            one.content,
        )
        for one in (item.encoded for item in made)
    ]
    return images + objects


def recommended(trials: Sequence[Trial]) -> tuple[ObjectKind, ...]:
    """The best segmentation and report that came back, and the key objects.

    Pictures and outlines only for an archive that keeps no segmentation: beside one they say everything twice.
    """
    by_kind = {kind: [t for t in trials if t.name == kind] for kind in ObjectKind}
    kept = [kind for kind, tried in by_kind.items() if tried and all(t.kept for t in tried)]
    chosen = [next((kind for kind in family if kind in kept), None) for family in _BEST_FIRST.values()]
    more = [ObjectKind.KOS]
    if not SEG_KINDS.intersection(kept):
        more += [ObjectKind.SC, ObjectKind.GSPS]
    elif not SR_KINDS.intersection(kept):
        more += [ObjectKind.SC]
    return tuple([kind for kind in chosen if kind is not None] + [kind for kind in more if kind in kept])
