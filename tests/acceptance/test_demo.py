"""``triage demo`` as a visitor sees it: its pages, with the name and password that it prints."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.slow

TOLD = re.compile(r"The pages: (?P<url>http://\S+)/   name: (?P<name>\S+)   password: (?P<password>\S+) ")
READY_SECONDS = 240.0


@contextmanager
def staying_demo(folder: Path, *words: str) -> Iterator[re.Match[str]]:
    """``triage demo`` in an empty folder, from when it names its pages; SIGTERM ends it as Ctrl-C does."""
    told = folder / "told"
    command = [sys.executable, "-m", "triage", "demo", *words]
    with told.open("wb") as stream:
        demo = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not (pages := TOLD.search(told.read_text())):
            assert demo.poll() is None, told.read_text()
            assert time.monotonic() < deadline, told.read_text()
            time.sleep(0.2)
        yield pages
    finally:
        started = psutil.Process(demo.pid).children(recursive=True) if demo.poll() is None else []
        demo.send_signal(signal.SIGTERM)
        code = demo.wait(60)
        _, left = psutil.wait_procs(started, timeout=20)
    assert (code, left) == (0, []), told.read_text()


def sign_in(browser: httpx.Client, name: str, password: str) -> httpx.Response:
    """Fill in the form of the page that asks who one is."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/login").text)
    assert token is not None
    return browser.post(
        "/login", data={"name": name, "password": password, "csrf_token": token[1], "next": "/"}, follow_redirects=True
    )


def test_a_visitor_signs_in_with_what_the_demo_prints_and_sees_its_three_studies_in_order(tmp_path: Path) -> None:
    with (
        staying_demo(tmp_path) as pages,
        httpx.Client(base_url=pages["url"], trust_env=False, timeout=30) as browser,
    ):
        assert browser.get("/").headers["location"].startswith("/login"), "nothing is shown to a stranger"
        assert sign_in(browser, pages["name"], pages["password"] + "x").status_code == 401
        page = sign_in(browser, pages["name"], pages["password"])
        assert (page.status_code, page.url.path) == (200, "/")
        shown = re.findall(r'class="study-line line-(\w+)', page.text)
        assert shown == ["suspected", "not_analysed", "not_suspected"]
        studies = re.findall(r'href="/study/([0-9.]+)"', page.text)
        listed = browser.get("/api/worklist").json()
        for study, status in zip(studies, shown, strict=True):
            assert browser.get(f"/study/{study}").status_code == 200
            assert status in json.dumps(listed)
        assert browser.get("/audit").status_code == 200, "the visitor may look at everything"
    (place,) = (tmp_path / "demo").iterdir()
    kept = [file for file in place.rglob("*") if file.is_file() and pages["password"].encode() in file.read_bytes()]
    assert kept == [], "the password is on the screen alone"


def test_a_folder_without_dicom_ends_it_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    command = [sys.executable, "-m", "triage", "demo", "--once", "--study", "nothing"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (1, "triage: There is no DICOM file below nothing.\n")
