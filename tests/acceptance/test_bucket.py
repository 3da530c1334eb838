"""A daemon whose files lie in a bucket: what was acknowledged is in it, and nothing else differs for anybody."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from tests.acceptance.daemon import Destination, running_daemon, running_on
from tests.acceptance.test_restarts import send_until_acknowledged, study_of
from tests.fakes import counting_archive
from tests.integration.killed import SLICES, head_series
from tests.object_stores import BUCKET, object_store
from tests.onnx_models import tiny_bundle
from triage.domain.finding import WorklistStatus
from triage.net.scu import send
from triage.store import instances, series

pytestmark = pytest.mark.slow

ROOT = f"s3://{BUCKET}/site-1"


def test_a_study_goes_through_and_another_bundle_is_taken_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (tiny_bundle(tmp_path / name, name=name) for name in ("first", "second"))
    with (
        object_store(monkeypatch) as store,
        counting_archive() as archive,
        running_daemon(
            tmp_path / "daemon",
            database_url,
            [Destination("ARCHIVE", archive.remote.port)],
            extra=running_on(first),
            root=ROOT,
        ) as daemon,
    ):
        batch = head_series(1)
        study = study_of(batch, tmp_path)
        send(daemon.remote, batch)
        row = daemon.wait_until_final(study)
        assert row.status is WorklistStatus.SUSPECTED
        assert set(archive.contents) == {o.sop_instance_uid for o in row.objects}
        files = [found["file"] for found in json.loads(daemon.cli("show", study, "--json"))["objects"]]
        assert files
        lying = {f"s3://{BUCKET}/{name}" for name in store.names("site-1/")}
        assert set(files) < lying
        assert len(lying) == SLICES + len(files)
        assert not (tmp_path / "daemon" / "blobs").exists()

        daemon.cli("bundle", "use", str(second.path), "--yes")
        assert store.names(f"site-1/bundles/{second.digest}/")
        batch = head_series(2)
        study = study_of(batch, tmp_path)
        send(daemon.remote, batch)
        assert daemon.wait_until_final(study).bundle == f"second {second.manifest.version}"

        for name in store.names("site-1/"):
            store.client.delete_object(Bucket=BUCKET, Key=name)
        told = json.loads(daemon.cli("show", study, "--json"))
        assert {found["file"] for found in told["objects"]} == {None}


def test_what_a_killed_listener_acknowledged_is_in_the_bucket(
    sqlite_copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        object_store(monkeypatch) as store,
        running_daemon(tmp_path / "daemon", sqlite_copies[0], root=ROOT, roles=("listen", "clock")) as daemon,
    ):
        for number in range(3):
            batch = head_series(number)
            sender = threading.Thread(target=send_until_acknowledged, args=(daemon, batch))
            sender.start()
            time.sleep(0.3 + 0.2 * number)
            killed = daemon.role_processes().get("listen")
            if killed is not None:
                killed.kill()
            sender.join()
            with daemon.app.db.read() as tx:
                (record,) = series.of_study(tx, study_of(batch, tmp_path))
                stored = {one.sop_instance_uid: one.blob_key for one in instances.of_series(tx, record.id)}
            assert len(stored) == SLICES
            for instance in batch:
                assert daemon.app.blobs.read(stored[instance.sop_instance_uid]).endswith(instance.read()[-8192:])
        assert len(store.names("site-1/")) >= 3 * SLICES
