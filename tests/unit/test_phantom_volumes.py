"""How large and dense made bleeds are drawn: the published tables by normal score."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.phantom.volumes import PUBLISHED, SCORES, SUBTYPE_COUNTS, core_hu_at, measured_hu_at, volume_at
from triage.domain.finding import SUBTYPES, Subtype


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_drawn_volumes_have_the_published_quantiles(subtype: Subtype) -> None:
    drawn = [volume_at(subtype, score) for score in np.random.default_rng(1).standard_normal(20_000)]
    assert np.quantile(drawn, (0.05, 0.25, 0.5, 0.75, 0.95)) == pytest.approx(PUBLISHED[subtype].volume_ml, rel=0.1)


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_volumes_grow_with_the_score_and_are_never_out_of_this_world(subtype: Subtype) -> None:
    volumes = [volume_at(subtype, score) for score in np.linspace(-6, 6, 200)]
    assert (np.diff(volumes) >= 0).all()
    assert volumes[0] > 0.05
    assert volumes[-1] < 200


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_hu_has_the_published_quantiles(subtype: Subtype) -> None:
    drawn = [measured_hu_at(subtype, score) for score in np.random.default_rng(2).standard_normal(20_000)]
    assert np.quantile(drawn, (0.05, 0.5, 0.95)) == pytest.approx(PUBLISHED[subtype].hu, rel=0.02)


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_a_core_is_at_least_as_dense_as_what_partial_volume_leaves_of_it(subtype: Subtype) -> None:
    assert all(core_hu_at(subtype, score) >= measured_hu_at(subtype, score) for score in SCORES)


def test_three_heads_in_four_have_several_subtypes() -> None:
    assert sum(SUBTYPE_COUNTS) == pytest.approx(1)
    assert 1 - SUBTYPE_COUNTS[0] == pytest.approx(0.74, abs=0.005)
