"""What a reading list hears of a study over its revisions and its series: never less than the worklist shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FixedPredictor
from tests.integration.site import REPORT, Site, head
from triage.dicom.source import Source
from triage.dicom.ups import encode_ups
from triage.domain.encoded import EncodedObject
from triage.domain.notice import Notice
from triage.net.hl7 import Hl7Names, encode_oru
from triage.net.ups_scp import StepQuery
from triage.services.notify import Notifier
from triage.services.offer import find_steps

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


def steps(site: Site) -> list[bytes]:
    """The label of each step that is there to be pulled."""
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
