"""Acceptance 3: what cannot be analysed says why, and nothing that was acknowledged is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pydicom
import pytest

from tests.acceptance.daemon import Daemon, running_daemon
from tests.builders import part10
from tests.peers import in_memory
from triage.domain.errors import TriageError
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.lifecycle import SeriesState
from triage.entrypoints.operate import dicom_files
from triage.net.scu import echo, send
from triage.store import instances, series

pytestmark = pytest.mark.slow


def _ended(daemon: Daemon, study: str) -> list[series.SeriesRecord]:
    """The series of a study once none is being received any more."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with daemon.app.db.read() as tx:
            records = series.of_study(tx, study)
        if all(r.state not in (SeriesState.RECEIVING, SeriesState.STABLE) for r in records):
            return records
        time.sleep(0.1)
    raise AssertionError(f"some series never ended: {records}")


def test_a_plastic_head_is_never_negative(tmp_path: Path, sqlite_copies: list[str], shared_data: Path) -> None:
    found, _ = dicom_files([shared_data / "philips_head_phantom"])
    study = found[0].study_instance_uid
    with running_daemon(tmp_path, sqlite_copies[0]) as daemon:
        outcomes = send(daemon.remote, [f.outgoing for f in found])
        assert [o for o in outcomes if o.error is not None] == []
        row = daemon.wait_for(study, lambda r: r.reason is ReasonCode.OUT_OF_DISTRIBUTION)
        assert row.status is WorklistStatus.NOT_ANALYSED
        records = _ended(daemon, study)
        assert {r.state for r in records} == {SeriesState.UNUSABLE}
        assert {r.reason for r in records} <= {
            ReasonCode.OUT_OF_DISTRIBUTION,
            ReasonCode.LOCALIZER,
            ReasonCode.DERIVED,
            ReasonCode.NOT_CT,
        }
        assert all(r.detail for r in records)
        shown = daemon.cli("show", study)
        assert "localizer" in shown
        assert "out_of_distribution" in shown


@pytest.mark.parametrize("folder", ["mr_mosaic_transfer_syntaxes", "odd_files", "clara_ct"])
def test_odd_files_end_with_a_reason_or_a_clean_refusal(
    tmp_path: Path, sqlite_copies: list[str], shared_data: Path, folder: str
) -> None:
    files = sorted((shared_data / folder).rglob("*.dcm"))
    acknowledged: dict[str, str] = {}
    with running_daemon(tmp_path, sqlite_copies[0]) as daemon:
        for file in files:
            found, skipped = dicom_files([file])
            if skipped:
                continue
            (outcome,) = send(daemon.remote, [found[0].outgoing])
            if outcome.error is None:
                acknowledged[outcome.sop_instance_uid] = found[0].study_instance_uid
            else:
                assert outcome.status is None or outcome.status != 0, outcome
        assert acknowledged
        for study in set(acknowledged.values()):
            row = daemon.wait_for(study, lambda r: r.status is WorklistStatus.NOT_ANALYSED)
            assert row.reason is not None
        with daemon.app.db.read() as tx:
            for sop_instance_uid in acknowledged:
                stored = instances.find(tx, sop_instance_uid)
                assert stored is not None
                assert daemon.app.blobs.read(stored.blob_key)
        echo(daemon.remote)


def test_a_lie_about_the_uid_is_refused(tmp_path: Path, sqlite_copies: list[str], shared_data: Path) -> None:
    ds = pydicom.dcmread(shared_data / "odd_files" / "CT_small.dcm")
    with running_daemon(tmp_path, sqlite_copies[0]) as daemon:
        lie = in_memory(ds.SOPClassUID, "1.2.3.4.5", ds.file_meta.TransferSyntaxUID, part10(ds))
        (outcome,) = send(daemon.remote, [lie])
        assert isinstance(outcome.error, TriageError)
        assert outcome.status is not None
        assert 0xC000 <= outcome.status <= 0xCFFF
        refusals = [e for e in daemon.cli("audit", "--json").split('"action"') if "instance_refused" in e]
        assert len(refusals) == 1
