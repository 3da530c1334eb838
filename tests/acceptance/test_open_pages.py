"""What an open page does by itself, in a real browser: it calls for a new suspicion, and never looks alive when it is
not.

The clock of the server is years ahead of the one of the browser: no page may count by its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser import chromium
from tests.conftest import copy_sqlite, unavailable
from tests.integration.site import Site, head
from tests.reading_room import NARROW, WIDE, Reader
from tests.served import Served, served
from tests.services import MissingProgramError
from tests.studies import installation, not_suspected, pending, suspected, taken_in
from tests.web import PASSWORD, add_user, make_desk
from triage.domain.account import Role
from triage.store import accounts, readings, worklist

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LISTENING = """
window.calls = [];
window.tones = 0;
const Real = window.Notification;
window.Notification = new Proxy(Real, {
  construct(target, [title, options]) {
    window.calls.push({title, body: options.body});
    window.note = new target(title, options);
    return window.note;
  },
});
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...when) { window.tones += 1; return start.apply(this, when); };
"""
"""Runs before our own scripts; what is called is called all the same."""

TONES = 3


@dataclass
class Ward:
    """A site, its pages, and somebody in front of them."""

    site: Site
    pages: Served
    room: Reader

    def calls(self) -> list[dict[str, str]]:
        """The notifications that this page has shown."""
        return list(self.room.browser.execute_script("return window.calls"))

    def tones(self) -> int:
        """How often this page has made a tone."""
        return int(self.room.browser.execute_script("return window.tones"))

    def heard(self, count: int) -> None:
        """Until the page has made as many tones and notifications, and does not make another."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (len(self.calls()), self.tones()) != (count, TONES * count):
            time.sleep(0.1)
        time.sleep(2)
        assert (len(self.calls()), self.tones()) == (count, TONES * count)

    def ask_for_calls(self) -> None:
        """Press the button, and take its own tones as heard."""
        self.room.one("#notify").click()
        self.room.wait(lambda: self.tones() == TONES)
        self.forget()

    def forget(self) -> None:
        """Count from here."""
        self.room.browser.execute_script("window.calls = []; window.tones = 0;")

    def listed(self, uid: str) -> bool:
        """Whether a study is to be seen on the list."""
        return bool(self.room.all(f"[id='study-{uid}']"))


@pytest.fixture
def ward(sqlite_template: Path, tmp_path: Path) -> Iterator[Ward]:
    copy_sqlite(sqlite_template, tmp_path / "triage.db")
    with installation(f"sqlite:///{tmp_path / 'triage.db'}", tmp_path / "blobs") as site:
        site.now = datetime(2031, 5, 1, 8, 0, tzinfo=UTC)
        began = time.monotonic()
        desk = make_desk(site.db, tmp_path, lambda: site.now + timedelta(seconds=time.monotonic() - began))
        add_user(desk, "rad", Role.RADIOLOGIST)
        try:
            with served(desk) as pages, chromium(tmp_path / "chromium") as browser:
                browser.execute_cdp_cmd(
                    "Browser.grantPermissions", {"origin": pages.url, "permissions": ["notifications"]}
                )
                browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTENING})
                room = Reader(pages.url, browser)
                room.sign_in("rad", PASSWORD)
                room.one("#rows")
                yield Ward(site, pages, room)
        except MissingProgramError as missing:
            unavailable(str(missing))


def patient(name: str) -> dict[str, str]:
    return {"PatientName": name, "PatientID": f"ID-{name}"}


def test_a_new_suspicion_is_called_once_and_names_nobody(ward: Ward) -> None:
    there = suspected(ward.site, **patient("THERE"))
    ward.room.open("/")
    ward.ask_for_calls()
    assert ward.room.one("#notify").text == "Notifying"
    ward.room.wait(lambda: ward.listed(there))
    ward.heard(0)

    new = suspected(ward.site, **patient("NEWCOMER"))
    ward.heard(1)
    assert ward.calls() == [{"title": "ich-triage", "body": "A new suspected study is on the list."}]
    assert ward.room.browser.title.startswith("(1 new)")
    ward.room.wait(lambda: ward.listed(new))

    # What says nothing new does not call: no suspicion, a reload, another stream, somebody who opens it elsewhere.
    ward.forget()
    not_suspected(ward.site, **patient("QUIET"))
    ward.heard(0)
    ward.room.open("/")
    ward.heard(0)
    assert ward.room.one("#notify").text == "No sound until a click"
    ward.room.press("j")
    ward.room.wait(lambda: ward.room.one("#notify").text == "Notifying")
    ward.pages.stop()
    ward.pages.start()
    ward.room.wait(lambda: not ward.room.one("#lost").is_displayed())
    ward.heard(0)

    # A click on it leads to the study.
    again = suspected(ward.site, **patient("AGAIN"))
    ward.heard(1)
    ward.room.browser.execute_script("window.note.onclick()")
    ward.room.wait(lambda: ward.room.browser.current_url.split("?")[0].endswith(f"/study/{again}"))
    ward.room.open("/")
    ward.heard(0)


def test_what_was_opened_before_the_page_heard_of_it_does_not_call(ward: Ward) -> None:
    ward.ask_for_calls()
    ward.pages.stop()
    uid = suspected(ward.site)
    with ward.site.db.transaction() as tx:
        assert readings.mark_opened(tx, uid, reader="other", now=ward.site.now)
    ward.pages.start()
    ward.room.wait(lambda: ward.listed(uid))
    ward.heard(0)


def test_a_study_that_is_suspected_again_calls_again(ward: Ward) -> None:
    ward.ask_for_calls()
    slices = head(20)
    uid = taken_in(ward.site, slices[:18]).study_instance_uid
    ward.heard(1)
    taken_in(ward.site, slices[18:19], score=0.1)
    ward.room.wait(lambda: ward.room.all(".line-not_suspected"))
    ward.heard(1)
    taken_in(ward.site, slices[19:])
    ward.heard(2)
    ward.room.browser.execute_script("window.note.onclick()")
    ward.room.wait(lambda: ward.room.browser.current_url.split("?")[0].endswith(f"/study/{uid}"))


def test_of_two_open_lists_one_calls(ward: Ward) -> None:
    ward.ask_for_calls()
    first = ward.room.browser.current_window_handle
    ward.room.browser.switch_to.new_window("tab")
    ward.room.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTENING})
    ward.room.open("/")
    ward.room.press("j")  # a page that nobody has touched makes no sound
    time.sleep(2)
    second = ward.room.browser.current_window_handle
    uid = suspected(ward.site)
    ward.room.wait(lambda: ward.listed(uid))
    time.sleep(2)
    told = []
    for tab in (first, second):
        ward.room.browser.switch_to.window(tab)
        told.append((len(ward.calls()), ward.tones()))
    assert sorted(told) == [(0, 0), (1, TONES)]


def test_nothing_calls_unless_it_was_asked_for(ward: Ward) -> None:
    uid = suspected(ward.site)
    ward.room.wait(lambda: ward.listed(uid))
    ward.heard(0)
    assert ward.room.one("#announced").get_attribute("textContent") == "A new suspected study is on the list."
    ward.ask_for_calls()
    ward.room.one("#notify").click()
    assert ward.room.one("#notify").text == "Notify me"
    suspected(ward.site)
    ward.heard(0)


def test_a_wait_is_counted_by_the_clock_of_the_server(ward: Ward) -> None:
    pending(ward.site)
    ward.site.wait(125)
    ward.room.open("/")
    counted = ward.room.wait(lambda: ward.room.one(".line-waiting time").text)
    assert counted.startswith("2 min")
    after = ward.room.wait(lambda: (later := ward.room.one(".line-waiting time").text) != counted and later)
    assert str(after).startswith("2 min")


def test_a_list_whose_server_is_gone_says_so_until_it_is_back(ward: Ward) -> None:
    room = ward.room
    ward.pages.stop()
    room.wait(lambda: "This list stands still" in room.text())
    room.wait(lambda: "the server does not answer" in room.text())
    assert room.one("#lost").text.startswith("Connection lost since ")
    assert "stale" in room.one("#rows").get_attribute("class")
    room.picture("page-worklist-lost-1280")
    room.width(NARROW)
    room.picture("page-worklist-lost-390")
    ward.pages.start()
    room.wait(lambda: "stands still" not in room.text() and "does not answer" not in room.text())
    assert "stale" not in room.one("#rows").get_attribute("class")


def test_a_list_that_is_not_sent_any_more_says_so_although_the_stream_goes_on(ward: Ward) -> None:
    room = ward.room
    ward.pages.failing.add("/worklist/rows")
    pending(ward.site)
    room.wait(lambda: "The server has not sent the list since" in room.text())
    assert "stale" in room.one("#rows").get_attribute("class")
    ward.pages.failing.clear()
    room.wait(lambda: "stands still" not in room.text())
    room.wait(lambda: room.all(".line-pending"))


def test_a_clock_that_is_put_back_does_not_make_a_dead_list_look_alive(ward: Ward) -> None:
    ward.room.browser.execute_script("const real = Date.now; Date.now = () => real() - 3600000;")
    ward.pages.stop()
    ward.room.wait(lambda: "This list stands still" in ward.room.text())
    ward.room.wait(lambda: "the server does not answer" in ward.room.text())
    ward.pages.start()


def test_a_wide_table_is_scrolled_by_the_keys_that_turn_the_slices_elsewhere(ward: Ward) -> None:
    room = ward.room
    room.width(NARROW)
    room.open(f"/study/{suspected(ward.site)}")
    shown = room.one("#place-number").text
    table = "[aria-label='Table of the series']"
    room.browser.execute_script("document.querySelector(arguments[0]).focus()", table)
    room.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    room.wait(lambda: room.one(table).get_property("scrollLeft") > 0)
    assert room.one("#place-number").text == shown
    room.press("o")
    room.wait(lambda: room.one("#outline-words").text == "Show outline")
    room.browser.execute_script("document.activeElement.blur()")
    room.press(Keys.ARROW_RIGHT)
    room.wait(lambda: room.one("#place-number").text == str(int(shown) + 1))


def test_an_open_study_says_that_it_has_become_another_and_takes_no_judgement_of_the_old_one(ward: Ward) -> None:
    room, site = ward.room, ward.site
    slices = head(20)
    uid = taken_in(site, slices[:18], score=0.1).study_instance_uid
    room.open(f"/study/{uid}")
    assert "Not suspected" in room.text()
    ward.pages.failing.add(f"/study/{uid}/now")  # nobody has told the reader yet
    taken_in(site, slices[18:])
    room.press("d")
    room.wait(lambda: "Your judgement was not kept" in room.text())
    room.picture("page-study-superseded-1280")
    with site.db.read() as tx:
        assert readings.of_study(tx, uid) == []
    ward.pages.failing.clear()
    room.wait(lambda: "There is something new on this study." in room.text())
    room.one(".study-notes a").click()
    room.wait(lambda: "Haemorrhage suspected" in room.text())
    room.press("d")
    room.wait(lambda: "rad" in room.one("#reading").text)
    with site.db.read() as tx:
        assert [reading.verdict for reading in readings.of_study(tx, uid)] == ["disagree"]
        assert worklist.listed(tx, uid).verdict == "disagree"  # type: ignore[union-attr]


def test_a_judgement_that_did_not_arrive_is_not_taken_for_one(ward: Ward) -> None:
    uid = suspected(ward.site)
    ward.room.open(f"/study/{uid}")
    ward.pages.stop()
    ward.room.press("a")
    ward.room.wait(lambda: "The server did not answer: this was not done." in ward.room.text())
    ward.pages.start()
    assert ward.room.one("#reading").text.count("Nobody has judged this study yet.") == 1


def test_a_page_whose_session_has_ended_goes_to_the_login(ward: Ward) -> None:
    with ward.site.db.transaction() as tx:
        user: Any = accounts.find_user(tx, "rad")
        accounts.end_sessions(tx, user.id)
    ward.room.wait(lambda: "/login" in ward.room.browser.current_url)


def test_text_of_any_length_stays_within_the_window(ward: Ward) -> None:
    uid = suspected(
        ward.site,
        PatientName=f"{'L' * 40}^{'G' * 20}",
        PatientID="I" * 64,
        AccessionNumber="A" * 16,
        StudyDescription="D" * 64,
        SeriesDescription="S" * 64,
        ManufacturerModelName="M" * 64,
    )
    for width in (WIDE, NARROW):
        ward.room.width(width)
        for path, name in (("/", "worklist"), (f"/study/{uid}", "study")):
            ward.room.open(path)
            ward.room.picture(f"page-{name}-long-{width}")
            assert ward.room.too_wide() <= 0, (name, width)


def test_a_study_opens_beside_as_many_lists_as_anybody_has_open(ward: Ward) -> None:
    """A browser has six connections to a server: streams must not take all of them."""
    uid = suspected(ward.site)
    for _ in range(7):
        ward.room.browser.switch_to.new_window("tab")
        ward.room.open("/")
        ward.room.wait(lambda: ward.listed(uid))
    ward.room.open(f"/study/{uid}")
    ward.room.wait(lambda: "Haemorrhage suspected" in ward.room.text())
