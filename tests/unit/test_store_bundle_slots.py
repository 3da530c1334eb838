"""Which bundle is chosen, what a shadow said beside it, and that neither is ever taken for a result that counts."""

from __future__ import annotations

from tests.stores import DIGEST, NOW, SERIES, STUDY, analysed, at, claim, finish, logged, result, running
from triage.domain.audit import AuditAction, Outcome
from triage.domain.finding import ReasonCode, TriageResult
from triage.store import bundle_slots, bundles, jobs, results, series, shadow_results, studies, worklist
from triage.store.bundle_slots import ChosenBundle, ShadowComparison, Slot
from triage.store.db import Database
from triage.store.shadow_results import Unshadowed

SHADOW = "cd" * 32


def choice(slot: Slot = Slot.ACTIVE, digest: str = SHADOW) -> ChosenBundle:
    return ChosenBundle(slot, digest, f"bundles/{digest}", NOW, "person")


def choose(db: Database, chosen: ChosenBundle) -> None:
    with db.transaction() as tx:
        bundle_slots.choose(tx, chosen, {"name": "site-heads", "version": "2"})


def chosen(db: Database) -> dict[Slot, ChosenBundle]:
    with db.read() as tx:
        return bundle_slots.chosen(tx)


def waiting(db: Database, since: float = -1) -> Unshadowed | None:
    with db.read() as tx:
        return shadow_results.next_unshadowed(tx, SHADOW, at(since))


def say(db: Database, said: TriageResult | ReasonCode, about: Unshadowed | None = None, seconds: float = 10) -> bool:
    about = about or waiting(db)
    assert about is not None
    with db.transaction() as tx:
        return shadow_results.record(tx, about, said, bundle_digest=SHADOW, bundle="site-heads 2", now=at(seconds))


def compared(db: Database, since: float | None = None) -> list[ShadowComparison]:
    with db.read() as tx:
        return bundle_slots.shadow_comparison(tx, None if since is None else at(since))


def test_nothing_is_chosen_at_first(database: Database) -> None:
    assert chosen(database) == {}


def test_a_choice_replaces_the_one_before_and_each_is_audited(database: Database) -> None:
    choose(database, choice())
    choose(database, choice(Slot.SHADOW, DIGEST))
    later = choice(digest=DIGEST)._replace(chosen_at=at(5), chosen_by="another")
    choose(database, later)
    assert chosen(database) == {Slot.ACTIVE: later, Slot.SHADOW: choice(Slot.SHADOW, DIGEST)}
    events = [record.event for record in logged(database, AuditAction.BUNDLE_CHOSEN)]
    assert [(e.actor, e.detail["slot"], e.detail["digest"]) for e in events] == [
        ("person", "active", SHADOW),
        ("person", "shadow", DIGEST),
        ("another", "active", DIGEST),
    ]
    assert events[0].detail["name"] == "site-heads"


def test_a_slot_is_cleared_once(database: Database) -> None:
    choose(database, choice(Slot.SHADOW))
    with database.transaction() as tx:
        assert bundle_slots.clear(tx, Slot.SHADOW, now=NOW, actor="person")
        assert not bundle_slots.clear(tx, Slot.SHADOW, now=NOW, actor="person")
    assert chosen(database) == {}
    event = logged(database, AuditAction.BUNDLE_CHOSEN)[-1].event
    assert (event.detail["digest"], event.detail["previous"]) == (None, SHADOW)


def test_what_did_not_load_is_a_serious_failure(database: Database) -> None:
    with database.transaction() as tx:
        bundle_slots.not_loaded(tx, choice(), why="It is damaged.", now=NOW, actor="worker")
    (record,) = logged(database, AuditAction.BUNDLE_CHOSEN)
    assert (record.event.outcome, record.event.detail["reason"]) == (Outcome.SERIOUS_FAILURE, "It is damaged.")


def test_the_shadow_sees_each_analysed_revision_once(database: Database) -> None:
    assert waiting(database) is None
    job = running(database)
    assert waiting(database) is None
    finish(database, job)
    about = waiting(database)
    assert about == Unshadowed(job.series_id, STUDY, SERIES, 1)
    assert waiting(database, since=1) is None
    assert say(database, result(0.1))
    assert waiting(database) is None
    assert not say(database, result(0.9), about)


def test_the_bundle_in_use_is_not_its_own_shadow(database: Database) -> None:
    analysed(database)
    with database.read() as tx:
        assert shadow_results.next_unshadowed(tx, DIGEST, at(-1)) is None


def test_the_latest_goes_first(database: Database) -> None:
    for number in (1, 2, 3):
        job = running(database, study=f"2.25.{number}", series_uid=f"2.25.{number}.1")
        finish(database, job)
    seen = []
    while (about := waiting(database)) is not None:
        seen.append(about.study_instance_uid)
        say(database, result(0.9), about)
    assert seen == ["2.25.3", "2.25.2", "2.25.1"]


def test_what_a_shadow_says_changes_nothing(database: Database) -> None:
    analysed(database, score=0.1)
    with database.read() as tx:
        before = worklist.row(tx, STUDY)
    about = waiting(database)
    say(database, result(0.9))
    with database.transaction() as tx:
        studies.lock(tx, STUDY, now=NOW)
        worklist.refresh(tx, STUDY, NOW)
        assert about is not None
        latest = results.latest(tx, about.series_id)
        shown = results.shown(tx, about.series_id)
        after = worklist.row(tx, STUDY)
    assert after == before
    assert latest is not None
    assert (latest.result.score, latest.bundle) == (0.1, "demo 1")
    assert shown is not None
    assert shown.bundle_digest == DIGEST
    event = logged(database, AuditAction.RESULT_RECORDED)[-1].event
    assert (event.detail["shadow"], event.detail["bundle"]) == (True, "site-heads 2")


PAIRS = [(0.9, 0.9), (0.9, 0.1), (0.9, 0.2), (0.1, 0.9), (0.1, 0.1), (0.1, None), (0.9, None)]


def pair(db: Database, number: int, active: float, shadow: float | None) -> None:
    job = running(db, study=f"2.25.{number}", series_uid=f"2.25.{number}.1")
    finish(db, job, score=active)
    said = ReasonCode.OUT_OF_DISTRIBUTION if shadow is None else result(shadow)
    assert say(db, said, seconds=number)


def test_agreement_is_counted_by_pair_of_bundles(database: Database) -> None:
    assert compared(database) == []
    for number, (active, shadow) in enumerate(PAIRS):
        pair(database, number, active, shadow)
    (found,) = compared(database)
    assert found == ShadowComparison("demo 1", "site-heads 2", 1, 2, 1, 1, 2)
    assert found.n == 5
    (later,) = compared(database, since=len(PAIRS) - 3)
    assert (later.n, later.failed) == (1, 2)
    assert compared(database, since=100) == []


def test_a_comparison_marks_the_bundle_that_is_not_for_care(database: Database) -> None:
    with database.transaction() as tx:
        said = {"provenance": {"demonstration": True}}
        bundles.record(tx, digest=SHADOW, name="site-heads", version="2", manifest=said, now=NOW)
    pair(database, 0, 0.9, 0.9)
    (found,) = compared(database)
    assert (found.active_demonstration, found.shadow_demonstration) == (False, True)


def test_a_result_that_counts_takes_the_place_of_what_the_shadow_said(database: Database) -> None:
    """A bundle that was the shadow, is chosen, and analyses the same revision."""
    about = finish_as_shadowed(database)
    with database.transaction() as tx:
        jobs.add(tx, series.get(tx, about.series_id), priority=1, deadline_at=NOW, now=NOW)
    job = claim(database)
    with database.transaction() as tx:
        results.record(tx, job, result(0.7), bundle_digest=SHADOW, bundle="site-heads 2", now=at(20))
        latest = results.latest(tx, about.series_id)
    assert latest is not None
    assert (latest.result.score, latest.bundle) == (0.7, "site-heads 2")


def finish_as_shadowed(db: Database) -> Unshadowed:
    analysed(db)
    about = waiting(db)
    assert about is not None
    say(db, result(0.2), about)
    return about


def test_whether_a_bundle_has_spoken_of_the_same_instances(database: Database) -> None:
    about = finish_as_shadowed(database)

    def counts(digest: str) -> bool:
        with database.read() as tx:
            return results.counts(tx, about.series_id, digest)

    assert (counts(DIGEST), counts(SHADOW)) == (True, False)
