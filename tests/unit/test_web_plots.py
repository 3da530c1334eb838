"""Where plots put their rectangles."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.figures import OPENED_EDGES_MINUTES
from triage.web.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Plot, nice_top, paired_bars, percent, rates
from triage.web.statistics import opened_labels

SHARES = st.floats(0.0, 1.0)


def bars(filled: list[float], outlined: list[float]) -> Plot:
    labels = [str(number) for number in range(len(filled))]
    return paired_bars("p", "title", "text", labels, ("seen", filled), ("expected", outlined))


def test_a_bar_is_as_tall_as_its_share() -> None:
    plot = bars([0.5, 0.25], [0.0, 0.5])
    heights = {(one.kind, one.told): one.height for one in plot.rectangles}
    assert heights["filled", "0: seen 50.0 %"] == HEIGHT - BOTTOM - TOP
    assert heights["filled", "1: seen 25.0 %"] == (HEIGHT - BOTTOM - TOP) / 2
    assert heights["outlined", "0: expected 0.0 %"] == 0.0
    assert [label.text for label in plot.left] == ["0 %", "25 %", "50 %"]


@given(st.lists(st.tuples(SHARES, SHARES), max_size=40))
def test_nothing_is_drawn_outside_of_the_plot(values: list[tuple[float, float]]) -> None:
    plot = bars([one for one, _ in values], [other for _, other in values])
    for one in plot.rectangles:
        assert LEFT - 0.1 <= one.x <= one.x + one.width <= WIDTH - RIGHT + 0.1
        assert TOP - 0.1 <= one.y <= one.y + one.height <= HEIGHT - BOTTOM + 0.1


def test_labels_that_would_touch_are_left_out() -> None:
    plot = paired_bars("p", "t", "d", opened_labels(), ("a", [0.1] * 11), ("b", [0.1] * 11))
    xs = [label.x for label in plot.below]
    assert min(after - before for before, after in pairwise(xs)) > 80
    assert len(rates("p", "t", "d", [("2026-11-01", None, (0.0, 1.0), 0)] * 90).below) < 10


def test_a_day_without_studies_has_no_dot_and_one_with_some_has_an_interval() -> None:
    plot = rates("p", "t", "d", [("2026-11-01", None, (0.0, 1.0), 0), ("2026-11-02", 0.1, (0.05, 0.2), 40)])
    (whisker,) = plot.whiskers
    assert whisker.high_y < whisker.y < whisker.low_y
    assert whisker.told == "2026-11-02: 10.0 % of 40"
    assert plot.rectangles[0].height == 0.0
    assert rates("p", "t", "d", []).whiskers == []


@pytest.mark.parametrize(
    ("value", "top"), [(0.0, 0.05), (0.05, 0.05), (0.051, 0.1), (0.21, 0.25), (0.3, 0.5), (0.51, 1.0), (1.0, 1.0)]
)
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert nice_top(value) == pytest.approx(top)


@given(SHARES)
def test_an_axis_is_never_too_short(value: float) -> None:
    assert value <= nice_top(value) * (1 + 1e-9)


def test_every_bin_of_the_time_to_open_has_a_name() -> None:
    labels = opened_labels()
    assert len(labels) == len(OPENED_EDGES_MINUTES) - 1 == len(set(labels))
    assert labels[0] == "< 2 min"
    assert labels[-1] == "> 24 h"


def test_a_share_of_nothing_is_no_number() -> None:
    assert percent(None) == ""
    assert percent(0.1234) == "12.3 %"
