"""A real browser without a screen: Chromium and its driver from Debian, and files of npm packages for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.services import MissingProgramError, find_program

REPOSITORY = Path(__file__).resolve().parents[1]
DEBIAN_PACKAGES = "chromium chromium-driver"
ARGUMENTS = (
    "--headless=new",
    "--window-size=1400,1000",
    "--force-device-scale-factor=1",
    "--force-color-profile=srgb",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--no-sandbox",  # the tests may run as root, who has none
)


def browser_file(package: str, name: str) -> Path:
    """A file of a package from npm."""
    file = REPOSITORY / "build" / "browser" / package / name
    if not file.is_file():
        raise MissingProgramError(f"{package} is absent. Run: .ci/browser-files build/browser .venv/bin/python")
    return file


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser without a screen, which draws WebGL in software; ``profile`` is an empty folder."""
    options = ChromeOptions()
    options.binary_location = find_program("chromium", DEBIAN_PACKAGES)
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    browser = Chrome(options=options, service=Service(find_program("chromedriver", DEBIAN_PACKAGES)))
    try:
        yield browser
    finally:
        browser.quit()


def keep(name: str, content: bytes) -> None:
    """Keep a file, such as a screenshot, as an artefact of the tests."""
    folder = Path(os.environ.get("TEST_ARTEFACTS") or REPOSITORY / "build" / "artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
