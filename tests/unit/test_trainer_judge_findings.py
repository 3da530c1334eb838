import json

import pytest

from trainer.judge.findings import Row, Section, as_json, at_least, at_most, markdown
from triage.inference.manifest import Figure

BUNDLE = {"name": "demo", "version": "3", "digest": "abc"}


def figure(value: float, name: str = "exam AUC") -> Figure:
    return Figure(name, value, value - 0.1, value + 0.1, 20, "exams")


def test_a_limit_itself_is_met() -> None:
    assert at_least(figure(0.95), 0.95).met is True
    assert at_least(figure(0.949), 0.95).met is False
    assert at_most(figure(4.0), 4).met is True
    assert at_most(figure(5.0), 4).met is False


def test_a_row_with_half_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="both what was wanted"):
        Row(figure(0.9), wanted="at least 0.9")
    with pytest.raises(ValueError, match="both what was wanted"):
        Row(figure(0.9), met=True)


def test_what_is_not_met_stands_first() -> None:
    rows = (at_least(figure(0.9, "the AUC"), 0.95), at_most(figure(0.5, "the loss"), 1.0), Row(figure(0.3, "for show")))
    text = markdown(BUNDLE, [Section("Heads", rows, ("A remark.",), ({"seed": 3, "score": 0.25, "why": None},))])
    assert "1 of 2 limits are met." in text
    assert text.index("**not met**: the AUC: 0.900, wanted at least 0.95") < text.index("## Heads")
    assert "| the AUC | 0.900 [0.800, 1.000] | 20 exams | at least 0.95 | **no** |" in text
    assert "| for show | 0.300 [0.200, 0.400] | 20 exams |  |  |" in text
    assert "- A remark." in text
    assert "| 3 | 0.250 |  |" in text


def test_many_cases_are_left_to_the_json() -> None:
    cases = tuple({"seed": seed} for seed in range(41))
    section = Section("Heads", (), (), cases)
    assert "| seed |" not in markdown(BUNDLE, [section])
    assert len(json.loads(as_json(BUNDLE, [section]))["sections"][0]["cases"]) == 41


def test_the_json_says_the_same() -> None:
    content = json.loads(as_json(BUNDLE, [Section("Heads", (at_least(figure(0.9), 0.95),))]))
    row = content["sections"][0]["rows"][0]
    assert content["bundle"] == BUNDLE
    assert (row["figure"]["value"], row["figure"]["n"], row["wanted"], row["met"]) == (0.9, 20, "at least 0.95", False)
