"""``trainer judge`` as a person gives it, on the shipped bundle."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trainer.cli import main

BUNDLE = Path(__file__).parents[2] / "triage" / "bundles" / "demo"


def judged(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["judge", *map(str, arguments)])


def test_the_shipped_bundle_on_figures_of_another_maker(shared_data: Path, tmp_path: Path) -> None:
    out, text = tmp_path / "judged.json", tmp_path / "judged.md"
    figures = shared_data / "insilico_ich"
    result = judged(BUNDLE, "--held-out", 0, "--insilico", figures, "--workers", 1, "--out", out, "--out", text)
    assert result.exit_code == 0, result.stderr or result.exception
    assert text.read_text() in result.stdout
    content = json.loads(out.read_text())
    (section,) = content["sections"]
    rows = {row["figure"]["name"]: row for row in section["rows"]}
    main_row = rows["mask score: AUC of 8 lesions of 50 HU and more against 5 without"]
    assert main_row["figure"]["n"] == 13
    assert main_row["figure"]["value"] >= 0.85
    yardstick = rows["yardstick: small head area instead of the score"]["figure"]["value"]
    assert yardstick == pytest.approx(0.6, abs=0.05)
    by_uid = {case["uid"]: case for case in section["cases"]}
    assert len(by_uid) == 16
    assert all(by_uid[uid]["covered"] > 0.5 for uid in (16, 25, 90)), "the three round clots are plain to see"
    assert content["bundle"]["name"] == "demo"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--held-out", "0"], "nothing to judge on"),
        (["--held-out", "1"], "one with blood and one without"),
        (["--held-out", "2", "--only", "template"], "--only template needs --anatomy"),
        (["--held-out", "0", "--out", "judged.txt"], "ends in .json or .md"),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_sentence(arguments: list[str], sentence: str) -> None:
    result = judged(BUNDLE, *arguments)
    assert result.exit_code == 1
    assert sentence in result.stderr
