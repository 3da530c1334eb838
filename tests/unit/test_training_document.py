"""What docs/training.md and docs/model-card.md say of data sets, protocols and made heads is what the code says."""

from pathlib import Path

import click
import pytest

from trainer.datasets.registry import DATASETS
from trainer.demonstration.protocol import load_protocol
from trainer.experiment.protocol import load_experiment, shipped_experiments
from trainer.nets.munet import PAPER_WIDTHS
from trainer.phantom.command import phantom_command

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "training.md").read_text(encoding="utf-8")
MODEL_CARD = " ".join((DOCS / "model-card.md").read_text(encoding="utf-8").split())


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


@pytest.mark.parametrize("option", ["--reason", "--condition", "--without"])
def test_what_trainer_phantom_can_make_is_named(option: str) -> None:
    section = DOCUMENT.split("## Made heads")[1].split("\n## ")[0]
    (found,) = (one.type for one in phantom_command.params if option in one.opts)
    assert isinstance(found, click.Choice)
    assert [choice for choice in found.choices if f"`{choice}`" not in section.replace(f"{option} ", "`")] == []


def test_the_model_card_says_which_heads_the_demonstration_learns_from() -> None:
    data = load_protocol("demo").data
    assert (data.slices, 2 * data.template_first) == (10, data.blocks)
    assert "as stacks of ten slices: in the first half of the training all on an average CT template" in MODEL_CARD
    both = data.template_stacks + data.procedural_stacks
    assert f"in the second half {data.procedural_stacks} of {both} from formulas" in MODEL_CARD
    assert f"larger by {data.larger:g} standard deviations" in MODEL_CARD


def test_the_model_card_says_how_the_demonstration_decides() -> None:
    plan = load_protocol("demo").decision
    assert f"{100 * plan.gate_sensitivity:g} % of the slices with {plan.gate_area_mm2 / 100:g} cm2" in MODEL_CARD
    assert "within {:g} to {:g}".format(*plan.gate_range) in MODEL_CARD
    assert (plan.gate_share, plan.suspected, plan.emergent_sensitivity) == (0.25, 0.5, 0.5)
    assert "the mask counts four times as much as the classifier" in MODEL_CARD
    assert f"half of the exams with {plan.emergent_ml:g} ml or more are above it" in MODEL_CARD


def test_the_model_card_says_how_wide_the_nets_are() -> None:
    widths = load_protocol("demo").munet.options["widths"]
    shown = f"widths {widths[0]} to {widths[-1]} for the demonstration"
    assert shown in MODEL_CARD
    assert f"{PAPER_WIDTHS[0]} to {PAPER_WIDTHS[-1]} in the paper" in MODEL_CARD
