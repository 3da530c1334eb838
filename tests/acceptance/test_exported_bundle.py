"""Acceptance 9 of the trainer: what ``trainer export`` writes is used by the real daemon without a change to it."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest

from tests.acceptance.daemon import Destination, running_daemon, running_on
from tests.caches import written_cache
from tests.exported import LARGE_HEADS, bleeding_series, given, trained_run
from tests.fakes import counting_archive
from tests.peers import outgoing
from triage.domain.finding import Subtype, WorklistStatus
from triage.inference.bundle import load_bundle
from triage.net.scu import send
from triage.store import result_objects

pytestmark = pytest.mark.slow


def test_a_daemon_with_an_exported_bundle_reports_blood_of_unspecified_type(tmp_path: Path, database_url: str) -> None:
    cache = written_cache(tmp_path / "cache", LARGE_HEADS)
    out = tmp_path / "bundle"
    code, _, told = given("export", trained_run(tmp_path, cache), out, "--data", cache.folder, "--threads", 1)
    assert code == 0, told
    head = bleeding_series()
    study = str(head[0].StudyInstanceUID)
    with (
        counting_archive() as archive,
        running_daemon(
            tmp_path / "daemon",
            database_url,
            [Destination("ARCHIVE", archive.remote.port)],
            extra=running_on(load_bundle(out)),
        ) as daemon,
    ):
        assert [outcome.error for outcome in send(daemon.remote, outgoing(head))] == [None] * len(head)
        row = daemon.wait_until_final(study)
        with daemon.app.db.read() as tx:
            made = {one.kind: one for one in result_objects.of_study(tx, study)}
        report = pydicom.dcmread(io.BytesIO(daemon.app.blobs.read(made["SR"].blob_key)))
    assert row.status is WorklistStatus.SUSPECTED
    assert list(row.subtypes) == [Subtype.ICH]
    assert row.subtypes[Subtype.ICH].volume_ml > 10
    assert {"SEG", "SR"} <= set(made)
    assert report.SOPInstanceUID in archive.contents
    said = str(report)
    assert "small-d_unet" in said
    assert "Intracranial hemorrhage of unspecified type" in said
