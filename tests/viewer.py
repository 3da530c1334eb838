"""A real viewer over a real archive: OHIF served to a headless Chromium, with Orthanc's DICOMweb behind it.

The viewer's prebuilt files come from npm by ``.ci/browser-files``.
"""

from __future__ import annotations

import io
import json
import math
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium.common.exceptions import JavascriptException, StaleElementReferenceException, TimeoutException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import browser_file, keep
from tests.services import OrthancServer

VERSION = "3.12.10"
LOAD_SECONDS = 120
OPENED_SECONDS = 20
MOST_SLICES = 100
TOURS = ["basicViewerTour"]
IMAGE = ".cornerstone-viewport-element"
ACTIVE_VIEWPORT = """
const { viewportGridService, cornerstoneViewportService, segmentationService } = window.services;
const id = viewportGridService.getActiveViewportId();
const viewport = cornerstoneViewportService.getCornerstoneViewport(id);
"""
IMAGE_IS_DRAWN = "return viewport.viewportStatus === 'rendered';"
SEGMENTATION_IS_DRAWN = "return segmentationService.getSegmentationRepresentations(id).length > 0;"
PLACES = """
const { x, y } = viewport.canvas.getBoundingClientRect();
return arguments[0].map(place => viewport.worldToCanvas(place)).map(([right, down]) => [x + right, y + down]);
"""
RECTANGLE = """
const { x, y, width, height } = viewport.canvas.getBoundingClientRect();
return [x, y, width, height];
"""
T = TypeVar("T")
CONFIGURATION = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "showErrorDetails": "always",
    # Open a segmentation without asking the reader whether to.
    "disableConfirmationPrompts": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "archive",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "archive",
            "configuration": {
                "friendlyName": "archive",
                "name": "archive",
                "wadoUriRoot": "/dicom-web",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "supportsFuzzyMatching": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True},
            },
        }
    ],
}


def viewer_files() -> Path:
    """Folder of the viewer's prebuilt files."""
    return browser_file(f"ohif-app-{VERSION}", "dist/index.html").parent


class _Handler(SimpleHTTPRequestHandler):
    """The viewer's files, its configuration, and the archive's DICOMweb under the same origin."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, dicomweb_url: str, **named: Any) -> None:
        self._dicomweb_url = dicomweb_url
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/dicom-web/"):
            self._forward(self.path.removeprefix("/dicom-web"))
        elif path == "/app-config.js":
            self._answer(200, "text/javascript", _configuration())
        else:
            if not Path(self.translate_path(path)).is_file():
                self.path = "/index.html"  # a page of the application, such as /viewer
            super().do_GET()

    def end_headers(self) -> None:
        # The viewer's decoders share memory between threads, which browsers allow to isolated pages alone.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing of each request."""

    def _forward(self, rest: str) -> None:
        headers = {"Accept": self.headers.get("Accept", "*/*")}
        request = urllib.request.Request(self._dicomweb_url + rest, headers=headers)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                self._answer(answer.status, answer.headers["Content-Type"], answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                self._answer(refused.code, refused.headers["Content-Type"], refused.read())

    def _answer(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _configuration() -> bytes:
    """The viewer's configuration as it reads it, which also counts the tour for newcomers as seen."""
    seen = f"localStorage.setItem('shownTours', '{json.dumps(TOURS)}');"
    # A library within the viewer asks for this name of Node.js when its files arrive in another order than usual, and
    # the page stays black where nobody has it.
    named = "window.__filename = '';"
    return f"window.config = {json.dumps(CONFIGURATION)};\n{seen}\n{named}".encode()


@contextmanager
def served(orthanc: OrthancServer) -> Iterator[str]:
    """Root of the viewer's pages, on loopback, without a slash at the end."""
    handler = partial(_Handler, directory=str(viewer_files()), dicomweb_url=orthanc.dicomweb_url)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Viewer:
    """What a reader does with the viewer, and what is seen then."""

    def __init__(self, url: str, browser: Chrome) -> None:
        self._url = url
        self._browser = browser

    def open(self, study_instance_uid: str, series_instance_uid: str, *, segmentation: bool) -> None:
        """Open a study at a series and wait for its images; a ``segmentation`` is opened over those it is of."""
        query = {"StudyInstanceUIDs": study_instance_uid, "initialSeriesInstanceUID": series_instance_uid}
        self._browser.get(f"{self._url}/viewer?{urlencode(query)}")
        self._wait(lambda: self._run(IMAGE_IS_DRAWN))
        if segmentation:
            self._wait(lambda: self._run(SEGMENTATION_IS_DRAWN))

    def scroll_to(self, instance_number: int) -> None:
        """Show the slice of this instance number, with the arrow keys, as a reader does."""
        for _ in range(MOST_SLICES):
            shown = self._instance_number()
            if shown == instance_number:
                return
            key = Keys.ARROW_DOWN if shown > instance_number else Keys.ARROW_UP
            image = self._browser.find_element(By.CSS_SELECTOR, IMAGE)
            ActionChains(self._browser).move_to_element(image).send_keys(key).perform()
            self._wait(lambda before=shown: self._instance_number() != before)
        raise AssertionError(f"instance {instance_number} is not shown after {MOST_SLICES} keys")

    def pixels(self, *places_lps: tuple[float, float, float]) -> list[tuple[int, int]]:
        """Where in the picture the viewer shows places given in mm in the patient's frame: (x, y) each."""
        found = self._run(PLACES, [list(place) for place in places_lps])
        return [(round(x), round(y)) for x, y in found]

    def picture(self, name: str) -> NDArray[np.uint8]:
        """What is on the screen, shape (row, column, 3); kept as an artefact of that name."""
        # Two frames on, what was asked for last has been drawn.
        self._browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()));"
        )
        content = self._browser.get_screenshot_as_png()
        keep(f"{name}.png", content)
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))

    def image_part(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask of a picture with nothing outside the middle of the image, where no text is written."""
        x, y, width, height = self._run(RECTANGLE)
        middle, half = x + width / 2, height * 0.4
        rows, columns = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
        inside: NDArray[np.bool_] = mask & (abs(columns - middle) < half) & (abs(rows - y - height / 2) < half)
        return inside

    def open_report(self, modality: str, ready: Callable[[str], bool]) -> str:
        """Open the first series of a modality that has no thumbnail; the text in its place, once it is as wanted.

        By a double click on its row, and again, as a reader does, where a busy viewer took it for two clicks.
        """
        clicked_at = -math.inf

        def wanted() -> str:
            nonlocal clicked_at
            if time.monotonic() - clicked_at > OPENED_SECONDS:
                ActionChains(self._browser).double_click(self._row_of(modality)).perform()
                clicked_at = time.monotonic()
            text = self._browser.find_element(By.CSS_SELECTOR, "[data-cy='viewport-grid']").text
            return text if ready(text) else ""

        return self._wait(wanted)

    def _row_of(self, modality: str) -> WebElement:
        rows = "[data-cy='study-browser-thumbnail-no-image']"

        def listed() -> list[WebElement]:
            found = self._browser.find_elements(By.CSS_SELECTOR, rows)
            return [row for row in found if row.text.split("\n")[0] == modality]

        return self._wait(listed)[0]

    def _instance_number(self) -> int:
        text = self._browser.find_element(By.CSS_SELECTOR, "[data-cy='viewport-overlay-bottom-right']").text
        found = re.search(r"I:\s*(\d+)", text)
        return int(found[1]) if found else 0

    def _run(self, script: str, *arguments: Any) -> Any:
        return self._browser.execute_script(ACTIVE_VIEWPORT + script, *arguments)

    def _wait(self, ready: Callable[[], T], seconds: float = LOAD_SECONDS) -> T:
        waiting = WebDriverWait(self._browser, seconds, 0.05, [JavascriptException, StaleElementReferenceException])
        try:
            return waiting.until(lambda _: ready())
        except TimeoutException as late:
            keep("viewer-late.png", self._browser.get_screenshot_as_png())
            said = "\n".join(entry["message"] for entry in self._browser.get_log("browser"))
            raise AssertionError(f"not shown within {seconds:g} s; the browser says:\n{said}") from late
