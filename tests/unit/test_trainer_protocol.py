from pathlib import Path

import pytest

from trainer.protocol import FitSpec, load_protocol

SHIPPED = Path(__file__).parents[2] / "trainer" / "protocols" / "demo.toml"


def test_the_demo_protocol_is_found_by_name_and_by_path() -> None:
    assert load_protocol("demo") == load_protocol(str(SHIPPED))


def test_the_demo_protocol_says_synthetic_and_fits_the_daemon() -> None:
    plan = load_protocol("demo")
    assert "SYNTHETIC" in plan.training_data
    assert plan.preprocessing.size == 256
    assert plan.preprocessing.pixel_mm == 1.0
    assert len(plan.preprocessing.windows) == 3


def test_a_fifth_of_the_heads_are_procedural_so_that_the_demo_is_recognised() -> None:
    data = load_protocol("demo").data
    procedural = data.procedural_stacks * (data.blocks - data.template_first)
    assert 0.1 <= procedural / (data.blocks * (data.procedural_stacks + data.template_stacks)) <= 0.35


def test_unknown_names_and_files_are_refused() -> None:
    with pytest.raises(ValueError, match="no protocol 'nothing'"):
        load_protocol("nothing")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("flip = 0.5", "flop = 0.5", r"augment\.flop"),
        ("batch = 16", "batch = 1", "batches of 2"),
        ("crop = [224, 192]", "crop = [220, 192]", "divide by 32"),
        ("[munet]", "[munet", "no TOML"),
        ("steps = 4840", "steps = 4841", "do not divide by 44 blocks"),
        ("blocks = 44", "blocks = 0", "one of the 0 blocks"),
        ("kept = 20", "kept = 0", "1 or more"),
        ("template_first = 22", "template_first = 45", "one of the 44 blocks, not 45"),
        ("batch = 25", "batch = 24", "a batch of 24 is not made of runs of 5"),
        ("slices = 5", "slices = 1", "slice_classifier reads neighbours"),
        ("[data]", "late_from = 2.0\n[data]", "share of the steps"),
    ],
)
def test_faults_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text(SHIPPED.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load_protocol(str(broken))


def test_a_fit_needs_at_least_one_step() -> None:
    with pytest.raises(ValueError, match="1 step"):
        FitSpec("munet", 0, 8, 1e-3, 0.0, 0.1, (64, 64), 0.9)
