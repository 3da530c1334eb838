from pathlib import Path

import numpy as np

from tests.caches import Made, cache_in_memory, written_cache
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, check_labels


def test_a_written_cache_opens_as_the_one_in_memory(tmp_path: Path) -> None:
    kept, held = written_cache(tmp_path / "cache", Made(unusable=3)), cache_in_memory(Made(unusable=3))
    assert kept.description == held.description
    assert len(kept.usable) == 8 * 6 - 3
    np.testing.assert_array_equal(kept.pixels, held.pixels)
    np.testing.assert_array_equal(kept.masks, held.masks)


def test_labels_and_masks_agree() -> None:
    cache = cache_in_memory()
    for row in cache.usable:
        check_labels(tuple(int(label) for label in cache.table["labels"][row]))
        shown = set(np.unique(cache.masks[row])) - {0}
        assert shown == {k for k in range(1, 6) if cache.table["labels"][row][k] == 1}
    assert {1, 2, 3, 4} == set(np.unique(cache.masks)) - {0}


def test_blood_of_unknown_type_leaves_subtypes_unknown() -> None:
    cache = cache_in_memory(Made(known_types=False))
    assert set(np.unique(cache.masks)) == {0, BLOOD_OF_UNKNOWN_TYPE}
    positive = cache.table["labels"][:, 0] == 1
    assert positive.any()
    assert (cache.table["labels"][positive][:, 1:] == -1).all()
