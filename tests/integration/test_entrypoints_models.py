"""The commands for bundles and for analysing anew, and a worker that takes up a chosen bundle between two jobs."""

from __future__ import annotations

import getpass
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.integration.site import BOTH, Site, head
from tests.onnx_models import tiny_bundle, tiny_manifest
from triage.domain.audit import AuditAction, Outcome
from triage.domain.errors import BundleError, ConfigurationError, NotFound
from triage.domain.finding import WorklistStatus
from triage.entrypoints import worker
from triage.entrypoints.app import App
from triage.entrypoints.cli import triage
from triage.inference.bundle import SEGMENTER, Bundle
from triage.inference.manifest import Thresholds
from triage.services import change_bundle
from triage.settings import Settings
from triage.settings.groups import InferenceSettings
from triage.store import bundle_slots, heartbeats
from triage.store.bundle_slots import Slot
from triage.store.db import Database


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    strict = Thresholds(gate=0.2, suspected=0.8, emergent=0.95, minimum_component_ml=0.0)
    return {
        "old": tiny_bundle(folder / "old", name="old"),
        "new": tiny_bundle(folder / "new", tiny_manifest(), name="new", thresholds=strict),
    }


@pytest.fixture
def site(sqlite_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(sqlite_url, tmp_path / "blobs", profiles={"archive": BOTH})
    yield made
    made.db.dispose()


@pytest.fixture
def config(site: Site, sqlite_url: str, bundles: dict[str, Bundle], tmp_path: Path) -> Path:
    file = tmp_path / "triage.toml"
    lines = [f"[database]\nurl = {json.dumps(sqlite_url)}", f"[storage]\nroot = {json.dumps(str(site.root))}"]
    lines += [f"[inference]\nbundle = {json.dumps(str(bundles['old'].path))}\ndevice = 'cpu'\nthreads = 1"]
    file.write_text("\n".join(lines))
    return file


@pytest.fixture
def study(site: Site) -> str:
    """A study whose job is queued."""
    slices = head()
    site.send(slices)
    site.settle()
    return str(slices[0].StudyInstanceUID)


def run(config: Path, *arguments: str, answer: str | None = None) -> Result:
    command = ["--config", str(config), *arguments]
    return CliRunner(env={"COLUMNS": "200"}).invoke(triage, command, standalone_mode=False, input=answer)


def printed(result: Result) -> str:
    if result.exception is not None:
        raise result.exception
    return result.stdout


def chosen(site: Site) -> dict[str, str]:
    with site.db.read() as tx:
        return {slot.value: choice.digest for slot, choice in bundle_slots.chosen(tx).items()}


def test_choosing_shows_what_changes_and_asks(config: Path, site: Site, bundles: dict[str, Bundle]) -> None:
    path = str(bundles["new"].path)
    refused = run(config, "bundle", "use", path, answer="n\n")
    assert refused.exception is not None
    assert chosen(site) == {}
    shown = printed(run(config, "bundle", "use", path, answer="y\n"))
    (line,) = [line for line in shown.splitlines() if "threshold suspected" in line]
    assert line.index("0.5") < line.index("0.8")
    assert bundles["new"].digest in shown
    assert "DEMONSTRATION ONLY" in shown
    assert chosen(site) == {"active": bundles["new"].digest}
    (event,) = [r.event for r in site.audit() if r.event.action is AuditAction.BUNDLE_CHOSEN]
    assert event.actor == getpass.getuser()


def test_a_shadow_is_chosen_and_cleared(config: Path, site: Site, bundles: dict[str, Bundle]) -> None:
    with pytest.raises(NotFound, match="no shadow bundle"):
        printed(run(config, "bundle", "use", "--clear-shadow"))
    assert "beside" in printed(run(config, "bundle", "use", str(bundles["new"].path), "--shadow", "--yes"))
    assert chosen(site) == {"shadow": bundles["new"].digest}
    with pytest.raises(NotFound, match="has said anything yet"):
        printed(run(config, "bundle", "compare"))
    printed(run(config, "bundle", "use", "--clear-shadow"))
    assert chosen(site) == {}


def test_what_cannot_be_chosen(config: Path, site: Site, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Name the folder"):
        printed(run(config, "bundle", "use"))
    with pytest.raises(ConfigurationError, match="stands alone"):
        printed(run(config, "bundle", "use", "--clear-shadow", str(bundles["new"].path)))
    with pytest.raises(ConfigurationError, match="its own shadow"):
        printed(run(config, "bundle", "use", str(bundles["old"].path), "--shadow", "--yes"))
    damaged = tiny_bundle(tmp_path / "damaged", name="damaged")
    (damaged.path / SEGMENTER).write_bytes(b"no net")
    with pytest.raises(BundleError, match="does not match"):
        printed(run(config, "bundle", "use", str(damaged.path), "--yes"))
    broken = tiny_bundle(tmp_path / "broken", name="broken", files={SEGMENTER: b"whole, and no net"})
    with pytest.raises(BundleError):
        printed(run(config, "bundle", "use", str(broken.path), "--yes"))
    assert chosen(site) == {}


def test_the_bundle_in_use_may_be_gone(config: Path, site: Site, bundles: dict[str, Bundle]) -> None:
    printed(run(config, "bundle", "use", str(bundles["old"].path), "--yes"))
    (site.root / "bundles" / bundles["old"].digest / SEGMENTER).unlink()
    result = run(config, "bundle", "use", str(bundles["new"].path), "--yes")
    assert "The bundle in use cannot be read" in result.stderr
    assert chosen(site) == {"active": bundles["new"].digest}


def test_calling_off(config: Path, site: Site, study: str) -> None:
    assert "not analysed" in printed(run(config, "cancel", study))
    assert site.row(study).status is WorklistStatus.NOT_ANALYSED
    with pytest.raises(NotFound, match="No analysis of study"):
        printed(run(config, "cancel", study))
    assert "Queued: 1" in printed(run(config, "reanalyse", study))
    assert site.row(study).status is WorklistStatus.PENDING


def test_asking_another_bundle(config: Path, site: Site, study: str, bundles: dict[str, Bundle]) -> None:
    site.analyse()
    shown = printed(run(config, "reanalyse", study, "--dry-run", "--bundle", str(bundles["new"].path)))
    assert "fixed 1: suspected (emergent), score 0.9500" in shown
    assert "new 1 says now" in shown
    assert "Nothing was changed" in shown
    with pytest.raises(ConfigurationError, match="made by the bundle in use"):
        printed(run(config, "reanalyse", study, "--bundle", str(bundles["new"].path)))


def test_a_worker_takes_up_what_is_chosen_and_runs_the_shadow(
    database_url: str, tmp_path: Path, bundles: dict[str, Bundle]
) -> None:
    """The main job in a thread: old bundle, then the new one without a restart, then the old one as its shadow."""
    site = Site(database_url, tmp_path / "blobs")
    inference = InferenceSettings(bundle=bundles["old"].path, device="cpu", threads=1)
    app = App(Settings(inference=inference), Database(database_url), site.blobs)
    first, second = arrived(site), arrived(site)
    with working(app):
        until(lambda: site.row(first).bundle == site.row(second).bundle == "old 1")
        choose(site, app, bundles["new"])
        third = arrived(site)
        until(lambda: site.row(third).bundle == "new 1")
        until(lambda: "new 1" in in_use(app))  # the next beat of its heart says so
        choose(site, app, bundles["old"], Slot.SHADOW)
        fourth = arrived(site)
        until(lambda: site.row(fourth).bundle == "new 1" and compared(site) == [("new 1", "old 1", 1)])
    app.db.dispose()
    site.db.dispose()


def test_the_comparison_says_which_bundles_are_for_demonstration(
    config: Path, site: Site, sqlite_url: str, study: str, bundles: dict[str, Bundle]
) -> None:
    inference = InferenceSettings(bundle=bundles["old"].path, device="cpu", threads=1)
    app = App(Settings(inference=inference), Database(sqlite_url), site.blobs)
    choose(site, app, bundles["new"], Slot.SHADOW)
    with working(app):
        until(lambda: compared(site) == [("old 1", "new 1", 1)])
    shown = printed(run(config, "bundle", "compare"))
    assert all(f"{name} (demonstration)" in shown for name in ("old 1", "new 1"))
    app.db.dispose()


def test_a_worker_waits_for_a_bundle_that_loads(
    site: Site, sqlite_url: str, study: str, bundles: dict[str, Bundle]
) -> None:
    """The chosen one is damaged and the settings name none: the listener must not end with it."""
    app = App(Settings(inference=InferenceSettings(device="cpu", threads=1)), Database(sqlite_url), site.blobs)
    choose(site, app, bundles["new"])
    (site.root / "bundles" / bundles["new"].digest / SEGMENTER).write_bytes(b"no net")
    with working(app):
        until(lambda: failures(site) == 1)
        time.sleep(2 * worker.NO_BUNDLE_SECONDS)
        assert failures(site) == 1
        assert site.row(study).status is WorklistStatus.PENDING
        choose(site, app, bundles["old"])
        until(lambda: site.row(study).bundle == "old 1")
    app.db.dispose()


def test_a_worker_that_is_stopped_waits_no_longer(site: Site, sqlite_url: str, bundles: dict[str, Bundle]) -> None:
    app = App(Settings(inference=InferenceSettings(device="cpu", threads=1)), Database(sqlite_url), site.blobs)
    choose(site, app, bundles["new"])
    (site.root / "bundles" / bundles["new"].digest / SEGMENTER).write_bytes(b"no net")
    with working(app):
        until(lambda: failures(site) == 1)
    app.db.dispose()


def failures(site: Site) -> int:
    events = [r.event for r in site.audit() if r.event.action is AuditAction.BUNDLE_CHOSEN]
    return sum(event.outcome is Outcome.SERIOUS_FAILURE for event in events)


def in_use(app: App) -> list[object]:
    with app.db.read() as tx:
        return [beat.detail.get("bundle") for beat in heartbeats.seen(tx)]


def compared(site: Site) -> list[tuple[str, str, int]]:
    with site.db.read() as tx:
        return [(found.active, found.shadow, found.n) for found in bundle_slots.shadow_comparison(tx)]


def choose(site: Site, app: App, bundle: Bundle, slot: Slot = Slot.ACTIVE) -> None:
    change_bundle.choose(site.db, site.blobs, bundle, slot, actor="person", now=app.clock())


def arrived(site: Site) -> str:
    slices = head()
    site.send(slices, f"association of {slices[0].SeriesInstanceUID}")
    site.settle()
    return str(slices[0].StudyInstanceUID)


@contextmanager
def working(app: App) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.work, args=(app, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to pass")
