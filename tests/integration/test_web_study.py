"""The page of a study: what it says in each state, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pytest
from lxml import html

from tests.builders import localizer, rgb_screen, structured_report
from tests.integration.site import Site, head
from tests.studies import events, installation, listed, not_analysed, not_suspected, pending, suspected, taken_in
from tests.web import Browser, signed_in, words
from triage.dicom.codes import SUBTYPE_CODES
from triage.domain.account import Role
from triage.domain.audit import AuditAction
from triage.domain.finding import Subtype
from triage.services.retain import remove_old_files
from triage.store import deliveries
from triage.web.app import make_app
from triage.web.desk import Desk
from triage.web.page import STOP_POLLING

SCRIPT = "<script>alert('x')</script>"


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with installation(database_url, tmp_path / "blobs") as made:
        yield made


def test_a_suspected_study(site: Site, radiologist: Browser) -> None:
    uid = suspected(site, PatientBirthDate="19500102", PatientSex="F")
    page = radiologist.get(f"/study/{uid}")
    said = words(page)
    for part in (
        "Haemorrhage suspected emergent final",
        "Patient SYNTHETIC, HEAD",
        "ID SYNTHETIC",
        "Born 1950-01-02",
        "Sex female",
        "Accession SYN0001",
        "A suspicion to look at, not a diagnosis.",
        "Score 0.950 suspected from 0.500, emergent from 0.900",
        "Slice 10 of 18 from below key slice probability 0.95 outlined: IPH intraparenchymal",
        "IPH intraparenchymal 0.95 10.2 9-10",
        "Highest: slice 9 (0.95), slice 10 (0.95)",
        "Chosen: 5.0 mm, kernel H30s, 18 slices, 90 mm.",
        "SEG archive waiting",
        "Series complete",
        "Flagged: emergent, score 0.95",
        "Opened for the first time by a radiologist by rad",
        "Disagree: I saw none (false flag)",
        "do not name the patient",
        "Notification and prioritisation only",
    ):
        assert part in said, part
    assert f"/study/{uid}/slice/9.png?window=brain&amp;outline=1&amp;v=" in page.text


def test_blood_of_unspecified_type_is_named_as_such_and_no_subtype_is(site: Site, radiologist: Browser) -> None:
    uid = taken_in(site, head(18), kind=Subtype.ICH).study_instance_uid
    page = radiologist.get(f"/study/{uid}")
    said = words(page)
    assert "outlined: ICH of unspecified type" in said
    assert "ICH of unspecified type 0.95 10.2 9-10" in said
    assert "intraparenchymal" not in said
    picture = radiologist.get(f"/study/{uid}/slice/9.png?window=brain&outline=1")
    assert picture.status_code == 200
    drawn = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (drawn == SUBTYPE_CODES[Subtype.ICH].colour[::-1]).all(axis=2).any()
    assert "ICH" in words(radiologist.get("/"))


def test_a_study_that_is_not_suspected_is_never_worded_as_negative(site: Site, radiologist: Browser) -> None:
    uid = not_suspected(site)
    said = words(radiologist.get(f"/study/{uid}"))
    assert "Not suspected final" in said
    assert "That does not exclude a haemorrhage: read it in the normal order." in said
    assert "Disagree: I saw a haemorrhage (missed)" in said
    assert "Score 0.100 suspected from 0.500" in said
    assert "IPH intraparenchymal 0.01 - -" in said
    own_words = said.replace("A study without a flag is not a negative study.", "")
    assert not re.search(r"negative|no haemorrhage(?! either)|unremarkable|all clear|\bno bleed", own_words, re.I)


def test_every_table_that_may_be_too_wide_can_be_reached_by_the_keyboard(site: Site, radiologist: Browser) -> None:
    page = html.fromstring(radiologist.get(f"/study/{suspected(site)}").text)
    tables = page.xpath("//*[@class='scroll']")
    assert {(table.get("tabindex"), table.get("role")) for table in tables} == {("0", "region")}
    assert len({table.get("aria-label") for table in tables} - {None}) == len(tables) >= 3


def test_what_was_not_analysed_says_why_and_can_be_looked_at_but_not_judged(site: Site, radiologist: Browser) -> None:
    uid = not_analysed(site)
    said = words(radiologist.get(f"/study/{uid}"))
    assert "Not analysed" in said
    assert "Slices are missing in the middle of the series: read it in the normal order." in said
    assert "There is a gap of 20.0 mm after slice 8 of 15" in said
    assert "This says nothing about the presence of haemorrhage." in said
    assert "There is no result." in said
    assert "Slice 8 of 15" in said
    assert "Only what was analysed can be judged." in said
    refused = radiologist.post(f"/study/{uid}/verdict", data={"verdict": "agree"})
    assert refused.status_code == 409
    assert "was not analysed, so there is nothing to judge" in words_of_refusal(refused)
    assert events(site, AuditAction.STUDY_JUDGED) == []


def words_of_refusal(answer: object) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", answer.text))


def test_a_pending_study_waits_and_says_when_there_is_something_new(site: Site, radiologist: Browser) -> None:
    slices = head(18)
    site.send(slices[:9], association="first", released=False)
    uid = str(slices[0].StudyInstanceUID)
    page = radiologist.get(f"/study/{uid}")
    assert "The analysis of this study has not ended yet." in words(page)
    ask = unescape(re.search(r'hx-get="([^"]+/now\?[^"]+)"', page.text).group(1))
    assert words(radiologist.get(ask)) == ""
    taken_in(site, slices[9:])
    told = radiologist.get(ask)
    assert told.status_code == STOP_POLLING
    assert "There is something new on this study." in told.text
    assert radiologist.post(f"/study/{uid}/verdict", data={"verdict": "agree"}).status_code == 303


def test_a_final_page_says_so_when_late_images_bring_another_result(site: Site, radiologist: Browser) -> None:
    slices = head(20)
    uid = taken_in(site, slices[:18], score=0.1).study_instance_uid
    page = radiologist.get(f"/study/{uid}")
    ask = unescape(re.search(r'hx-get="([^"]+/now\?[^"]+)"', page.text).group(1))
    seen = unescape(re.search(r'name="seen" value="([^"]+)"', page.text).group(1))
    assert radiologist.get(ask).status_code == 200
    taken_in(site, slices[18:])
    assert radiologist.get(ask).status_code == STOP_POLLING
    refused = radiologist.post(f"/study/{uid}/verdict", data={"verdict": "disagree", "seen": seen})
    assert refused.status_code == 409
    assert "Your judgement was not kept" in words_of_refusal(refused)
    api = f"/api/studies/{uid}/verdict"
    assert radiologist.post(api, json={"verdict": "disagree", "status": "not_suspected"}).status_code == 409
    assert listed(site, uid).verdict is None
    assert radiologist.post(api, json={"verdict": "agree", "status": "suspected"}).status_code == 200


def test_text_from_scanners_is_shown_as_text(site: Site, radiologist: Browser) -> None:
    uid = suspected(
        site, PatientName=SCRIPT, PatientID=SCRIPT[:60], SeriesDescription=SCRIPT, StudyDescription='"><img src=x>',
        AccessionNumber="<b>1</b>", ManufacturerModelName="<i>CT</i>",
    )  # fmt: skip
    page = radiologist.get(f"/study/{uid}")
    assert "alert('x')" in words(page)
    scripts = re.findall(r"<script\b[^>]*>", page.text)
    assert all(re.fullmatch(r'<script src="/static/[a-z.]+" defer>', script) for script in scripts)
    for raw in ("<script>", "<b>1", "<i>CT", "<img src=x"):
        assert raw not in page.text


@pytest.mark.parametrize("make", [suspected, not_suspected, not_analysed, pending])
def test_nothing_stands_inline_that_the_policy_forbids(site: Site, radiologist: Browser, make: object) -> None:
    page = radiologist.get(f"/study/{make(site)}")
    assert re.search(r"\sstyle=|\son[a-z]+=|javascript:|<style", page.text) is None
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"


def test_what_another_site_sends_is_refused(site: Site, radiologist: Browser) -> None:
    uid = suspected(site)
    for path, form in (("verdict", {"verdict": "agree"}), ("retry", {})):
        assert radiologist.post(f"/study/{uid}/{path}", data=form, csrf=False).status_code == 403
    forged = radiologist.post(f"/study/{uid}/verdict", data={"verdict": "agree", "csrf_token": "0" * 64}, csrf=False)
    assert forged.status_code == 403
    assert listed(site, uid).verdict is None


def test_what_failed_is_tried_again(site: Site, radiologist: Browser) -> None:
    uid = suspected(site)
    nothing = radiologist.post(f"/study/{uid}/retry")
    assert nothing.status_code == 409
    with site.db.transaction() as tx:
        claimed = deliveries.claim(tx, destination="archive", owner="s", now=site.now, lease_seconds=9)
        for one in claimed.objects:
            deliveries.refused(tx, claimed, one.delivery_id, error="0xA900: no.", status=0xA900, now=site.now)
    said = words(radiologist.get(f"/study/{uid}"))
    assert "SR archive failed 1 0xA900: no." in said
    assert "Try again what failed" in said
    again = radiologist.post(f"/study/{uid}/retry")
    assert (again.status_code, again.headers["location"]) == (303, f"/study/{uid}#deliveries")
    assert "Try again what failed" not in words(radiologist.get(f"/study/{uid}"))
    assert events(site, AuditAction.DELIVERY_MOVED)[-1].actor == "rad"


def test_why_one_series_and_not_another(site: Site, radiologist: Browser) -> None:
    series = head(18)
    uid = str(series[0].StudyInstanceUID)
    site.send([localizer(uid, SeriesNumber=1)], association="scout")
    thin = head(18, thickness_mm=1.0, StudyInstanceUID=uid, SeriesDescription="THIN", SeriesNumber=3)
    site.send(series, association="thick")
    taken_in(site, thin)
    said = words(radiologist.get(f"/study/{uid}"))
    assert "1 CT Scout 1 not analysed (localizer) This is a localizer (scout view), not slices." in said
    assert "2 CT HEAD SYNTHETIC shown here 18 analysed Chosen: 5.0 mm" in said
    assert "3 CT THIN 18 not chosen Another series of the study is better for analysis" in said


@pytest.mark.parametrize(("query", "shown"), [
    ("slice=3&window=bone&outline=0", "/slice/3.png?window=bone&amp;outline=0&amp;"),
    ("slice=99&window=x", "/slice/9.png?window=brain&amp;outline=1&amp;"),
    ("slice=-1", "/slice/9.png?window=brain&amp;outline=1&amp;"),
    ("slice=%D9%A1&outline=%3Cscript%3E", "/slice/9.png?window=brain&amp;outline=1&amp;"),
    ("slice=" + "9" * 5000, "/slice/9.png?"),
    ("slice=003", "/slice/3.png?"),
    ("slice=0000099", "/slice/9.png?"),
    ("slice=" + "0" * 5000 + "3", "/slice/9.png?"),
])  # fmt: skip
def test_without_a_script_every_slice_has_an_address(site: Site, radiologist: Browser, query: str, shown: str) -> None:
    uid = suspected(site)
    assert shown in radiologist.get(f"/study/{uid}?{query}").text


def test_the_sites_own_viewer_is_linked(site: Site, desk: Desk) -> None:
    template = "https://pacs.example/v?s={study_instance_uid}&a={accession_number}"
    linked = replace(desk, options=replace(desk.options, viewer_link=template))
    reader = signed_in(make_app(linked), "rad", Role.RADIOLOGIST)
    uid = suspected(site, AccessionNumber='A&b="1"/2')
    page = reader.get(f"/study/{uid}")
    (address,) = re.findall(r'href="(https://pacs[^"]+)"', page.text)
    assert unescape(address) == f"https://pacs.example/v?s={uid}&a=A%26b%3D%221%22%2F2"
    assert 'rel="noopener noreferrer"' in page.text


def test_without_a_viewer_there_is_no_link(site: Site, radiologist: Browser) -> None:
    assert "Open in viewer" not in radiologist.get(f"/study/{suspected(site)}").text


@pytest.mark.parametrize("uid", ["2.25.999", "no-uid", "..%2F..%2Fetc", "1'--", "%00", "2.25.1%0d%0aX: y"])
def test_what_is_no_study_is_not_there(
    radiologist: Browser, administrator: Browser, service: Browser, uid: str
) -> None:
    assert radiologist.get(f"/study/{uid}").status_code == 404
    assert radiologist.get(f"/study/{uid}/now").status_code == 404
    assert radiologist.post(f"/study/{uid}/verdict", data={"verdict": "agree"}).status_code == 404
    assert administrator.post(f"/study/{uid}/retry").status_code == 404
    assert service.get(f"/api/studies/{uid}").status_code == 404


def test_the_same_as_json_for_services(site: Site, service: Browser, radiologist: Browser, anonymous: Browser) -> None:
    uid = suspected(site)
    told = service.get(f"/api/studies/{uid}").json()
    assert told["study"]["status"] == "suspected"
    assert [entry["action"] for entry in told["timeline"]][-1] == "result_recorded"
    assert {one["kind"] for one in told["objects"]} == {"SEG", "SR"}
    assert "SYNTHETIC" not in str(told).replace("SYNTHETIC made", "")
    assert radiologist.get(f"/api/studies/{uid}").json() == told
    assert anonymous.get(f"/api/studies/{uid}").status_code == 401
    assert listed(site, uid).opened_at is None


def test_the_page_belongs_to_readers(site: Site, anonymous: Browser, service: Browser) -> None:
    uid = suspected(site)
    sent_away = anonymous.get(f"/study/{uid}?slice=3")
    assert sent_away.status_code == 303
    assert sent_away.headers["location"].startswith("/login?next=%2Fstudy%2F")
    assert service.get(f"/study/{uid}").status_code == 403
    assert events(site, AuditAction.STUDY_OPENED) == []


@pytest.mark.parametrize("make", [structured_report, rgb_screen])
def test_a_study_without_a_slice_has_a_page_too(site: Site, radiologist: Browser, make: object) -> None:
    ds = make()
    uid = taken_in(site, [ds]).study_instance_uid
    page = radiologist.get(f"/study/{uid}")
    assert "Not analysed" in words(page)
    assert ("The series holds no image that could be shown." in words(page)) is (make is structured_report)
    assert radiologist.get(f"/study/{uid}/slice/0.png").status_code == 404


def test_images_that_were_removed_for_their_age(site: Site, radiologist: Browser) -> None:
    site.profiles = {}  # nothing that waits to be sent keeps them
    uid = suspected(site)
    site.wait(31 * 86400)
    assert remove_old_files(site.db, site.blobs, 30, site.now) == 1
    page = radiologist.get(f"/study/{uid}")
    said = words(page)
    for part in (
        "Haemorrhage suspected emergent final",
        "Patient the images are not kept here any more",
        f"The images were removed from here at {site.now:%Y-%m-%d %H:%M:%S} UTC for their age.",
        "The images and result objects were removed from here for their age",
        "Score 0.950",
    ):
        assert part in said
    assert "/slice/" not in page.text
    assert "try again" not in said.lower()


def test_images_that_are_damaged_or_gone_do_not_stop_the_page(site: Site, desk: Desk, radiologist: Browser) -> None:
    uid = suspected(site)
    blobs = list(desk.blobs.root.rglob("*.dcm"))
    for blob in blobs:
        blob.write_bytes(b"damaged")
    assert "Patient no name in the images" in words(radiologist.get(f"/study/{uid}"))
    for blob in blobs:
        blob.unlink()
    said = words(radiologist.get(f"/study/{uid}"))
    assert "Patient the stored images cannot be read" in said
    assert "Haemorrhage suspected" in said
