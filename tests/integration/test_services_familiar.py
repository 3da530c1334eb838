"""A head that the model never saw the like of: real nets, a real worker step, no result and no report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FixedPredictor
from tests.familiar_models import knowing_bundle
from tests.integration.site import BOTH, Site, head
from tests.onnx_models import tiny_manifest
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.lifecycle import JobState, SeriesState
from triage.domain.reason_texts import REASON_TEXTS
from triage.inference.predict import Predictor
from triage.services.rack import Shadow
from triage.services.shadow import examine, shadow_next
from triage.store import bundle_slots, result_objects, results
from triage.store.bundle_slots import ShadowComparison

NEAR, FAR = 0.01, 100.0
"""Limits within which no head lies, and every one."""


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    yield made
    made.db.dispose()


@pytest.fixture
def study(site: Site) -> str:
    series = head()
    site.send(series)
    site.settle()
    return str(series[0].StudyInstanceUID)


def serving(folder: Path, limit: float | None) -> Predictor:
    """A bundle on the CPU whose classifier measures distances."""
    knowing_bundle(folder, tiny_manifest(), familiar_within=limit)
    return Predictor.load(folder, "cpu", threads=1)


def test_an_unfamiliar_series_ends_with_its_reason_and_no_result(site: Site, study: str, tmp_path: Path) -> None:
    site.predictor = serving(tmp_path / "bundle", NEAR)
    assert site.analyse()
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.OUT_OF_DISTRIBUTION)
    assert (row.score, row.flagged_at, row.provisional) == (None, None, False)
    (record,) = site.series(study)
    assert record.state is SeriesState.UNUSABLE
    assert record.detail is not None
    assert record.detail.startswith("Looks unlike all heads that the model learned from: its distance is ")
    assert record.detail.endswith("at most 0.01 is familiar.")
    assert [job.state for job in site.jobs(study)] == [JobState.SUCCEEDED]
    with site.db.read() as tx:
        assert result_objects.of_study(tx, study) == []
        assert results.shown(tx, record.id) is None
    assert REASON_TEXTS[row.reason].startswith("The images differ too much from what the model was made for")


@pytest.mark.parametrize("limit", [FAR, None], ids=["within the limit", "no limit"])
def test_a_familiar_series_is_analysed(site: Site, study: str, tmp_path: Path, limit: float | None) -> None:
    site.predictor = serving(tmp_path / "bundle", limit)
    assert site.analyse()
    assert site.row(study).status in {WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED}


def test_a_shadow_may_find_strange_what_the_bundle_in_use_knows(site: Site, study: str, tmp_path: Path) -> None:
    site.predictor = FixedPredictor()
    assert site.analyse()
    before = site.row(study)
    shadow = serving(tmp_path / "shadow", NEAR)
    assert shadow_next(site.analyst, Shadow(shadow, site.now))
    with site.db.read() as tx:
        (compared,) = bundle_slots.shadow_comparison(tx)
    assert compared == ShadowComparison("fixed 1", "tiny 1", 0, 0, 0, 0, 1)
    assert site.row(study) == before


def test_a_dry_run_says_why(site: Site, study: str, tmp_path: Path) -> None:
    (record,) = site.series(study)
    with pytest.raises(UnusableSeries, match="Looks unlike all heads"):
        examine(site.db, site.blobs, record.id, serving(tmp_path / "other", NEAR))
