"""What an archive holds of a revision is superseded by the next one, also when that cannot be analysed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.fakes import FixedPredictor
from tests.integration.site import REPORT, Site, head
from tests.integration.test_services_told import oru
from triage.domain.encoded import ObjectKind
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.services.notify import Notifier
from triage.services.undetermined import report_next
from triage.store import deliveries, result_objects

REJECTING = replace(REPORT, reject_superseded=True)


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": REPORT, "rejecting": REJECTING})
    yield made
    made.db.dispose()


def arrives(site: Site, slices: list[Dataset], predictor: FixedPredictor) -> None:
    """Slices of a series come, are analysed, and what is due is reported."""
    site.send(slices, str(slices[0].SOPInstanceUID))
    site.settle()
    site.predictor = predictor
    assert site.analyse()
    site.wait(120)
    while report_next(site.analyst):
        pass


def refuse() -> None:
    raise UnusableSeries(ReasonCode.OUT_OF_DISTRIBUTION, "SYNTHETIC: plastic.")


def negative() -> FixedPredictor:
    return FixedPredictor(score=0.02)


def refusing() -> FixedPredictor:
    return FixedPredictor(at_gate=refuse)


def sent(site: Site, study: str, destination: str) -> list[tuple[ObjectKind, Dataset]]:
    """What a destination was sent, in that order."""
    with site.db.read() as tx:
        there = {one.object_id for one in deliveries.of_study(tx, study) if one.destination == destination}
        made = [one for one in result_objects.of_study(tx, study) if one.object_id in there]
    return [(one.kind, pydicom.dcmread(io.BytesIO(site.blobs.read(one.blob_key)))) for one in made]


def made(site: Site, study: str) -> list[ObjectKind]:
    """What was made for destinations and reading lists, in that order."""
    with site.db.read() as tx:
        return [one.kind for one in result_objects.of_study(tx, study)]


def named(ds: Dataset) -> set[str]:
    """The objects that an object names."""
    return {element.value for element in ds.iterall() if element.tag == 0x00081155}


def test_an_archive_that_holds_a_report_gets_the_next_whatever_it_says(site: Site) -> None:
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    arrives(site, slices[:-1], negative())
    arrives(site, slices[-1:], refusing())
    assert site.row(study).status is WorklistStatus.NOT_ANALYSED
    (_, absent), (kind, undetermined) = sent(site, study, "archive")
    assert kind is ObjectKind.SR
    assert "Undetermined" in str(undetermined)
    assert absent.SOPInstanceUID in named(undetermined.PredecessorDocumentsSequence[0])
    *_, (kind, note) = sent(site, study, "rejecting")
    assert kind is ObjectKind.KOS_REJECTED
    assert named(note) == {absent.SOPInstanceUID}


def test_an_archive_that_holds_nothing_gets_nothing(site: Site) -> None:
    site.profiles = {"archive": replace(REJECTING, only_suspected=True)}
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    arrives(site, slices[:-1], negative())
    arrives(site, slices[-1:], refusing())
    assert sent(site, study, "archive") == []


def test_an_archive_that_takes_no_report_is_still_told_that_what_it_holds_no_longer_counts(site: Site) -> None:
    site.profiles = {"archive": replace(REJECTING, objects=(ObjectKind.SC,))}
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    arrives(site, slices[:-1], negative())
    arrives(site, slices[-1:], refusing())
    (_, summary), (kind, note) = sent(site, study, "archive")
    assert kind is ObjectKind.KOS_REJECTED
    assert named(note) == {summary.SOPInstanceUID}


@pytest.mark.parametrize("undetermined", [True, False])
def test_every_report_that_is_superseded_is_rejected_once(site: Site, undetermined: bool) -> None:
    site.profiles = {"archive": replace(REJECTING, undetermined=undetermined)}
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    arrives(site, slices[:-2], negative())
    arrives(site, slices[-2:-1], refusing())
    arrives(site, slices[-1:], FixedPredictor())
    (_, absent), (_, unknown), (_, first), (_, present), (_, second) = sent(site, study, "archive")
    assert named(first) == {absent.SOPInstanceUID}
    assert named(second) == {unknown.SOPInstanceUID}
    assert unknown.SOPInstanceUID in named(present.PredecessorDocumentsSequence[0])


def test_what_was_sent_before_rejecting_was_switched_on_is_rejected_too(site: Site) -> None:
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    site.profiles = {"archive": REPORT}
    arrives(site, slices[:-2], negative())
    arrives(site, slices[-2:-1], negative())
    site.profiles = {"archive": REJECTING}
    arrives(site, slices[-1:], negative())
    (_, first), (_, second), _, (_, note) = sent(site, study, "archive")
    assert named(note) == {first.SOPInstanceUID, second.SOPInstanceUID}


@pytest.mark.parametrize(("other", "status"), [(0.02, WorklistStatus.NOT_SUSPECTED), (0.95, WorklistStatus.SUSPECTED)])
def test_no_absent_stands_unvouched_where_another_series_decides_the_study(
    site: Site, other: float, status: WorklistStatus
) -> None:
    """Who holds none of it hears nothing, nor do the lists: they were told of the study by the other series."""
    site.profiles |= {"asking": replace(REPORT, undetermined=True, only_suspected=True)}
    site.notifiers = {"ris": Notifier(oru, only_suspected=False, undetermined=True)}
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    arrives(site, head(StudyInstanceUID=study, ConvolutionKernel="H60s"), FixedPredictor(score=other))
    arrives(site, slices[:-1], negative())
    decided, before = site.row(study).status, made(site, study)
    arrives(site, slices[-1:], refusing())
    assert site.row(study).status is decided is status
    assert made(site, study)[len(before) :] == [ObjectKind.SR, ObjectKind.KOS_REJECTED]
    *_, (_, absent), (_, undetermined) = sent(site, study, "archive")
    assert "Undetermined" in str(undetermined)
    assert absent.SOPInstanceUID in named(undetermined.PredecessorDocumentsSequence[0])
    *_, (kind, note) = sent(site, study, "rejecting")
    assert kind is ObjectKind.KOS_REJECTED
    assert named(note) == {absent.SOPInstanceUID}
    assert all("Undetermined" not in str(ds) for _, ds in sent(site, study, "asking"))


def test_a_suspicion_stays_in_the_archive_as_on_the_worklist(site: Site) -> None:
    """The greater one of another series may go, and this one would speak again."""
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    arrives(site, head(StudyInstanceUID=study, ConvolutionKernel="H60s"), FixedPredictor(score=0.95))
    arrives(site, slices[:-1], FixedPredictor(score=0.6))
    before = made(site, study)
    arrives(site, slices[-1:], refusing())
    assert made(site, study) == before
    assert site.row(study).status is WorklistStatus.SUSPECTED
