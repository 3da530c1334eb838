import json
from pathlib import Path
from typing import Any

import pytest

from tests.small_protocols import small_protocol
from trainer.experiment.grid import combinations, search, with_value
from trainer.experiment.protocol import ExperimentProtocol, FitSpec
from trainer.experiment.ranks import Ranks
from trainer.experiment.reached import Reached

GRID = {"optimiser.learning_rate": (1e-4, 1e-3), "fit.batch": (4.0, 8.0), "input.clahe": (0.0,)}


def test_every_combination_is_a_protocol_of_its_own() -> None:
    tried = list(combinations(small_protocol(grid=GRID)))
    assert len(tried) == 4
    assert {(plan.optimiser.learning_rate, plan.fit.batch) for _, plan in tried} == {
        (1e-4, 4),
        (1e-4, 8),
        (1e-3, 4),
        (1e-3, 8),
    }
    assert all(isinstance(plan.fit.batch, int) for _, plan in tried)
    assert all(plan.split == small_protocol().split for _, plan in tried)


@pytest.mark.parametrize(("key", "value"), [("fit.nonsense", 1.0), ("nonsense.batch", 1.0), ("fit.batch", 0.0)])
def test_what_cannot_be_searched_is_said(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"grid: .*{key}"):
        with_value(small_protocol(), key, value)


@pytest.mark.parametrize(("monitor", "figure", "chosen"), [
    ("loss", "validation_loss", 1e-4), ("dice", "validation_dice", 1e-3), ("dice", "loss", 1e-4),
], ids=["loss", "dice", "no validation part"])  # fmt: skip
def test_the_best_wins_by_the_figure_that_there_is(tmp_path: Path, monitor: Any, figure: str, chosen: float) -> None:
    protocol = small_protocol(
        grid={"optimiser.learning_rate": (1e-4, 1e-3, 1e-2)}, fit=FitSpec(epochs=1, batch=4, monitor=monitor)
    )
    figures = {1e-4: 0.2, 1e-3: 0.9, 1e-2: float("-inf") if figure == "validation_dice" else float("inf")}
    folders: list[str] = []

    def attempt(plan: ExperimentProtocol, folder: Path) -> Reached:
        folders.append(str(folder.relative_to(tmp_path)))
        return Reached(figure, figures[plan.optimiser.learning_rate])

    told: list[str] = []
    best = search(protocol, tmp_path / "net", attempt, told.append, Ranks())
    assert best.optimiser.learning_rate == chosen
    assert folders == ["net/grid/0", "net/grid/1", "net/grid/2"]
    content = json.loads((tmp_path / "net" / "grid.json").read_text())
    assert (content["figure"], content["chosen"]) == (figure, {"optimiser.learning_rate": chosen})
    assert len(content["tried"]) == 3
    assert "optimiser.learning_rate 0.0001: 0.2000" in told[0]


def test_of_several_ranks_the_first_alone_writes_what_all_of_them_choose(tmp_path: Path) -> None:
    protocol = small_protocol(grid={"optimiser.learning_rate": (1e-4, 1e-3)})

    def attempt(plan: ExperimentProtocol, folder: Path) -> Reached:
        return Reached("validation_loss", plan.optimiser.learning_rate)

    for rank, writes in ((1, False), (0, True)):
        best = search(protocol, tmp_path / "net", attempt, lambda line: None, Ranks(rank, 2))
        assert best.optimiser.learning_rate == 1e-4
        assert (tmp_path / "net" / "grid.json").is_file() is writes
