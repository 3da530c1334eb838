"""Who opened a study, and what readers said of it: by the page, by a key, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.site import Site
from tests.studies import events, installation, listed, not_analysed, suspected
from tests.web import Browser, Clock, signed_in, words
from triage.domain.account import Role
from triage.domain.audit import AuditAction
from triage.store import readings
from triage.web.desk import Desk


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with installation(database_url, tmp_path / "blobs") as made:
        yield made


def test_the_first_radiologist_to_open_a_study_is_remembered(
    site: Site, desk: Desk, administrator: Browser, radiologist: Browser, clock: Clock
) -> None:
    uid = suspected(site)
    clock.now = site.now
    administrator.get(f"/study/{uid}")
    assert listed(site, uid).opened_at is None
    clock.forward(60)
    radiologist.get(f"/study/{uid}")
    clock.forward(60)
    signed_in(radiologist.app, "other", Role.RADIOLOGIST).get(f"/study/{uid}")
    assert listed(site, uid).opened_by == "rad"
    opened = [event for event in events(site, AuditAction.STUDY_OPENED) if event.study_instance_uid == uid]
    assert [(event.actor, event.detail["first"]) for event in opened] == [
        ("boss", False), ("rad", True), ("other", False),
    ]  # fmt: skip


def test_pictures_and_partials_are_not_audited_one_by_one(site: Site, radiologist: Browser) -> None:
    uid = suspected(site)
    radiologist.get(f"/study/{uid}/thumbnail.png")
    radiologist.get(f"/study/{uid}/now?shown=x")
    assert events(site, AuditAction.STUDY_OPENED) == []
    radiologist.get(f"/study/{uid}")
    assert radiologist.get(f"/study/{uid}/slice/9.png").status_code == 200
    assert len(events(site, AuditAction.STUDY_OPENED)) == 1


def test_whoever_takes_a_slice_without_the_page_is_on_record_once_and_has_not_opened_the_study(
    site: Site, radiologist: Browser, administrator: Browser, clock: Clock
) -> None:
    uid = suspected(site)
    administrator.get(f"/study/{uid}")
    answer = radiologist.get(f"/study/{uid}/slice/9.png")
    assert radiologist.get(f"/study/{uid}/slice/999.png").status_code == 404
    again = radiologist.get(f"/study/{uid}/slice/9.png", headers={"If-None-Match": answer.headers["ETag"]})
    assert (answer.status_code, again.status_code) == (200, 304)
    boss, rad = events(site, AuditAction.STUDY_OPENED)
    assert (boss.actor, rad.actor, rad.study_instance_uid) == ("boss", "rad", uid)
    assert rad.detail == {"role": "radiologist", "first": False, "status": "suspected", "how": "picture"}
    assert listed(site, uid).opened_at is None
    clock.forward(24 * 3600)
    tomorrow = signed_in(radiologist.app, "rad", Role.RADIOLOGIST)
    assert tomorrow.get(f"/study/{uid}/slice/8.png").status_code == 200
    assert len(events(site, AuditAction.STUDY_OPENED)) == 3


def test_judging_by_the_form_and_by_a_key(site: Site, radiologist: Browser, administrator: Browser) -> None:
    uid = suspected(site)
    plain = radiologist.post(f"/study/{uid}/verdict", data={"verdict": "disagree", "note": "calcified <b>"})
    assert (plain.status_code, plain.headers["location"]) == (303, f"/study/{uid}#reading")
    part = administrator.post(f"/study/{uid}/verdict", data={"verdict": "partly"}, headers={"HX-Request": "true"})
    said = words(part)
    assert part.text.lstrip().startswith("<section")
    assert re.search(r"Partly , boss, .* UTC before: disagree, rad, .* UTC: calcified <b>", said)
    assert 'value="partly" class="plain" aria-pressed="true"' in part.text
    assert listed(site, uid).verdict == "partly"
    assert [event.actor for event in events(site, AuditAction.STUDY_JUDGED)] == ["rad", "boss"]


@pytest.mark.parametrize("form", [
    {}, {"verdict": "maybe"}, {"verdict": ""}, {"verdict": "agree", "note": "x" * 501},
], ids=["nothing", "another word", "empty", "long note"])  # fmt: skip
def test_a_judgement_that_is_none_is_refused(site: Site, radiologist: Browser, form: dict[str, str]) -> None:
    uid = suspected(site)
    assert radiologist.post(f"/study/{uid}/verdict", data=form).status_code == 422
    with site.db.read() as tx:
        assert readings.of_study(tx, uid) == []


def test_judging_by_json(site: Site, radiologist: Browser, service: Browser, anonymous: Browser) -> None:
    uid = suspected(site)
    path = f"/api/studies/{uid}/verdict"
    answer = radiologist.post(path, json={"verdict": "agree", "note": "as outlined"})
    assert (answer.status_code, answer.json()["verdict"], answer.json()["reader"]) == (200, "agree", "rad")
    assert listed(site, uid).verdict == "agree"
    assert service.post(path, json={"verdict": "agree"}).status_code == 403
    assert anonymous.post(path, json={"verdict": "agree"}).status_code == 401
    assert radiologist.post(path, json={"verdict": "never"}).status_code == 422
    assert radiologist.post(path, json={"verdict": "agree", "note": "x" * 501}).status_code == 422
    refused = radiologist.post(f"/api/studies/{not_analysed(site)}/verdict", json={"verdict": "agree"})
    assert refused.status_code == 409
    assert "not analysed" in refused.json()["detail"]
