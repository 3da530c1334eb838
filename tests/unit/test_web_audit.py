"""The audit page: newest first, filtered, verified, exported, and every look at it recorded."""

from __future__ import annotations

import csv
import io
import re
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from lxml import etree, html
from sqlalchemy import text

from tests.audit_trail import SAMPLES, SCHEMA
from tests.stores import NOW, STUDY, append_later, at, logged
from tests.web import Browser, add_token, make_desk, signed_in
from triage.domain.account import Role
from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.services.checkpoint import make_key
from triage.services.verify_audit import Progress, Proof
from triage.store import audit_forward
from triage.store.db import Database
from triage.web.app import make_app
from triage.web.desk import Desk
from triage.web.page import STOP_POLLING


@pytest.fixture
def admin(app: FastAPI) -> Browser:
    return signed_in(app, "ada", Role.ADMINISTRATOR)


def write(db: Database, count: int, start: int = 0, **fields: object) -> None:
    with db.transaction() as tx:
        for number in range(start, start + count):
            values = {"actor": f"actor {number}", "action": AuditAction.JOB_MOVED, **fields}
            tx.audit(AuditEvent(at=at(number), **values))


def shown(answer: object) -> list[int]:
    """Numbers of the rows of a page, in its order."""
    assert answer.status_code == 200, answer.text
    tree = html.fromstring(answer.text)
    return [
        int(cell.text) for cell in tree.xpath("//table[contains(@class, 'audit-rows')]/tbody/tr/td[@class='number']")
    ]


def looks(desk: Desk) -> list[AuditEvent]:
    return [record.event for record in logged(desk.db, AuditAction.AUDIT_READ)]


def test_the_newest_rows_come_first_and_the_others_page_by_page(desk: Desk, admin: Browser) -> None:
    write(desk.db, 120)
    seen: list[int] = []
    address = "/audit?action=job_moved"
    for _ in range(3):
        answer = admin.get(address)
        seen += shown(answer)
        (older,) = html.fromstring(answer.text).xpath("//a[@rel='next']/@href") or [""]
        address = older
    assert address == ""
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 120


def test_every_look_is_recorded_by_the_persons_name_and_shows_itself_next_time(desk: Desk, admin: Browser) -> None:
    admin.get("/audit")
    answer = admin.get("/audit?actor=ada&outcome=success")
    first, second = looks(desk)
    assert (first.actor, first.detail["how"], first.detail["address"]) == ("ada", "page", "192.0.2.7")
    assert second.detail["filter"] == "outcome success, actor ada"
    assert len(shown(answer)) == 2  # the login, and the first look


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("action=study_opened", [2]),
        ("outcome=serious_failure", [3]),
        ("actor=bob", [2]),
        (f"study={STUDY}", [2]),
        ("since=2026-11-20T08:00:02&until=2026-11-20T08:00:03", [2]),
        ("since=2026-11-20T09:00:02%2B01:00&until=2026-11-20T08:00:03", [2]),
        ("since=2026-11-22", []),
        ("actor=actor", []),
        ("action=&outcome=&actor=&study=&since=&until=2026-11-20T08:00:30", [3, 2, 1]),
    ],
)
def test_rows_are_filtered(desk: Desk, query: str, rows: list[int]) -> None:
    write(desk.db, 1)
    with desk.db.transaction() as tx:
        tx.audit(AuditEvent(at(2), "bob", AuditAction.STUDY_OPENED, study_instance_uid=STUDY))
        tx.audit(AuditEvent(at(4), "carl", AuditAction.LOGIN_FAILED, Outcome.SERIOUS_FAILURE))
    admin = signed_in(make_app(desk), "ada", Role.ADMINISTRATOR)
    assert shown(admin.get(f"/audit?{query}")) == rows
    lines = list(csv.DictReader(io.StringIO(admin.get(f"/audit.csv?{query}").text)))
    assert [int(line["sequence"]) for line in lines] == rows[::-1]


@pytest.mark.parametrize(
    "query",
    ["action=nonsense", "since=teatime", "until=9999-99-99", "before=0", "before=x", f"actor={'a' * 200}",
     "since=0001-01-01T00:00:00%2B14:00"],
)  # fmt: skip
def test_what_cannot_be_looked_for_is_said(admin: Browser, query: str) -> None:
    for path in ("/audit", "/audit.csv", "/audit.xml"):
        if query.startswith("before") and path != "/audit":
            continue
        assert admin.get(f"{path}?{query}").status_code == 422


def test_characters_that_no_row_holds_find_nothing(admin: Browser) -> None:
    assert admin.get("/audit?actor=%00%01x&study=%ff%fe").status_code == 200


@pytest.mark.parametrize("path", ["/audit", "/audit.csv", "/audit.xml", "/audit/verification/now"])
def test_only_administrators_look(app: FastAPI, desk: Desk, path: str) -> None:
    reader = signed_in(app, "rad", Role.RADIOLOGIST)
    service = {"Authorization": f"Bearer {add_token(desk)}"}
    assert reader.get(path).status_code == 403
    assert reader.post("/audit/verify").status_code == 403
    assert Browser(app).get(path, headers=service).status_code == 403
    assert Browser(app).get(path).status_code == 303
    assert looks(desk) == []
    assert {r.event.actor for r in logged(desk.db, AuditAction.ACCESS_REFUSED)} == {"rad", "service:ris"}


def test_verifying_needs_our_own_form(admin: Browser, desk: Desk) -> None:
    assert admin.post("/audit/verify", csrf=False).status_code == 403
    assert looks(desk) == []


def wait_for_verification(desk: Desk) -> None:
    deadline = time.monotonic() + 30
    while desk.verifier.progress.running:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_log_is_verified_from_the_page(desk: Desk, admin: Browser) -> None:
    write(desk.db, 10)
    assert "Nobody has verified this log yet" in admin.get("/audit").text
    answer = admin.post("/audit/verify")
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit#verification")
    wait_for_verification(desk)
    told = admin.get("/audit").text
    assert "The audit chain is whole: 12 rows" in told
    assert "Verified by ada" in told
    assert "No key for checkpoints" in told


def test_a_page_that_watched_a_verification_stops_asking_and_offers_another(desk: Desk, admin: Browser) -> None:
    desk.verifier.progress = Progress(running=True, rows=10_000, of=20_000)
    assert 'hx-get="/audit/verification/now"' in admin.get("/audit").text
    answer = admin.get("/audit/verification/now")
    assert answer.status_code == 200
    assert "row 10000 of 20000" in answer.text
    assert html.fromstring(answer.text).xpath("//form[@action='/audit/verify']/button/@disabled")
    desk.verifier.progress = Progress()
    assert "hx-get" not in html.fromstring(admin.get("/audit").text).xpath("//*[@id='audit-state']")[0].attrib
    answer = admin.get("/audit/verification/now")
    assert answer.status_code == STOP_POLLING
    (form,) = html.fromstring(answer.text).xpath("//form[@action='/audit/verify']")
    assert form.xpath("./button[not(@disabled)]")
    token = form.xpath("./input[@name='csrf_token']/@value")
    assert token == html.fromstring(admin.get("/audit").text).xpath("//form[@action='/audit/verify']/input/@value")


def test_a_broken_log_is_said_and_its_other_rows_are_still_shown(desk: Desk, admin: Browser) -> None:
    write(desk.db, 5)
    with desk.db.transaction() as tx:
        tx.connection.execute(text("UPDATE audit SET action = '<script>' WHERE sequence = 4"))
    admin.post("/audit/verify")
    wait_for_verification(desk)
    answer = admin.get("/audit")
    assert "Broken." in answer.text
    assert "broken at row 4" in answer.text
    assert "cannot be read" in answer.text
    assert 4 in shown(answer)
    lines = list(csv.reader(io.StringIO(admin.get("/audit.csv").text)))
    assert lines[4][3].startswith("this row cannot be read")
    assert "<!-- row 4" in admin.get("/audit.xml").text


def test_rows_of_a_later_release_are_shown_and_exported_after_a_roll_back(desk: Desk, admin: Browser) -> None:
    rows = append_later(desk.db, "study_deleted"), append_later(desk.db, "login", outcome="major_failure")
    told = admin.get("/audit").text
    assert "study deleted" in told
    assert told.count("a later release wrote it") == 1
    lines = {line["sequence"]: line for line in csv.DictReader(io.StringIO(admin.get("/audit.csv").text))}
    assert lines[str(rows[0])]["action"] == "study_deleted"
    assert "a later release wrote it" in lines[str(rows[1])]["action"]
    root = etree.fromstring(admin.get("/audit.xml").content)
    (comment,) = [node for node in root if not isinstance(node.tag, str)]
    assert f"row {rows[1]}:" in comment.text
    admin.post("/audit/verify")
    wait_for_verification(desk)
    assert "The audit chain is whole" in admin.get("/audit").text


def test_a_verification_that_came_to_no_end_is_not_read_as_the_one_before(desk: Desk, admin: Browser) -> None:
    admin.post("/audit/verify")
    wait_for_verification(desk)
    assert "came to no end" not in admin.get("/audit").text
    desk.verifier.progress = Progress(problem="The database did not answer.")
    told = admin.get("/audit").text
    assert "came to no end:</strong> The database did not answer." in told
    assert "whole" in told


def test_a_signed_log_says_so(database: Database, tmp_path: Path) -> None:
    plain = make_desk(database, tmp_path)
    signer = make_key(tmp_path / "audit.key")
    desk = Desk(plain.db, plain.blobs, plain.clock, passwords=plain.passwords, proof=Proof(signer=signer))
    told = signed_in(make_app(desk), "ada", Role.ADMINISTRATOR).get("/audit").text
    assert "No key for checkpoints" not in told


def test_the_receiver_and_its_trouble_are_shown(desk: Desk, admin: Browser) -> None:
    assert "None was told anything yet" in admin.get("/audit").text
    with desk.db.transaction() as tx:
        audit_forward.claim(tx, "tls:r:6514", owner="a", now=NOW, lease_seconds=60)
        audit_forward.failed(tx, "tls:r:6514", owner="a", error="Cannot <connect>.", now=NOW)
    told = admin.get("/audit").text
    assert "tls:r:6514" in told
    assert "Cannot &lt;connect&gt;." in told
    assert re.search(r"waiting</dt><dd>2 rows", told)


def test_text_from_elsewhere_stays_text(desk: Desk, admin: Browser) -> None:
    hostile = "<script>alert(1)</script>"
    write(desk.db, 1, actor=hostile, detail={hostile: hostile}, study_instance_uid='"><b>')
    told = admin.get("/audit").text
    assert hostile not in told
    assert "&lt;script&gt;alert(1)" in told
    assert '"><b>' not in told


def test_the_export_is_safe_to_open_in_a_spreadsheet(desk: Desk, admin: Browser) -> None:
    for actor in ("=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", 'a"b,c\nd'):
        write(desk.db, 1, actor=actor)
    answer = admin.get("/audit.csv?action=job_moved")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'attachment; filename="ich-triage-audit-20261121T080000.csv"' in answer.headers["content-disposition"]
    actors = [line["actor"] for line in csv.DictReader(io.StringIO(answer.text))]
    assert actors == ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@x", "'\t=1", 'a"b,c\nd']


def test_the_export_as_xml_holds_the_messages_of_the_standard(desk: Desk, admin: Browser) -> None:
    with desk.db.transaction() as tx:
        for action, fields in SAMPLES.items():
            tx.audit(AuditEvent(at=NOW, action=action, **{"actor": "ada", **fields}))
    answer = admin.get("/audit.xml")
    root = etree.fromstring(answer.content)
    assert root.tag == "AuditMessages"
    for message in root:
        SCHEMA.assertValid(etree.fromstring(etree.tostring(message)))
    assert len(root) > 20


def test_an_export_of_many_rows_is_complete_and_recorded_before_it_begins(desk: Desk, admin: Browser) -> None:
    write(desk.db, 2500)
    lines = list(csv.DictReader(io.StringIO(admin.get("/audit.csv").text)))
    assert [int(line["sequence"]) for line in lines] == list(range(1, 2503))
    assert lines[-1]["action"] == "audit_read"
    assert [event.detail["how"] for event in looks(desk)] == ["csv"]


def test_an_empty_export_has_its_frame(desk: Desk, admin: Browser) -> None:
    assert etree.fromstring(admin.get("/audit.xml?actor=nobody").content).tag == "AuditMessages"
    assert admin.get("/audit.csv?actor=nobody").text.count("\n") == 1
