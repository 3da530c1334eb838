"""Banner, operations, statistics and metrics as a browser or a scraper gets them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from lxml import html
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select, update

from tests import many_studies
from tests.stores import result
from tests.web import Browser, Clock
from triage.domain.audit import AuditAction
from triage.domain.downtime import Heartbeat
from triage.domain.finding import WorklistStatus
from triage.domain.reading import Verdict
from triage.entrypoints.app import shipped_bundle
from triage.store import audit, bundle_slots, bundles, heartbeats, links, shadow_results
from triage.store.bundle_slots import ChosenBundle, Slot
from triage.store.db import Database
from triage.store.figures import ExportedStudy
from triage.store.folder_area import FolderArea
from triage.store.schema import worklist
from triage.web.app import make_app
from triage.web.desk import Desk
from triage.web.statistics import cell

PAGES = ("/operations", "/statistics", "/statistics?days=7", "/statistics?days=90", "/statistics.csv")


def beat(desk: Desk, role: str, *, stopped: bool = False, **detail: object) -> None:
    now = desk.clock()
    started = now - timedelta(hours=1)
    with desk.db.transaction() as tx:
        heartbeats.beat(tx, Heartbeat(f"host/1/{role}", role, started, now, stopped, detail))


def all_beat(desk: Desk) -> None:
    beat(desk, "listen", min_free_bytes=0)
    beat(desk, "work", digest=many_studies.DIGEST, bundle="made-up 1.0")
    beat(desk, "clock")
    beat(desk, "send", destinations=["pacs"])


@pytest.fixture
def site(desk: Desk) -> Desk:
    """A site that runs, with two hundred studies of twenty days."""
    many_studies.insert(desk.db, desk.blobs, 200, now=desk.clock(), days=20.0)
    with desk.db.transaction() as tx:
        manifest = {"provenance": {"demonstration": True}}
        bundles.record(
            tx, digest=many_studies.DIGEST, name="made-up", version="1.0", manifest=manifest, now=desk.clock()
        )
    all_beat(desk)
    return desk


def words(page: str) -> str:
    """Everything that can be read, words parted by one space."""
    return " ".join(" ".join(html.fromstring(page).itertext()).split())


def banner(browser: Browser) -> str:
    answer = browser.get("/banner")
    assert answer.status_code == 200
    return words(f"<div>{answer.text}</div>").replace(" :", ":")


def test_no_banner_while_everything_runs(site: Desk, radiologist: Browser) -> None:
    assert banner(radiologist) == ""


def test_a_worker_that_is_silent_is_on_the_banner_and_gone_from_it_when_it_is_back(
    site: Desk, radiologist: Browser, clock: Clock
) -> None:
    clock.forward(7)
    for role in ("listen", "clock", "send"):
        beat(site, role)
    answer = radiologist.get("/banner").text
    assert '<time datetime="2026-11-21T08:00:00Z" data-local>2026-11-21 08:00 UTC</time>' in answer
    said = banner(radiologist)
    assert "AI off since 2026-11-21 08:00 UTC: the worker does not run." in said
    assert "New studies are NOT being analysed: read in the usual order." in said
    beat(site, "work")
    assert banner(radiologist) == ""


def test_a_destination_that_does_not_answer_is_on_the_banner_while_a_sender_has_it(
    site: Desk, radiologist: Browser
) -> None:
    with site.db.transaction() as tx:
        links.down(tx, "pacs", "Nobody <b>listens</b> there.", site.clock())
        links.down(tx, "taken out of the settings", "Nobody listens there.", site.clock())
    assert "<b>" not in radiologist.get("/banner").text
    said = banner(radiologist)
    assert "No answer from pacs since" in said
    assert "taken out" not in said


def test_the_disk_below_its_floor_is_on_the_banner(site: Desk, radiologist: Browser) -> None:
    beat(site, "listen", min_free_bytes=10**18)
    assert "new images are refused" in banner(radiologist)


def test_a_database_that_does_not_answer_is_a_banner_and_no_failure(
    database_url: str, app: FastAPI, desk: Desk, radiologist: Browser
) -> None:
    lost = replace(desk, db=Database("postgresql://nobody@127.0.0.1:1/nothing"))
    app.state.desk = lost
    assert "AI state unknown: the database does not answer." in banner(radiologist)


def test_who_is_not_signed_in_is_told_nothing(site: Desk, anonymous: Browser, service: Browser) -> None:
    answer = anonymous.get("/banner", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/login")
    assert service.get("/banner").status_code == 403


@pytest.mark.parametrize("path", PAGES)
def test_readers_get_the_pages_and_nobody_else(
    site: Desk, radiologist: Browser, administrator: Browser, service: Browser, anonymous: Browser, path: str
) -> None:
    assert radiologist.get(path).status_code == 200
    assert administrator.get(path).status_code == 200
    assert service.get(path).status_code == 403
    assert anonymous.get(path).status_code == 303
    assert anonymous.get(path).headers["location"].startswith("/login?next=%2F")


def test_a_window_that_is_not_offered_is_refused(site: Desk, radiologist: Browser) -> None:
    for days in ("0", "31", "-7", "7.5", "all"):
        assert radiologist.get(f"/statistics?days={days}").status_code == 422


@pytest.mark.parametrize("path", ["/operations", "/statistics"])
def test_an_empty_installation_has_pages(desk: Desk, radiologist: Browser, path: str) -> None:
    answer = radiologist.get(path)
    assert answer.status_code == 200
    assert "style=" not in answer.text


def test_operations_shows_what_runs_and_what_waits(site: Desk, radiologist: Browser, clock: Clock) -> None:
    beat(site, "clock", stopped=True)
    clock.forward(65)
    for role in ("listen", "send"):
        beat(site, role)
    text = words(radiologist.get("/operations").text)
    assert "worker gone 1 min 05 s ago host/1/work made-up 1.0" in text
    assert "clock stopped 1 min 05 s ago" in text
    assert "listener runs 0 s ago" in text
    assert "made-up 1.0" in text
    assert "DEMONSTRATION" in text
    assert "shadow none" in text
    assert "SOMATOM" in text
    assert "pacs delivered" in text
    assert "all analysed 7 days" in text


def test_the_shadow_and_what_it_said_are_shown(site: Desk, radiologist: Browser) -> None:
    shadow = ChosenBundle(Slot.SHADOW, "cd" * 32, "bundles/cd", site.clock() - timedelta(hours=1), "boss")
    with site.db.transaction() as tx:
        bundles.record(tx, digest=shadow.digest, name="site-heads", version="2", manifest={}, now=site.clock())
        bundle_slots.choose(tx, shadow, {})
    text = words(radiologist.get("/operations").text)
    assert "shadow site-heads 2" in text
    assert "chosen by boss" in text
    assert "The shadow has said nothing yet." in text


def test_what_the_shadow_said_names_the_bundle_that_is_for_demonstration(site: Desk, radiologist: Browser) -> None:
    shadow = ChosenBundle(Slot.SHADOW, "cd" * 32, "bundles/cd", site.clock() - timedelta(hours=1), "boss")
    with site.db.transaction() as tx:
        bundles.record(tx, digest=shadow.digest, name="site-heads", version="2", manifest={}, now=site.clock())
        bundle_slots.choose(tx, shadow, {})
        about = shadow_results.next_unshadowed(tx, shadow.digest, site.clock() - timedelta(days=365))
        assert about is not None
        shadow_results.record(
            tx, about, result(0.1), bundle_digest=shadow.digest, bundle="site-heads 2", now=site.clock()
        )
    text = words(radiologist.get("/operations").text)
    assert "made-up 1.0 (demonstration) site-heads 2 1 " in text
    assert "site-heads 2 (demonstration)" not in text


def test_a_role_that_never_ran_is_named(desk: Desk, radiologist: Browser) -> None:
    text = words(radiologist.get("/operations").text)
    assert text.count("never ran Without it nothing is analysed.") == 3
    assert "nothing is sent" not in text


def test_a_sender_that_never_ran_is_named_where_there_is_something_to_send(
    desk: Desk, radiologist: Browser, tmp_path: Path, clock: Clock
) -> None:
    many_studies.insert(desk.db, FolderArea(tmp_path / "more"), 20, now=clock.now, days=1.0)
    assert "sender never ran Without it nothing is sent." in words(radiologist.get("/operations").text)


def test_a_verdict_changes_the_statistics(site: Desk, radiologist: Browser, clock: Clock) -> None:
    before = radiologist.get("/statistics").text
    with site.db.transaction() as tx:
        flagged = worklist.c.status == WorklistStatus.SUSPECTED
        found = tx.connection.execute(
            update(worklist).where(flagged).values(verdict=Verdict.DISAGREE, updated_at=clock.now)
        )
        count = found.rowcount
    site.ledger.look_now()
    after = radiologist.get("/statistics").text
    assert after != before
    text = words(after)
    assert f"{count} in all" in text
    assert f"Readers judged {count} of {count} flagged studies" in text
    assert "not a random sample" in text
    assert "0.0 % to" in text


def test_the_statistics_say_what_they_are_compared_with(site: Desk, radiologist: Browser) -> None:
    text = radiologist.get("/statistics").text
    assert "This bundle carries no reference." in text
    assert "fewer than 500 studies" in text
    for word in ("negative predictive", "specificity is", "normal", "style="):
        assert word not in text


def test_made_heads_are_shown_beside_the_scores_and_called_no_drift(
    desk: Desk, radiologist: Browser, clock: Clock
) -> None:
    many_studies.insert(desk.db, desk.blobs, 200, now=desk.clock(), days=20.0)
    manifest = json.loads((shipped_bundle() / "bundle.json").read_bytes())
    with desk.db.transaction() as tx:
        bundles.record(
            tx, digest=many_studies.DIGEST, name="made-up", version="1.0", manifest=manifest, now=desk.clock()
        )
    all_beat(desk)
    text = words(radiologist.get("/statistics").text)
    assert "The reference of this bundle is made of SYNTHETIC heads" in text
    assert manifest["reference"]["data"] in text
    assert "Patients are expected to differ from made heads" in text
    assert f"against {manifest['reference']['n']} made heads)" in text
    shown = text[text.index("Drift of the scores") : text.index("Scanners and slice thickness")]
    assert "drifted" not in shown
    assert banner(radiologist) == ""


def test_every_plot_has_a_name_a_description_and_a_table(site: Desk, radiologist: Browser) -> None:
    page = html.fromstring(radiologist.get("/statistics").text)
    plots = page.xpath("//*[local-name()='svg']")
    assert len(plots) == 2
    for plot in plots:
        title, text = plot.get("aria-labelledby").split()
        assert page.get_element_by_id(title).text_content()
        assert page.get_element_by_id(text).text_content()
        assert plot.getparent().xpath(".//details//table")


def test_the_export_has_a_line_for_each_study_and_is_audited(site: Desk, radiologist: Browser) -> None:
    answer = radiologist.get("/statistics.csv?days=7")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    lines = list(csv.reader(io.StringIO(answer.text)))
    assert tuple(lines[0]) == ExportedStudy._fields
    assert {line[lines[0].index("demonstration")] for line in lines[1:]} == {"True"}
    with site.db.read() as tx:
        first = site.clock().replace(hour=0) - timedelta(days=6)
        expected = tx.connection.execute(
            select(worklist.c.study_instance_uid)
            .where(worklist.c.received_at >= first)
            .order_by(worklist.c.received_at)
        ).scalars()
        assert [line[0] for line in lines[1:]] == list(expected)
        (record,) = [one.event for one in audit.records(tx) if one.event.action is AuditAction.EXPORTED]
    assert record.actor == "rad"
    assert record.detail == {"what": "statistics.csv", "days": 7, "rows": len(lines) - 1}
    assert len(lines) > 10


def test_the_export_goes_on_beyond_its_first_piece(
    desk: Desk, radiologist: Browser, tmp_path: Path, clock: Clock
) -> None:
    many_studies.insert(desk.db, FolderArea(tmp_path / "more"), 2100, now=clock.now, days=5.0)
    lines = list(csv.reader(io.StringIO(radiologist.get("/statistics.csv").text)))
    uids = [line[0] for line in lines[1:]]
    assert len(uids) == len(set(uids)) == 2100


def test_a_scanner_s_name_begins_no_formula(site: Desk, radiologist: Browser, clock: Clock) -> None:
    with site.db.transaction() as tx:
        tx.connection.execute(update(worklist).values(scanner='=HYPERLINK("http://192.0.2.1")'))
    lines = list(csv.DictReader(io.StringIO(radiologist.get("/statistics.csv").text)))
    assert {line["scanner"] for line in lines} == {'\'=HYPERLINK("http://192.0.2.1")'}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_text_that_a_spreadsheet_would_run_is_marked(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(("value", "written"), [(None, ""), (-0.5, "-0.5"), (True, "True"), ("a-b", "a-b")])
def test_other_values_stay_as_they_are(value: object, written: str) -> None:
    assert cell(value) == written


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_given_to_services_and_readers_only(
    site: Desk, service: Browser, radiologist: Browser, anonymous: Browser
) -> None:
    for caller in (service, radiologist):
        answer = caller.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert samples(answer.text)
    assert anonymous.get("/metrics", headers={"Accept": "text/plain"}).status_code == 401


def test_metrics_say_what_the_operations_page_says(site: Desk, service: Browser, clock: Clock) -> None:
    with site.db.transaction() as tx:
        links.down(tx, "pacs", "Nobody listens there.", site.clock())
    clock.forward(10)
    beat(site, "send", destinations=["pacs"])
    found = samples(service.get("/metrics").text)
    assert found["ich_triage_role_up", ("work",)] == 0
    assert found["ich_triage_role_up", ("send",)] == 1
    assert found["ich_triage_heartbeat_age_seconds", ("work",)] == 10
    assert found["ich_triage_alarm", ("analysis",)] == 1
    assert found["ich_triage_alarm", ("link",)] == 1
    assert found["ich_triage_alarm", ("database",)] == 0
    assert found["ich_triage_destination_up", ("pacs",)] == 0
    assert found["ich_triage_disk_free_bytes", ()] > 0
    assert found["ich_triage_deliveries", ("pacs", "delivered")] > 0
    assert found["ich_triage_jobs", ("succeeded",)] > 0
    assert found["ich_triage_flag_seconds", ("0.5", "7days", "analysed")] > 0
    assert any(name == "ich_triage_build_info" for name, _ in found)
    assert not any(name.startswith(("python_", "process_")) for name, _ in found)


def test_a_label_cannot_break_out_of_its_line(site: Desk, service: Browser) -> None:
    name = 'pacs"} 1\nich_triage_evil{x="'
    with site.db.transaction() as tx:
        links.down(tx, name, "x", site.clock())
    beat(site, "send", destinations=[name])
    found = samples(service.get("/metrics").text)
    assert ("ich_triage_destination_up", (name,)) in found
    assert not any(family.startswith("ich_triage_evil") for family, _ in found)


def test_two_apps_keep_their_figures_apart(desk: Desk, tmp_path: Path) -> None:
    other = replace(desk, options=desk.options)
    assert make_app(desk).state.desk.ledger is not make_app(other).state.desk.ledger
