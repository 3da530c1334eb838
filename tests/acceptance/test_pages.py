"""Acceptance 1, 4, 6 and 8 of the pages: a radiologist and an administrator at work, in a real browser.

The real daemon with the bundle that is shipped, a made head with blood sent by C-STORE, Chromium without a screen.
Pictures of every page lie in ``build/artefacts`` afterwards; those of ``docs/pictures`` were made here
(``TEST_ARTEFACTS=docs/pictures``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium.webdriver.common.keys import Keys

from tests.acceptance.daemon import Daemon, Destination, running_daemon
from tests.browser import chromium, keep
from tests.conftest import copy_sqlite, unavailable
from tests.fakes import counting_archive
from tests.reading_room import NARROW, WIDE, Reader
from tests.services import MissingProgramError
from triage.domain.finding import WorklistStatus
from triage.entrypoints.app import shipped_bundle
from triage.entrypoints.demo import SEED
from triage.entrypoints.operate import dicom_files
from triage.inference.bundle import load_bundle
from triage.net.scu import send

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PASSWORD = "a sentence of several words"
RADIOLOGIST, ADMINISTRATOR = "dr.read", "admin.one"
PAGES = {
    RADIOLOGIST: {"worklist": "/", "operations": "/operations", "statistics": "/statistics"},
    ADMINISTRATOR: {"audit": "/audit", "accounts": "/accounts"},
}


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Made heads: one that the bundle suspects, one that it does not, and one with missing slices."""
    folder = tmp_path_factory.mktemp("heads")
    statuses = [WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED, WorklistStatus.NOT_ANALYSED]
    chosen = [word for status in statuses for word in ("--status", status.value)]
    subprocess.run(
        [sys.executable, "-m", "trainer", "phantom", str(folder), "--studies", "3", "--seed", str(SEED), *chosen],
        check=True,
        capture_output=True,
    )
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    assert len(found) == 3
    return found


@pytest.fixture(scope="module")
def site(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon, all but its worker, with an archive, a radiologist and an administrator."""
    folder = tmp_path_factory.mktemp("site")
    copy_sqlite(sqlite_template, folder / "triage.db")
    url = f"sqlite:///{folder / 'triage.db'}"
    with (
        counting_archive() as archive,
        running_daemon(
            folder / "daemon",
            url,
            [Destination("ARCHIVE", archive.remote.port)],
            roles=["listen", "send", "clock", "web"],
        ) as daemon,
    ):
        add_user(daemon, RADIOLOGIST, "radiologist")
        add_user(daemon, ADMINISTRATOR, "administrator")
        yield daemon


class Worker:
    """The worker on another machine than the rest: it can be killed without anybody who starts it again."""

    def __init__(self, daemon: Daemon) -> None:
        self._command = [sys.executable, "-m", "triage", "--config", str(daemon.config), "run", "--role", "work"]
        self._log = daemon.log.with_name("worker.log")
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(self._command, stderr=stream, start_new_session=True)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def worker(site: Daemon) -> Iterator[Worker]:
    working = Worker(site)
    yield working
    working.kill()


@pytest.fixture(scope="module")
def room(site: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A browser on its pages."""
    try:
        with chromium(tmp_path_factory.mktemp("chromium")) as browser:
            yield Reader(site.web_url, browser)
    except MissingProgramError as missing:
        unavailable(str(missing))


def add_user(daemon: Daemon, name: str, role: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "triage", "--config", str(daemon.config), "user", "add", name, "--role", role,
         "--password-stdin"],
        input=PASSWORD, text=True, check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def send_head(daemon: Daemon, folder: Path) -> str:
    """Send a head as a PACS does; its study."""
    found, _ = dicom_files([folder])
    outcomes = send(daemon.remote, [instance.outgoing for instance in found])
    assert all(outcome.error is None for outcome in outcomes)
    return found[0].study_instance_uid


def coloured(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture of shape (row, column, 3) is not grey."""
    return np.ptp(picture.astype(int), axis=2) > 60


def slice_pixels(room: Reader, name: str) -> NDArray[np.uint8]:
    """What is drawn of the slice, shape (row, column, 3), without its border and the letters there."""
    picture = room.picture(name)
    box = room.one("#slice").rect
    edge = int(box["width"] * 0.08)
    top, left = int(box["y"] - scrolled(room)) + edge, int(box["x"]) + edge
    return picture[top : top + int(box["height"]) - 2 * edge, left : left + int(box["width"]) - 2 * edge]


def first_on_the_list(room: Reader) -> tuple[str, str]:
    """Study and status of the first line."""
    line = room.one(".study-line")
    link, status = line.find_element("css selector", "a.open"), line.find_element("css selector", ".status")
    return str(link.get_attribute("id")).removeprefix("study-"), status.text.lower()


def scrolled(room: Reader) -> float:
    return float(room.browser.execute_script("return window.scrollY"))


def test_a_radiologist_and_an_administrator_at_work(
    site: Daemon, worker: Worker, room: Reader, heads: list[Path]
) -> None:
    room.open("/")
    assert "/login" in room.browser.current_url
    room.picture("page-login-1280")
    room.sign_in(RADIOLOGIST, PASSWORD)
    room.one("#rows")
    others = [send_head(site, folder) for folder in heads[1:]]
    for study in others:
        site.wait_until_final(study)

    # It appears on top by itself; nobody reloads.
    study = send_head(site, heads[0])
    room.wait(lambda: first_on_the_list(room) == (study, "suspected"), seconds=90)
    seen_at = datetime.now(UTC)
    flagged_at = site.wait_until_final(study).flagged_at
    assert flagged_at is not None
    keep(
        "page-flag-to-screen.txt",
        f"{(seen_at - flagged_at).total_seconds():.2f} s from the flag to the screen".encode(),
    )
    room.picture("page-worklist-first")
    lines = room.browser.execute_script("return [...document.querySelectorAll('.study-line')].map(l => l.innerText)")
    assert len(lines) == len(heads)
    assert all("demonstration" in line for line in lines), "a row does not say that the bundle is a demonstration"

    # Opened by keyboard, at the key slice, with the outline on it.
    room.press("j", Keys.ENTER)
    room.wait(lambda: room.browser.current_url.split("?")[0].endswith(f"/study/{study}"))
    row = site.wait_until_final(study)
    assert row.key_slice is not None
    room.wait(lambda: room.one("#place-number").text == str(row.key_slice.index + 1))
    time.sleep(1)
    assert scrolled(room) == 0, "the page moves under the reader by itself"
    with_outline = slice_pixels(room, "page-study-outline")
    room.press("o")
    room.wait(lambda: "outline=0" in room.one("#slice").get_attribute("src"))
    without = slice_pixels(room, "page-study-plain")
    drawn = coloured(with_outline) & (np.abs(with_outline.astype(int) - without.astype(int)).max(axis=2) > 30)
    assert drawn.sum() > 40, "no outline is drawn on the key slice"
    assert not coloured(without).any()
    room.press("o")

    room.press("d")
    room.wait(lambda: "disagree" in room.one("#reading").text.lower() and RADIOLOGIST in room.one("#reading").text)
    room.open("/statistics")
    room.wait(lambda: "1 in all" in room.text() or room.browser.refresh())
    assert "0 of 1" in room.text() or "0.0 %" in room.text()

    room.sign_in(ADMINISTRATOR, PASSWORD)
    room.open("/audit")
    told = room.text()
    for action in ("study_flagged", "study_opened", "study_judged", "login"):
        assert action in told or action.replace("_", " ") in told.lower(), f"the audit page does not show {action}"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_page_can_be_used_by_everybody(
    site: Daemon, worker: Worker, room: Reader, heads: list[Path], width: int
) -> None:
    """axe-core finds nothing serious, nothing is wider than the window, and the browser has no complaint."""
    room.width(width)
    sent = [send_head(site, folder) for folder in heads]  # sending again changes nothing
    studies = {site.wait_until_final(study).status: study for study in sent}
    troubles = []
    for person, pages in PAGES.items():
        room.sign_in(person, PASSWORD)
        room.complaints()
        chosen = dict(pages)
        if person == RADIOLOGIST:
            chosen |= {
                "study": f"/study/{studies[WorklistStatus.SUSPECTED]}",
                "study-not-analysed": f"/study/{studies[WorklistStatus.NOT_ANALYSED]}",
                "bundle": f"/bundle/{load_bundle(shipped_bundle()).digest}",
                "password": "/password",
                "missing": "/no-such-page",
            }
        for name, path in chosen.items():
            room.open(path)
            room.picture(f"page-{name}-{width}")
            assert ("This did not work" in room.text()) is (name == "missing"), f"{name}: {room.text()[:300]}"
            troubles += [f"{name}: {barrier}" for barrier in room.barriers()]
            if room.too_wide() > 0:
                troubles.append(f"{name}: {room.too_wide()} pixels wider than the window")
            troubles += [f"{name}: {c}" for c in room.complaints() if "404" not in c]
    room.browser.delete_all_cookies()
    room.open("/login")
    troubles += [f"login: {barrier}" for barrier in room.barriers()]
    assert troubles == []
    room.width(WIDE)


def test_a_worker_that_died_is_on_every_page_until_another_works(site: Daemon, worker: Worker, room: Reader) -> None:
    room.sign_in(RADIOLOGIST, PASSWORD)
    room.wait(lambda: "AI off" not in room.text())
    worker.kill()
    killed = time.monotonic()
    room.wait(lambda: "AI off since" in room.text(), seconds=30)
    keep("page-banner.txt", f"{time.monotonic() - killed:.1f} s from the worker's death to the banner".encode())
    room.picture("page-worklist-off")
    assert "NOT being analysed" in room.text()
    worker.start()
    room.wait(lambda: "AI off" not in room.text(), seconds=60)
