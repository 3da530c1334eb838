"""What a training reached, as grids and folds are chosen by it."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.experiment.protocol import FitSpec
from trainer.experiment.reached import Reached, reached

HISTORY: list[dict[str, Any]] = [
    {"loss": 0.9, "validation_loss": 0.8, "validation_dice": 0.2, "validation_auc": None},
    {"loss": 0.5, "validation_loss": 0.3, "validation_dice": 0.7, "validation_auc": None},
    {"loss": 0.1, "validation_loss": 0.6, "validation_dice": 0.4, "validation_auc": None},
]
WITHOUT_VALIDATION = [{"loss": epoch["loss"]} for epoch in HISTORY]
INFINITE = float("inf")


@pytest.mark.parametrize(("monitor", "keep", "expected"), [
    ("loss", "best", Reached("validation_loss", 0.3)), ("loss", "last", Reached("validation_loss", 0.6)),
    ("dice", "best", Reached("validation_dice", 0.7)), ("dice", "last", Reached("validation_dice", 0.4)),
    ("auc", "best", Reached("validation_auc", -INFINITE)),
])  # fmt: skip
def test_the_epoch_counts_whose_weights_are_kept(monitor: Any, keep: Any, expected: Reached) -> None:
    assert reached(HISTORY, FitSpec(3, 4, monitor=monitor, keep=keep)) == expected


@pytest.mark.parametrize("monitor", ["loss", "dice", "auc"])
def test_without_a_validation_part_the_training_loss_speaks(monitor: Any) -> None:
    assert reached(WITHOUT_VALIDATION, FitSpec(3, 4, monitor=monitor)) == Reached("loss", 0.1)
    assert reached(WITHOUT_VALIDATION[:2], FitSpec(3, 4, monitor=monitor, keep="last")) == Reached("loss", 0.5)
    assert reached([], FitSpec(3, 4, monitor=monitor)) == Reached("loss", INFINITE)


def test_less_loss_and_more_dice_are_better() -> None:
    assert Reached("loss", 0.1).cost < Reached("loss", 0.2).cost < Reached("loss", INFINITE).cost
    assert Reached("validation_dice", 0.2).cost < Reached("validation_dice", 0.1).cost
    assert Reached("validation_auc", -INFINITE).cost == INFINITE
