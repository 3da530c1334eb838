"""The worklist as pages and as JSON: what is shown, in which words, and what can be asked for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from lxml import html

from tests.builders import ct_series, part10, part10_damaged
from tests.many_studies import insert as insert_many
from tests.stores import DIGEST, STUDY, TIMINGS
from tests.unit.test_store_reading_list import put
from tests.web import Browser, Clock
from triage.dicom.header import read_header
from triage.domain.finding import SUBTYPES, ReasonCode, SubtypeFinding, Urgency, WorklistStatus
from triage.domain.reading import Verdict
from triage.domain.reason_texts import REASON_TEXTS
from triage.store import associations, bundles, instances, schema, series, studies
from triage.store.codec import subtypes_json
from triage.web.desk import Desk
from triage.web.patients import ListedPatient

EMERGENT = {"status": WorklistStatus.SUSPECTED, "urgency": Urgency.EMERGENT}


def found(**volumes: float) -> dict[str, Any]:
    """Subtypes with these volumes; the others are absent."""
    return subtypes_json({s: SubtypeFinding(0.9 if s in volumes else 0.01, volumes.get(s, 0.0)) for s in SUBTYPES})


def listed(desk: Desk, minutes: float = 5.0, **columns: Any) -> None:
    """One row of the list that came in some minutes ago."""
    came = desk.clock() - timedelta(minutes=minutes)
    put(desk.db, **{"received_at": came, "updated_at": came, **columns})


def loaded(desk: Desk, *, demonstration: bool) -> None:
    """A bundle that the worker runs."""
    manifest = {"provenance": {"demonstration": demonstration}}
    with desk.db.transaction() as tx:
        bundles.record(tx, digest=DIGEST, name="made-up", version="1", manifest=manifest, now=desk.clock())


def page(browser: Browser, path: str = "/") -> html.HtmlElement:
    """A page as the browser reads it."""
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return html.fromstring(answer.text)


def study_lines(tree: html.HtmlElement) -> list[html.HtmlElement]:
    return tree.xpath("//ol[@class='studies']/li")


def words(element: html.HtmlElement) -> str:
    return " ".join(" ".join(element.itertext()).split())


def test_the_list_needs_somebody_who_is_signed_in(anonymous: Browser, service: Browser) -> None:
    assert anonymous.get("/").headers["location"] == "/login?next=%2F"
    assert anonymous.get("/api/worklist").status_code == 401
    assert anonymous.get("/worklist/rows", headers={"HX-Request": "true"}).headers["HX-Redirect"] == "/login"
    assert service.get("/").status_code == 403
    assert service.get("/worklist/rows").status_code == 403
    assert service.get("/api/worklist").json() == []


def test_a_suspected_study_says_what_was_found_and_stands_first(radiologist: Browser, desk: Desk) -> None:
    listed(desk, 90, study_instance_uid="2.25.1", status=WorklistStatus.NOT_SUSPECTED, score=0.1)
    listed(
        desk,
        study_instance_uid="2.25.2",
        accession_number="A77",
        subtypes=found(SDH=12.25, IPH=30.0),
        total_volume_ml=42.25,
        key_slice={"sop_instance_uid": "1.2.3", "frame_number": 1, "index": 4},
        scanner="GE Revolution",
        slice_thickness_mm=2.5,
        **EMERGENT,
    )
    first, second = study_lines(page(radiologist))
    said = words(first)
    for part in (
        "Suspected",
        "emergent",
        "final",
        "Open next",
        "IPH 30.0 ml SDH 12.2 ml",
        "in all 42.2 ml",
        "5 min 00 s",
    ):
        assert part in said
    assert "Acc. A77" in said
    assert "GE Revolution, 2.5 mm" in said
    assert first.xpath(".//a/@href") == ["/study/2.25.2"]
    assert first.xpath(".//img/@src")[0].startswith("/study/2.25.2/thumbnail.png?v=")
    assert first.xpath(".//time/@data-since") == ["2026-11-21T07:55:00.000Z"]
    assert "Not suspected" in words(second)
    assert second.xpath(".//img") == []


def test_only_the_first_suspected_study_that_nobody_opened_is_the_next(radiologist: Browser, desk: Desk) -> None:
    opened = {"opened_at": desk.clock() - timedelta(minutes=3), "opened_by": "s.brandt", "verdict": Verdict.PARTLY}
    listed(desk, 20, study_instance_uid="2.25.1", **EMERGENT, **opened)
    # An administrator has judged this one, which ends no wait for a radiologist.
    listed(desk, 15, study_instance_uid="2.25.2", verdict=Verdict.DISAGREE, **EMERGENT)
    listed(desk, 10, study_instance_uid="2.25.3", **EMERGENT)
    lines = study_lines(page(radiologist))
    assert [len(line.xpath(".//*[@class='next-mark']")) for line in lines] == [0, 1, 0]
    assert "waited 17 min opened by s.brandt, partly agreed" in words(lines[0])
    assert lines[0].xpath(".//time") == []


@pytest.mark.parametrize("reason", ReasonCode)
def test_what_was_not_analysed_says_why_in_plain_words(radiologist: Browser, desk: Desk, reason: ReasonCode) -> None:
    listed(desk, status=WorklistStatus.NOT_ANALYSED, reason=reason)
    (line,) = study_lines(page(radiologist))
    assert "Not analysed" in words(line)
    assert REASON_TEXTS[reason] in words(line)


def test_a_pending_study_that_waits_too_long_says_so(radiologist: Browser, desk: Desk) -> None:
    listed(desk, 5, study_instance_uid="2.25.1", status=WorklistStatus.PENDING)
    listed(desk, 15, study_instance_uid="2.25.2", status=WorklistStatus.PENDING)
    overdue, pending = study_lines(page(radiologist))
    assert "overdue" in words(overdue)
    assert "Do not wait for it" in words(overdue)
    assert "The analysis has not ended yet." in words(pending)


def test_provisional_and_final_are_told_apart(radiologist: Browser, desk: Desk) -> None:
    listed(desk, 5, study_instance_uid="2.25.1", provisional=True, **EMERGENT)
    listed(desk, 4, study_instance_uid="2.25.2", **EMERGENT)
    first, second = study_lines(page(radiologist))
    assert ("provisional" in words(first), "final" in words(first)) == (True, False)
    assert ("provisional" in words(second), "final" in words(second)) == (False, True)


@pytest.mark.parametrize("demonstration", [True, False])
def test_every_row_says_demonstration_while_the_bundle_is_one(
    radiologist: Browser, service: Browser, desk: Desk, demonstration: bool
) -> None:
    loaded(desk, demonstration=demonstration)
    for number, status in enumerate(WorklistStatus):
        urgency = Urgency.URGENT if status is WorklistStatus.SUSPECTED else Urgency.NONE
        listed(desk, study_instance_uid=f"2.25.{number}", status=status, urgency=urgency)
    lines = study_lines(page(radiologist))
    assert len(lines) == len(WorklistStatus)
    for line in lines:
        assert [words(tag) for tag in line.xpath(".//*[contains(@class, 'tag-demonstration')]")] == (
            ["demonstration"] if demonstration else []
        )
        (link,) = line.xpath(".//a[contains(@class, 'open')]")
        assert ("demonstration only:" in words(link)) is demonstration, "a screen reader hears it with the study"
    assert [row["demonstration"] for row in service.get("/api/worklist").json()] == [demonstration] * len(lines)


def test_nothing_reads_as_negative(radiologist: Browser, desk: Desk, clock: Clock) -> None:
    empty = words(page(radiologist))
    assert "No study has ever come in." in empty
    listed(desk, 400 * 24 * 60, status=WorklistStatus.NOT_SUSPECTED)
    later = words(page(radiologist))
    assert "No study waits here to be read. The last one came in at 2025-10-17 08:00:00 UTC." in later
    insert_many(desk.db, desk.blobs, 300, now=clock.now, days=1)
    paths = ("/?show=day", "/?status=not_suspected", "/?status=pending")
    shown = " ".join(words(page(radiologist, path)) for path in paths)
    for text in (empty, shown, later):
        assert not re.search(
            r"all clear|no haemorrhage|no bleed|\bnormal\b(?! order)|unremarkable", text, re.IGNORECASE
        )
        assert "A study without a flag is not a negative study." in text
        assert not re.search(r"\bnegative\b", text.replace("not a negative study", ""), re.IGNORECASE)


def test_tabs_count_and_narrow(radiologist: Browser, desk: Desk) -> None:
    listed(desk, study_instance_uid="2.25.1", **EMERGENT)
    listed(desk, study_instance_uid="2.25.2", status=WorklistStatus.PENDING)
    listed(desk, study_instance_uid="2.25.3", status=WorklistStatus.PENDING)
    tree = page(radiologist)
    tabs = tree.xpath("//nav[@class='list-tabs']//a")
    assert [words(tab) for tab in tabs] == [
        "To read 3",
        "Suspected 1",
        "Pending 2",
        "Not analysed 0",
        "Not suspected 0",
    ]
    narrowed = page(radiologist, tabs[2].get("href"))
    assert len(study_lines(narrowed)) == 2
    assert [words(tab) for tab in narrowed.xpath("//nav[@class='list-tabs']//a[@aria-current]")] == ["Pending 2"]


def test_a_study_is_found_by_its_number_however_old_it_is(radiologist: Browser, desk: Desk) -> None:
    listed(desk, 60 * 24 * 90, accession_number="OLD-1", status=WorklistStatus.NOT_SUSPECTED)
    assert study_lines(page(radiologist)) == []
    (line,) = study_lines(page(radiologist, "/?q=OLD&show=&urgency=&provisional=&opened=&verdict="))
    assert "OLD-1" in words(line)
    assert len(study_lines(page(radiologist, f"/?q={STUDY[:6]}"))) == 1
    assert "No study fits what is asked for." in words(page(radiologist, "/?q=nothing"))


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("urgency=emergent", 1),
        ("urgency=urgent", 1),
        ("provisional=yes", 1),
        ("provisional=no", 2),
        ("opened=yes", 1),
        ("opened=no", 2),
        ("verdict=disagree", 1),
        ("status=suspected&status=not_analysed", 3),
        ("status=nonsense&urgency=nonsense&provisional=maybe&page=nonsense&show=nonsense", 3),
    ],
)
def test_filters_narrow_and_nonsense_narrows_nothing(radiologist: Browser, desk: Desk, query: str, count: int) -> None:
    opened = {"opened_at": desk.clock(), "opened_by": "rad", "verdict": Verdict.DISAGREE}
    listed(desk, study_instance_uid="2.25.1", provisional=True, **EMERGENT)
    listed(desk, study_instance_uid="2.25.2", status=WorklistStatus.SUSPECTED, urgency=Urgency.URGENT, **opened)
    listed(desk, study_instance_uid="2.25.3", status=WorklistStatus.NOT_ANALYSED, reason=ReasonCode.GAP)
    assert len(study_lines(page(radiologist, f"/?{query}"))) == count


def test_pages_lead_through_the_whole_list_and_back(radiologist: Browser, desk: Desk, clock: Clock) -> None:
    insert_many(desk.db, desk.blobs, 70, now=clock.now, days=1)
    seen: list[str] = []
    path: str | None = "/?show=day"
    pages = []
    while path is not None:
        tree = page(radiologist, path)
        pages.append([link.get("href") for link in tree.xpath("//a[@class='open']")])
        path = next(iter(tree.xpath("//a[@rel='next']/@href")), None)
        last = tree
    seen = [link for links in pages for link in links]
    assert (len(seen), len(set(seen)), len(pages)) == (70, 70, 3)
    back = page(radiologist, last.xpath("//a[@rel='prev']/@href")[0])
    assert [link.get("href") for link in back.xpath("//a[@class='open']")] == pages[1]
    asked = [r["study_instance_uid"] for r in radiologist.get("/api/worklist").json()]
    assert [f"/study/{uid}" for uid in asked] == seen


def test_the_rows_alone_are_what_the_page_shows(radiologist: Browser, desk: Desk) -> None:
    listed(desk, **EMERGENT)
    answer = radiologist.get("/worklist/rows?status=suspected")
    assert "<html" not in answer.text
    assert len(study_lines(html.fromstring(f"<div>{answer.text}</div>"))) == 1
    asks_again = page(radiologist, "/?status=suspected").xpath("//div[@id='rows']/@hx-get")
    assert asks_again == ["/worklist/rows?status=suspected"]


MARKUP = "<img src=x onerror=alert(1)>\"'&"


def receive_named(desk: Desk, name: str) -> None:
    """A suspected study with markup wherever a peer may put text."""
    (ds,) = ct_series(
        1, 16, 16, PatientName=name, PatientID=name[:60], AccessionNumber="<b>A1</b>", StudyInstanceUID=STUDY
    )
    receive(desk, part10(ds))


def receive(desk: Desk, content: bytes) -> None:
    """A suspected study of one instance."""
    head = read_header(content)
    with desk.db.transaction() as tx:
        now = desk.clock()
        studies.lock(tx, STUDY, now=now)
        associations.open(tx, "a1", "l", "S", "ICHTRIAGE", "127.0.0.1", now)
        record = series.receive(tx, head, candidate=True, now=now, timings=TIMINGS).series
        instances.add(
            tx,
            head,
            series=record,
            digest=DIGEST,
            blob_key=desk.blobs.put(content),
            size_bytes=1,
            association_id="a1",
            now=now,
        )
        columns = {"scanner": MARKUP, "opened_by": MARKUP, "opened_at": now}
        _row(tx, head.series_instance_uid, now, **columns)


def _row(tx: Any, series_uid: str, now: datetime, **columns: Any) -> None:
    values = {
        "study_instance_uid": STUDY,
        "series_instance_uid": series_uid,
        "accession_number": MARKUP,
        "provisional": False,
        "subtypes": {},
        "received_at": now,
        "updated_at": now,
        **EMERGENT,
        **columns,
    }
    tx.connection.execute(schema.worklist.insert(), [values])


def test_markup_from_outside_is_shown_as_text(radiologist: Browser, desk: Desk) -> None:
    receive_named(desk, "<script>alert(1)</script>^<b>Bold")
    for path in ("/", "/worklist/rows", f"/?q={MARKUP[:10]}", '/?q="><script>alert(1)</script>'):
        answer = radiologist.get(path)
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert "<b>" not in answer.text.replace("<b>IPH", "")
    (line,) = study_lines(page(radiologist))
    assert "<script>alert(1)</script>, <b>Bold" in words(line)
    assert f"Acc. {MARKUP}" in words(line)
    assert line.xpath(".//script | .//b | .//img") == []


def test_who_the_patient_is_comes_from_the_images_and_goes_with_them(radiologist: Browser, desk: Desk) -> None:
    receive_named(desk, "Avery^Robin")
    assert "Avery, Robin" in words(study_lines(page(radiologist))[0])
    desk.pictures.__init__(1000)  # type: ignore[misc]
    for file in desk.blobs.root.glob("*/*.dcm"):
        file.unlink()
    assert "patient cannot be shown: the images cannot be read" in words(study_lines(page(radiologist))[0])


@pytest.mark.parametrize("how", ["sequence", "deflated"])
def test_a_damaged_header_costs_a_name_and_not_the_page(radiologist: Browser, desk: Desk, how: str) -> None:
    (ds,) = ct_series(1, 16, 16, StudyInstanceUID=STUDY)
    receive(desk, part10_damaged(ds, how))
    assert "patient cannot be shown: the images cannot be read" in words(study_lines(page(radiologist))[0])
    page(radiologist, f"/study/{STUDY}")


def test_the_api_serves_the_contract(service: Browser, desk: Desk) -> None:
    listed(desk, subtypes=found(SDH=12.25), total_volume_ml=12.25, score=0.97, flagged_at=desk.clock(), **EMERGENT)
    (row,) = service.get("/api/worklist").json()
    assert row["status"] == "suspected"
    assert row["subtypes"]["SDH"] == {"probability": 0.9, "volume_ml": 12.25}
    assert (row["received_at"], row["flagged_at"]) == ("2026-11-21T07:55:00Z", "2026-11-21T08:00:00Z")
    assert set(row) == {
        *("study_instance_uid", "series_instance_uid", "accession_number", "status", "provisional", "reason"),
        *("urgency", "score", "subtypes", "total_volume_ml", "key_slice", "received_at", "flagged_at", "bundle"),
        *("demonstration", "objects"),
    }


def test_the_api_goes_on_by_its_link(service: Browser, desk: Desk, clock: Clock) -> None:
    insert_many(desk.db, desk.blobs, 60, now=clock.now, days=1)
    path: str | None = "/api/worklist?limit=25&status=suspected&status=not_suspected"
    seen = []
    while path is not None:
        answer = service.get(path)
        seen += [row["study_instance_uid"] for row in answer.json()]
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("link", ""))
        path = link[1] if link else None
    of_all = service.get("/api/worklist?limit=1000").json()
    assert seen == [r["study_instance_uid"] for r in of_all if r["status"] in ("suspected", "not_suspected")]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        ("limit=1001", 422),
        ("status=bad", 422),
        ("cursor=bad", 422),
        ("received_since=yesterday", 422),
        ("received_since=2026-11-21T00:00:00", 422),
        ("received_since=0001-01-01T00:00:00%2B23:59", 200),
        ("received_since=9999-12-31T23:59:59-23:59", 200),
        ("cursor=n.5.9999999999999999.1", 200),
        ("q=%00&accession_number=%00", 200),
        ("q=%ED%A0%80", 200),
    ],
)
def test_the_api_refuses_what_cannot_be_meant(service: Browser, query: str, status: int) -> None:
    assert service.get(f"/api/worklist?{query}").status_code == status


@pytest.mark.parametrize(
    "query", ["page=n.5.99999999999999999.1", "page=p.0.0.1", "q=%00", "q=%ED%A0%80", "q=" + "x" * 500]
)
def test_no_address_breaks_the_page(radiologist: Browser, desk: Desk, query: str) -> None:
    listed(desk, **EMERGENT)
    assert radiologist.get(f"/?{query}").status_code == 200


def test_the_api_is_described(app: FastAPI) -> None:
    described = app.openapi()["paths"]["/api/worklist"]["get"]
    names = {parameter["name"] for parameter in described["parameters"]}
    assert {"status", "urgency", "limit", "cursor", "q", "accession_number", "received_since"} <= names
    assert "RowJson" in str(described["responses"]["200"])


def test_an_age_is_counted_in_whole_years() -> None:
    born = datetime(1980, 11, 22, tzinfo=UTC).date()
    patient = ListedPatient("A", "1", "male", born)
    assert patient.age(datetime(2026, 11, 21, tzinfo=UTC)) == 45
    assert patient.age(datetime(2026, 11, 22, tzinfo=UTC)) == 46
    assert patient.age(datetime(1980, 1, 1, tzinfo=UTC)) is None
