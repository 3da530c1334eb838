"""The card of a bundle: on a page of its own, linked from every study and from the operations page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from tests.fakes import DIGEST
from tests.integration.site import Site
from tests.studies import installation, not_analysed, not_suspected, pending, suspected
from tests.web import Browser
from triage.domain.notice import DEMONSTRATION
from triage.entrypoints.app import shipped_bundle
from triage.store import bundles
from triage.web.desk import Desk

MANIFEST: dict[str, Any] = json.loads((shipped_bundle() / "bundle.json").read_bytes())
PAGE = f"/bundle/{DIGEST}"
MADE = [suspected, not_suspected, not_analysed, pending]


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with installation(database_url, tmp_path / "blobs") as made:
        yield made


def on_record(desk: Desk, manifest: dict[str, Any], digest: str = DIGEST) -> None:
    with desk.db.transaction() as tx:
        bundles.record(tx, digest=digest, name="fixed", version="1", manifest=manifest, now=desk.clock())


def tree(browser: Browser, path: str) -> html.HtmlElement:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return html.fromstring(answer.text)


def words(element: html.HtmlElement) -> str:
    return " ".join(" ".join(element.itertext()).split())


def test_the_page_says_first_what_cannot_be_claimed_then_data_then_every_figure(
    desk: Desk, radiologist: Browser
) -> None:
    on_record(desk, MANIFEST)
    page = tree(radiologist, PAGE)
    assert [words(heading) for heading in page.xpath("//main//h2")] == [
        "What cannot be claimed", "What it learned from", "What was measured", "Seen besides",
    ]  # fmt: skip
    said = words(page.xpath("//main")[0])
    assert said.index("measured on no patient") < said.index(MANIFEST["provenance"]["training_data"])
    assert said.index(MANIFEST["card"]["held_out"]) < said.index(MANIFEST["card"]["figures"][0]["name"])
    rows = [[words(cell) for cell in row] for row in page.xpath("//main//tbody/tr")]
    assert rows == [
        [f["name"], f"{f['value']:.3f}", f"{f['low']:.3f} to {f['high']:.3f}", f"{f['n']} {f['unit']}"]
        for f in MANIFEST["card"]["figures"]
    ]
    assert [words(item) for item in page.xpath("//section[h2='Seen besides']//li")] == MANIFEST["card"]["remarks"]
    assert page.xpath("//h1//*[contains(@class, 'tag-demonstration')]")


@pytest.mark.parametrize("study", MADE, ids=lambda made: made.__name__)
def test_every_study_says_demonstration_and_leads_to_the_card(
    site: Site, desk: Desk, radiologist: Browser, study: Any
) -> None:
    on_record(desk, MANIFEST)
    page = tree(radiologist, f"/study/{study(site)}")
    assert words(page.xpath("//h1//*[contains(@class, 'tag-demonstration')]")[0]) == "demonstration"
    assert DEMONSTRATION in words(page)
    (folded,) = page.xpath("//details[contains(@class, 'card-folded')]")
    assert not folded.get("open")
    said = words(folded)
    assert said.index("measured on no patient") < said.index("Learned from") < said.index("Measured on")
    assert "exam AUC" in said
    assert "slice AUC" not in said, "the whole table is on the page of the card"
    assert folded.xpath(".//a/@href") == [PAGE]


def test_the_operations_page_leads_to_the_card_of_the_bundle_in_use(desk: Desk, administrator: Browser) -> None:
    on_record(desk, MANIFEST)
    section = tree(administrator, "/operations").xpath("//section[h2='Model bundle']")[0]
    assert PAGE in section.xpath(".//a/@href")
    assert "measured on no patient" in words(section)


def test_a_study_of_a_trained_bundle_is_not_marked(site: Site, desk: Desk, radiologist: Browser) -> None:
    origin = {**MANIFEST["provenance"], "synthetic": False, "demonstration": False, "training_data": "patients"}
    on_record(desk, {**MANIFEST, "provenance": origin})
    page = tree(radiologist, f"/study/{suspected(site)}")
    assert page.xpath("//*[contains(@class, 'tag-demonstration')]") == []
    assert "DEMONSTRATION" not in words(page)
    said = words(page.xpath("//details[contains(@class, 'card-folded')]")[0])
    assert "At another site" in said
    assert "must not take part in care" not in said


def test_what_a_card_says_is_text_and_no_markup(site: Site, desk: Desk, radiologist: Browser) -> None:
    script = "<script>alert(1)</script>"
    figure = {**MANIFEST["card"]["figures"][0], "name": script, "unit": script, "method": script}
    card = {"held_out": script, "figures": [figure], "remarks": [script]}
    origin = {**MANIFEST["provenance"], "training_data": script, "protocol": script}
    on_record(desk, {**MANIFEST, "card": card, "provenance": origin, "intended_input": script})
    for path in (PAGE, f"/study/{suspected(site)}", "/operations"):
        text = radiologist.get(path).text
        assert script not in text, path
        assert "&lt;script&gt;alert(1)" in text, path


def test_a_card_that_cannot_be_read_claims_nothing(site: Site, desk: Desk, radiologist: Browser) -> None:
    on_record(desk, {"provenance": {"demonstration": True}, "card": {"said": "in the words of a later release"}})
    assert "nothing can be claimed for it here" in words(tree(radiologist, PAGE))
    page = tree(radiologist, f"/study/{suspected(site)}")
    assert "nothing can be claimed for it here" in words(page)
    assert page.xpath("//h1//*[contains(@class, 'tag-demonstration')]"), (
        "that it is a demonstration is read all the same"
    )


def test_a_bundle_that_nobody_put_on_record_has_no_page(radiologist: Browser) -> None:
    assert radiologist.get(PAGE).status_code == 404
    assert radiologist.get("/bundle/nonsense").status_code == 422
