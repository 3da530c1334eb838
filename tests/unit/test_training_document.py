"""What docs/training.md says of data sets and protocols is what the registries say."""

from pathlib import Path

import pytest

from trainer.datasets.registry import DATASETS
from trainer.experiment.protocol import load_experiment, shipped_experiments

DOCUMENT = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def rows_of(name: str) -> list[list[str]]:
    """Cells of every table row that begins with a name."""
    lines = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_stands_with_its_licence_source_and_layout(name: str) -> None:
    dataset = DATASETS[name]
    about, layout, size = rows_of(name)
    assert about[-1] == dataset.licence
    assert dataset.source in layout[1]
    assert layout[2] == dataset.expects
    assert all(size)


@pytest.mark.parametrize("name", shipped_experiments())
def test_a_protocol_stands_with_its_nets_and_its_cost(name: str) -> None:
    about, *costs = rows_of(name)
    nets = [net.name for net in load_experiment(name).nets]
    assert about[2] == ", ".join(f"`{net}`" for net in nets)
    assert [row[1].strip("`") for row in costs] == ([] if name == "ihsnet-lists" else nets)
