import numpy as np
import pytest

from trainer.measures.bootstrap import Clusters
from trainer.measures.figures import drawn, proportion
from trainer.measures.weighted import auc_of, mean_of

SEED = 3


def test_a_share_has_its_exact_interval() -> None:
    found = proportion("sensitivity", 9, 10, "exams")
    assert (found.value, found.n) == (0.9, 10)
    assert found.low == pytest.approx(0.555, abs=1e-3)
    assert found.high == pytest.approx(0.9975, abs=1e-3)


def test_clusters_are_drawn_as_one() -> None:
    values = np.repeat([0.0, 1.0], 50)
    [alone] = drawn("mean", mean_of(values), "slices", SEED)
    [together] = drawn("mean", mean_of(values), "slices", SEED, Clusters(np.repeat([0, 1], 50), 2, "slices"))
    assert (alone.n, together.n) == (100, 2)
    assert alone.high - alone.low < 0.25
    assert (together.low, together.high) == (0.0, 1.0)


def test_no_figure_of_one_class() -> None:
    assert drawn("AUC", auc_of(np.array([0.1, 0.2]), np.array([True, True])), "exams", SEED) == []
