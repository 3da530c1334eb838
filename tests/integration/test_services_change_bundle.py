"""Choosing another bundle: verified, kept, taken up between two jobs; what does not load leaves the old one in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FixedPredictor
from tests.integration.site import BOTH, Site, head
from tests.onnx_models import tiny_bundle
from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.errors import BundleError, OutOfSpace, ProviderUnavailable, StoreUnavailable, UnusableSeries
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.inference.bundle import SEGMENTER, Bundle, load_bundle
from triage.services import change_bundle
from triage.services.rack import Rack, Shadow
from triage.services.recover import set_orphans_aside
from triage.services.shadow import shadow_next
from triage.store import bundle_slots, result_objects
from triage.store.bundle_slots import ShadowComparison, Slot


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Bundles of small nets by their name."""
    folder = tmp_path_factory.mktemp("bundles")
    return {name: tiny_bundle(folder / name, name=name) for name in ("old", "new", "third")}


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    yield made
    made.db.dispose()


@dataclass
class Loader:
    """Opens a bundle as a worker does, but for the nets; ``trouble`` is what happens to a bundle of this name."""

    trouble: dict[str, Exception] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    loaded: list[str] = field(default_factory=list)

    def __call__(self, path: Path) -> Any:
        bundle = load_bundle(path)
        if bundle.name in self.trouble:
            raise self.trouble[bundle.name]
        self.loaded.append(bundle.name)
        return FixedPredictor(self.scores.get(bundle.name, 0.95), bundle=bundle)


def rack(site: Site, configured: Bundle, load: Callable[[Path], Any], *, fallback: bool = True) -> Rack:
    return Rack(site.db, site.blobs, configured.path, fallback, load, lambda: site.now)


def choose(site: Site, bundle: Bundle, slot: Slot = Slot.ACTIVE) -> None:
    site.wait(1)
    change_bundle.choose(site.db, site.blobs, bundle, slot, actor="person", now=site.now)


def damage(site: Site, bundle: Bundle) -> None:
    (site.root / "bundles" / bundle.digest / SEGMENTER).write_bytes(b"no net")


def events(site: Site) -> list[AuditEvent]:
    return [r.event for r in site.audit() if r.event.action is AuditAction.BUNDLE_CHOSEN]


def test_a_chosen_bundle_is_kept_and_stays_when_orphans_are_swept(site: Site, bundles: dict[str, Bundle]) -> None:
    choose(site, bundles["new"])
    place = site.root / "bundles" / bundles["new"].digest
    assert load_bundle(place).digest == bundles["new"].digest
    assert {f"{path.stat().st_mode & 0o777:o}" for path in place.iterdir()} == {"644"}
    set_orphans_aside(site.db, site.blobs, site.now.replace(year=2999))
    assert load_bundle(place).digest == bundles["new"].digest
    assert change_bundle.place_in_use(site.db, site.blobs, bundles["old"].path) == place
    (event,) = events(site)
    assert (event.actor, event.detail["name"], event.detail["suspected_at"]) == ("person", "new", 0.5)
    assert event.detail["previous"] is None


def test_choosing_again_uses_the_copy_and_mends_a_damaged_one(site: Site, bundles: dict[str, Bundle]) -> None:
    choose(site, bundles["new"])
    damage(site, bundles["new"])
    choose(site, bundles["new"])
    assert load_bundle(site.root / "bundles" / bundles["new"].digest).digest == bundles["new"].digest
    assert [path.name for path in (site.root / "bundles").iterdir()] == [bundles["new"].digest]


def test_a_copy_that_cannot_be_written_changes_nothing(site: Site, bundles: dict[str, Bundle]) -> None:
    site.root.mkdir(parents=True)
    (site.root / "bundles").write_text("SYNTHETIC: a file where the folder should be")
    with pytest.raises(OutOfSpace, match="cannot be copied"):
        choose(site, bundles["new"])
    assert events(site) == []


def test_a_bundle_that_changes_while_it_is_copied_is_refused(
    site: Site, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    changing = tiny_bundle(tmp_path / "changing", name="changing")
    (changing.path / SEGMENTER).write_bytes(b"another net")
    with pytest.raises(BundleError, match="changed while it was copied"):
        choose(site, changing)
    assert list((site.root / "bundles").iterdir()) == []


def test_the_settings_count_until_a_person_has_chosen(site: Site, bundles: dict[str, Bundle]) -> None:
    load = Loader()
    worker = rack(site, bundles["old"], load)
    assert worker.active().bundle.name == "old"
    assert worker.active() is worker.active()
    choose(site, bundles["new"])
    assert worker.active().bundle.name == "new"
    assert rack(site, bundles["old"], load).active().bundle.name == "new"  # also after a restart
    assert load.loaded == ["old", "new", "new"]


def test_a_bundle_that_does_not_load_leaves_the_old_one_in_use_and_is_on_record(
    site: Site, bundles: dict[str, Bundle]
) -> None:
    load = Loader(trouble={"new": BundleError("SYNTHETIC: the net does not run.")})
    worker = rack(site, bundles["old"], load)
    old = worker.active()
    choose(site, bundles["new"])
    assert worker.active() is old
    assert worker.active() is old
    failed = [event for event in events(site) if event.outcome is Outcome.SERIOUS_FAILURE]
    assert [event.detail["reason"] for event in failed] == ["SYNTHETIC: the net does not run."]
    choose(site, bundles["third"])
    assert worker.active().bundle.name == "third"


def test_at_start_the_bundle_of_the_settings_stands_in_for_a_damaged_one(
    site: Site, bundles: dict[str, Bundle]
) -> None:
    choose(site, bundles["new"])
    damage(site, bundles["new"])
    assert rack(site, bundles["old"], Loader()).active().bundle.name == "old"
    assert events(site)[-1].outcome is Outcome.SERIOUS_FAILURE


def test_the_demonstration_bundle_stands_in_for_nothing(site: Site, bundles: dict[str, Bundle]) -> None:
    choose(site, bundles["new"])
    damage(site, bundles["new"])
    with pytest.raises(BundleError, match="does not match"):
        rack(site, bundles["old"], Loader(), fallback=False).active()


def test_a_copy_that_was_exchanged_is_not_the_one_that_was_chosen(site: Site, bundles: dict[str, Bundle]) -> None:
    worker = rack(site, bundles["old"], Loader())
    worker.active()
    choose(site, bundles["new"])
    place = site.root / "bundles" / bundles["new"].digest
    place.rename(place.with_name("gone"))
    tiny_bundle(place, name="exchanged")
    assert worker.active().bundle.name == "old"
    assert "not the one that was chosen" in str(events(site)[-1].detail["reason"])


def test_what_is_loaded_already_is_not_loaded_again(site: Site, bundles: dict[str, Bundle]) -> None:
    load = Loader()
    worker = rack(site, bundles["old"], load)
    worker.active()
    choose(site, bundles["old"])
    assert worker.active().bundle.name == "old"
    assert load.loaded == ["old"]


@pytest.mark.parametrize("trouble", [BundleError("SYNTHETIC"), ProviderUnavailable("SYNTHETIC: no memory")])
def test_a_shadow_that_does_not_load_ends_nothing(site: Site, bundles: dict[str, Bundle], trouble: Exception) -> None:
    load = Loader(trouble={"new": trouble})
    worker = rack(site, bundles["old"], load)
    worker.active()
    choose(site, bundles["new"], Slot.SHADOW)
    assert worker.shadow() is None
    assert worker.shadow() is None
    assert [e.detail["slot"] for e in events(site) if e.outcome is Outcome.SERIOUS_FAILURE] == ["shadow"]


def test_a_shadow_that_met_a_database_without_an_answer_is_tried_again(site: Site, bundles: dict[str, Bundle]) -> None:
    load = Loader(trouble={"new": StoreUnavailable("SYNTHETIC: restarting")})
    worker = rack(site, bundles["old"], load)
    choose(site, bundles["new"], Slot.SHADOW)
    with pytest.raises(StoreUnavailable):
        worker.shadow()
    load.trouble.clear()
    shadow = worker.shadow()
    assert shadow is not None
    assert worker.shadow() is shadow
    assert load.loaded == ["new"]


def test_a_shadow_comes_and_goes(site: Site, bundles: dict[str, Bundle]) -> None:
    worker = rack(site, bundles["old"], Loader())
    assert worker.shadow() is None
    choose(site, bundles["new"], Slot.SHADOW)
    shadow = worker.shadow()
    assert shadow is not None
    assert (shadow.predictor.bundle.name, shadow.since) == ("new", site.now)
    assert worker.shadow() is shadow
    assert change_bundle.clear_shadow(site.db, actor="person", now=site.now)
    assert worker.shadow() is None
    assert not change_bundle.clear_shadow(site.db, actor="person", now=site.now)


def test_a_shadow_that_is_chosen_is_the_shadow_no_longer(site: Site, bundles: dict[str, Bundle]) -> None:
    choose(site, bundles["new"], Slot.SHADOW)
    choose(site, bundles["new"])
    with site.db.read() as tx:
        assert set(bundle_slots.chosen(tx)) == {Slot.ACTIVE}


def analysed(site: Site) -> str:
    slices = head()
    site.send(slices, f"association of {slices[0].SeriesInstanceUID}")
    site.settle()
    assert site.analyse()
    return str(slices[0].StudyInstanceUID)


def shadow_of(site: Site, bundle: Bundle, score: float, **how: Any) -> Shadow:
    return Shadow(FixedPredictor(score, bundle=bundle, **how), site.now)  # type: ignore[arg-type]


def comparison(site: Site) -> list[ShadowComparison]:
    with site.db.read() as tx:
        return bundle_slots.shadow_comparison(tx)


def test_a_shadow_looks_at_what_was_analysed_and_changes_nothing(site: Site, bundles: dict[str, Bundle]) -> None:
    shadow = shadow_of(site, bundles["new"], 0.1)
    study = analysed(site)
    row, objects = site.row(study), objects_of(site, study)
    assert shadow_next(site.analyst, shadow)
    assert not shadow_next(site.analyst, shadow)
    assert comparison(site) == [ShadowComparison("fixed 1", "new 1", 0, 1, 0, 0, 0)]
    assert (site.row(study), objects_of(site, study)) == (row, objects)


def objects_of(site: Site, study: str) -> list[str]:
    with site.db.read() as tx:
        return [o.sop_instance_uid for o in result_objects.of_study(tx, study)]


def test_a_shadow_waits_for_every_job(site: Site, bundles: dict[str, Bundle]) -> None:
    shadow = shadow_of(site, bundles["new"], 0.95)
    analysed(site)
    later = head()
    site.send(later, "later")
    site.settle()
    assert not shadow_next(site.analyst, shadow)
    assert site.analyse()
    assert shadow_next(site.analyst, shadow)
    assert shadow_next(site.analyst, shadow)
    assert comparison(site)[0].both == 2


def test_a_job_that_comes_meanwhile_goes_first(site: Site, bundles: dict[str, Bundle]) -> None:
    analysed(site)
    came = head()

    def arrive() -> None:
        if came:
            site.send(came, "came")
            site.settle()
            came.clear()

    segmented: list[int] = []
    shadow = shadow_of(site, bundles["new"], 0.95, at_gate=arrive, at_segment=lambda: segmented.append(1))
    shadow.since = shadow.since.replace(year=2000)
    assert not shadow_next(site.analyst, shadow)
    assert segmented == []
    assert site.analyse()
    assert shadow_next(site.analyst, shadow)
    assert shadow_next(site.analyst, shadow)
    assert len(segmented) == 2


def refuse() -> None:
    raise UnusableSeries(ReasonCode.OUT_OF_DISTRIBUTION, "SYNTHETIC: plastic.")


def crash() -> None:
    raise RuntimeError("SYNTHETIC: a net that divides by zero")


def lose() -> None:
    raise ProviderUnavailable("SYNTHETIC: out of memory")


@pytest.mark.parametrize("fault", [refuse, crash, lose], ids=["refuses", "crashes", "loses the GPU"])
def test_a_shadow_that_fails_is_counted_and_ends_nothing(
    site: Site, bundles: dict[str, Bundle], fault: Callable[[], None]
) -> None:
    shadow = shadow_of(site, bundles["new"], 0.95, at_gate=fault)
    study = analysed(site)
    assert shadow_next(site.analyst, shadow)
    assert not shadow_next(site.analyst, shadow)
    assert [(found.n, found.failed) for found in comparison(site)] == [(0, 1)]
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_what_was_analysed_before_the_shadow_was_chosen_is_left_alone(site: Site, bundles: dict[str, Bundle]) -> None:
    analysed(site)
    site.wait(60)
    assert not shadow_next(site.analyst, shadow_of(site, bundles["new"], 0.95))
