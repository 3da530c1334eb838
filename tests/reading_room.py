"""A person at our pages: a real browser, signed in, that looks, types, and keeps what it saw."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium.common.exceptions import JavascriptException, NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import browser_file, keep

WIDE, NARROW = 1280, 390
HEIGHT = 900
T = TypeVar("T")


class Reader:
    """One browser window on the pages."""

    def __init__(self, url: str, browser: Chrome) -> None:
        self.url = url
        self.browser = browser
        self.width(WIDE)

    def width(self, pixels: int) -> None:
        """Make the page as wide as that. Windows have a least width; what is emulated has none."""
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": pixels, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False},
        )

    def sign_in(self, name: str, password: str) -> None:
        """Type name and password into the form; whoever was signed in before is forgotten."""
        self.browser.delete_all_cookies()
        self.open("/login")
        self.one("#name").send_keys(name)
        self.one("#password").send_keys(password, "\n")
        self.wait(lambda: "/login" not in self.browser.current_url)

    def open(self, path: str) -> None:
        """Load a page."""
        self.browser.get(self.url + path)

    def one(self, selector: str) -> WebElement:
        """The first element of a kind, as soon as it is there."""
        return self.wait(lambda: self.browser.find_element(By.CSS_SELECTOR, selector))

    def all(self, selector: str) -> list[WebElement]:
        """Every element of a kind."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self) -> str:
        """Everything that can be read."""
        return str(self.browser.execute_script("return document.body.innerText"))

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def wait(self, ready: Callable[[], T], seconds: float = 30.0) -> T:
        """What ``ready`` gives, as soon as it gives something."""
        troubles = [JavascriptException, NoSuchElementException, StaleElementReferenceException]
        return WebDriverWait(self.browser, seconds, 0.05, troubles).until(lambda _: ready())

    def settled(self) -> None:
        """Until every picture that is to be seen is there."""
        self.wait(
            lambda: self.browser.execute_script(
                "return document.readyState === 'complete' && [...document.images].every("
                "i => i.complete || i.getBoundingClientRect().top > innerHeight)"
            )
        )
        time.sleep(0.3)

    def picture(self, name: str) -> NDArray[np.uint8]:
        """What is on the screen, shape (row, column, 3), kept as an artefact of that name."""
        self.settled()
        content = self.browser.get_screenshot_as_png()
        keep(f"{name}.png", content)
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))

    def too_wide(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth"))

    def barriers(self) -> list[str]:
        """Serious and critical findings of axe-core on the page as it is."""
        self.browser.execute_script(browser_file("axe-core-4.14.1", "axe.min.js").read_text("utf-8"))
        found: dict[str, Any] = self.browser.execute_async_script(
            "const done = arguments[0]; axe.run(document).then(done, e => done({error: String(e)}));"
        )
        assert "violations" in found, found
        return [
            f"{violation['impact']}: {violation['id']} at {json.dumps([n['target'] for n in violation['nodes']][:5])}"
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
        ]

    def complaints(self) -> list[str]:
        """What the browser complained about since it was asked last, such as a refused script or style."""
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
