"""What a reading list hears of a study over its revisions and its series: never less than the worklist shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fakes import FixedPredictor
from tests.integration.site import REPORT, Site, head
from tests.integration.test_services_reanalyse import OTHER, bundle
from triage.dicom.availability import encode_availability
from triage.dicom.source import Source
from triage.dicom.ups import encode_ups
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.errors import DeliveryUnconfirmed, TriageError
from triage.domain.finding import WorklistStatus
from triage.domain.notice import Notice
from triage.net.hl7 import Hl7Names, encode_oru
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.net.ups_scp import StepQuery
from triage.services.deliver import Courier, deliver_next
from triage.services.notify import Notifier
from triage.services.offer import find_steps
from triage.services.reanalyse import reanalyse
from triage.store import deliveries, result_objects

SUSPECTED, NEGATIVE = b"Suspected ICH: priority read", b"ICH not suspected"


def oru(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
    return encode_oru(notice, Hl7Names(), identifier)


def step(notice: Notice, source: Source, identifier: str) -> EncodedObject:
    return encode_ups(notice, source, identifier, retrieve_ae_title="PACS")


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": REPORT})
    made.notifiers = {"ris": Notifier(oru, only_suspected=False), "pull": Notifier(step, pulled=True)}
    yield made
    made.db.dispose()


def analysed(site: Site, score: float, study: str, kernel: str) -> None:
    """A series of a study comes in and is analysed; the softer the kernel, the better."""
    site.send(head(StudyInstanceUID=study, ConvolutionKernel=kernel), kernel)
    site.settle()
    site.predictor = FixedPredictor(score=score)
    assert site.analyse()


def said(site: Site, study: str) -> list[str]:
    """What the RIS was told, in that order."""
    with site.db.read() as tx:
        told = [one for one in result_objects.of_study(tx, study) if one.kind is ObjectKind.ORU]
    contents = [site.blobs.read(one.blob_key) for one in told]
    return ["Present" if b"^Present^" in content else "Absent" for content in contents]


def steps(site: Site) -> list[bytes]:
    """The label of each step that is there to be pulled: one of each study."""
    contents = [found.content for found in find_steps(site.db, site.blobs, StepQuery(), site.now)]
    return [label for content in contents for label in (SUSPECTED, NEGATIVE) if label in content]


def test_a_list_that_pulls_hears_that_a_study_is_no_longer_suspected(site: Site) -> None:
    series = head()
    site.send(series[:-1])
    site.settle()
    assert site.analyse()
    assert steps(site) == [SUSPECTED]
    site.send(series[-1:], "late")
    site.settle()
    site.predictor = FixedPredictor(score=0.02)
    assert site.analyse()
    assert steps(site) == [NEGATIVE]


def test_a_list_that_pulls_hears_nothing_of_a_study_that_never_was(site: Site) -> None:
    analysed(site, 0.02, "2.25.7", "H30s")
    assert steps(site) == []


def test_no_other_series_takes_back_what_the_worklist_shows_as_suspected(site: Site) -> None:
    analysed(site, 0.95, "2.25.7", "H60s")
    analysed(site, 0.02, "2.25.7", "H30s")
    assert site.row("2.25.7").status is WorklistStatus.SUSPECTED
    assert said(site, "2.25.7") == ["Present"]
    assert len([o for o in site.row("2.25.7").objects if o.destination == "archive"]) == 2


def test_a_suspicion_is_told_after_another_series_was_negative(site: Site) -> None:
    analysed(site, 0.02, "2.25.7", "H60s")
    analysed(site, 0.95, "2.25.7", "H30s")
    assert said(site, "2.25.7") == ["Absent", "Present"]


def test_a_lesser_suspicion_is_told_too(site: Site) -> None:
    """The greater one may be taken back by its next revision, and this one alone would speak."""
    analysed(site, 0.95, "2.25.7", "H60s")
    analysed(site, 0.6, "2.25.7", "H30s")
    assert said(site, "2.25.7") == ["Present", "Present"]


def test_a_flag_of_the_gate_alone_that_goes_is_told_where_another_series_was_suspected(site: Site) -> None:
    """While a second worker has a worse series, the better one is analysed again and is negative."""
    better = head(StudyInstanceUID="2.25.7")
    site.send(better[:-1], "early")
    site.settle()
    assert site.analyse()
    site.send(head(StudyInstanceUID="2.25.7", ConvolutionKernel="H60s"), "worse", released=False)
    site.wait(60)
    site.send(better[-1:], "late")
    site.assemble()

    def meanwhile() -> None:
        site.settle()
        site.predictor = FixedPredictor(score=0.02)
        assert site.analyse()
        assert steps(site) == [SUSPECTED]
        worse.score = 0.02

    site.predictor = worse = FixedPredictor(at_segment=meanwhile)
    assert site.analyse()
    assert site.row("2.25.7").status is WorklistStatus.NOT_SUSPECTED
    assert steps(site) == [NEGATIVE]


def test_the_last_suspicion_that_goes_is_told(site: Site) -> None:
    analysed(site, 0.95, "2.25.7", "H60s")
    analysed(site, 0.9, "2.25.7", "H30s")
    assert reanalyse(site.db, site.blobs, "2.25.7", bundle_digest=OTHER, actor="person", now=site.now) == 2
    site.predictor = FixedPredictor(score=0.02, bundle=bundle())
    assert site.analyse()
    assert site.row("2.25.7").status is WorklistStatus.SUSPECTED
    assert said(site, "2.25.7") == ["Present", "Present"]
    assert steps(site) == [SUSPECTED]
    assert site.analyse()
    assert site.row("2.25.7").status is WorklistStatus.NOT_SUSPECTED
    assert said(site, "2.25.7") == ["Present", "Present", "Absent"]
    assert steps(site) == [NEGATIVE]


def test_the_last_word_is_the_newest_when_an_older_message_was_put_off(site: Site) -> None:
    """The RIS answers AE to "Absent"; a late slice shows a haemorrhage, which is told at once; then the AE is over."""
    slices, heard = head(), []
    answers: list[TriageError | None] = [DeliveryUnconfirmed("SYNTHETIC: MSA-1 is AE.")]

    def ris(outgoing: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        answer = answers.pop() if answers else None
        heard.extend(b"^Present^" in one.read() for one in outgoing if answer is None)
        return [SendOutcome(one.sop_instance_uid, answer, None) for one in outgoing]

    courier = Courier(site.db, site.blobs, "ris", ris, lambda: site.now, "sender-1")
    for part, score in ((slices[:-1], 0.02), (slices[-1:], 0.95)):
        site.send(part, f"association {score}")
        site.settle()
        site.predictor = FixedPredictor(score=score)
        assert site.analyse()
        assert deliver_next(courier)
    site.wait(600)
    while deliver_next(courier):
        pass
    assert heard == [True]


def test_where_objects_are_is_told_of_every_series(site: Site) -> None:
    """An availability notification says nothing of a finding: it is no "absent" beside another suspected series."""

    def available(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
        return encode_availability([reference for _, reference in notice.objects], "PACS", identifier)

    site.notifiers = {"ris": site.notifiers["ris"], "rooms": Notifier(available, only_suspected=False, after="archive")}
    analysed(site, 0.95, "2.25.7", "H60s")
    analysed(site, 0.02, "2.25.7", "H30s")
    with site.db.read() as tx:
        told = [one.kind for one in deliveries.of_study(tx, "2.25.7") if one.destination != "archive"]
    assert told == [ObjectKind.ORU, ObjectKind.IAN, ObjectKind.IAN]
