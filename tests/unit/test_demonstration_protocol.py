import re
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.ablation.run import EXAM_SEEDS
from trainer.demonstration.evaluate import calibration_orders, held_out_orders
from trainer.demonstration.protocol import FitSpec, load_protocol
from trainer.demonstration.stream import block_orders
from trainer.judge.held_out import judged_orders
from trainer.protocol_files import shipped_protocols
from triage.entrypoints.app import shipped_bundle
from triage.inference.bundle import load_bundle

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


@pytest.mark.parametrize("name", shipped_protocols("protocols"))
def test_a_protocol_has_the_name_of_its_file_and_says_what_comes_of_it(name: str) -> None:
    plan = load_protocol(name)
    assert plan.name == name
    assert plan.bundle_name == ("demo" if name.startswith("demo") else name)


def test_each_part_of_the_demo_begins_from_the_part_before() -> None:
    parts = [load_protocol(name) for name in ("demo", "demo_second", "demo_third", "demo_fourth")]
    made = [f"{part.bundle_name} {part.version}" for part in parts]
    assert [part.begins_from for part in parts] == ["", *made[:-1]]
    assert len({part.seed for part in parts}) == len(parts)


def test_a_part_may_leave_the_nets_as_they_are() -> None:
    plan = load_protocol("demo_fourth")
    assert plan.data.blocks == plan.slice_classifier.steps == plan.munet.steps == 0
    for change in ({"munet": replace(plan.munet, steps=16)}, {"data": replace(plan.data, blocks=16)}):
        with pytest.raises(ValueError, match="steps do not divide by"):
            replace(plan, **change)
    with pytest.raises(ValueError, match="without blocks nothing is learned"):
        replace(plan, begins_from="")


def test_unknown_names_and_files_are_refused() -> None:
    with pytest.raises(ValueError, match="no protocol 'nothing'"):
        load_protocol("nothing")


@pytest.mark.parametrize(
    ("line", "new", "said"),
    [
        ("flip =", "flop = 0.5", r"augment\.flop"),
        ("batch = 16", "batch = 1", "batches of 2"),
        ("crop =", "crop = [220, 192]", "divide by 32"),
        ("[munet]", "[munet", "no TOML"),
        ("steps =", "steps = 4841", "4841 steps do not divide by"),
        ("blocks =", "blocks = 0", "one of the 0 blocks"),
        ("kept =", "kept = 0", "1 or more"),
        ("blocks =", "blocks = -1", "one of the -1 blocks"),
        ("template_first =", "template_first = 999", r"one of the \d+ blocks, not 999"),
        ("reads =", 'reads = "scan"', r"slice_classifier\.reads"),
        ("[data]", "late_from = 2.0\n[data]", "share of the steps"),
        ("seed =", "seed = 1", "seed is 10 to 89999, not 1: the same heads"),
        ("procedural_stacks =", "procedural_stacks = 2980", r"1000 blocks of 3000 stacks"),
        ("crop =", "crop = [288, 192]", r"a crop of \(288, 192\) is larger than 256"),
        ("crop =", "crop = [224, 0]", "divide by 32"),
        ("whole_from =", "whole_from = 85", "whole_from is a share, 0 to 1, not 85"),
        ("learning_rate =", "learning_rate = 0", "learning_rate is above 0"),
        ("gate_range =", "gate_range = [0.5, 0.01]", "gate_range ascends"),
        ("gate_share =", "gate_share = -1.0", "gate_share, emergent_ml"),
        ("test_template =", "test_template = -1", "numbers of exams are 0 or more"),
    ],
)
def test_faults_are_named(tmp_path: Path, line: str, new: str, said: str) -> None:
    """The first line that begins so is replaced."""
    text, found = re.subn(rf"^{re.escape(line)}.*$", new, SHIPPED.read_text(encoding="utf-8"), count=1, flags=re.M)
    assert found
    broken = tmp_path / "broken.toml"
    broken.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load_protocol(str(broken))


def test_what_is_no_text_is_no_protocol(tmp_path: Path) -> None:
    (tmp_path / "picture.toml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match=r"picture\.toml is no TOML"):
        load_protocol(str(tmp_path / "picture.toml"))


def test_a_fit_takes_no_less_than_no_step() -> None:
    with pytest.raises(ValueError, match="steps are 0 or more"):
        FitSpec("munet", -1, 8, 1e-3, 0.0, 0.1, (64, 64), 0.9)


@pytest.mark.parametrize("seed", [10, load_protocol("demo").seed, 89_999])
def test_no_head_serves_two_purposes(seed: int) -> None:
    """A stack's generator is seeded with (seed, number), which for number 0 is that of an exam of the same seed."""
    plan, bundle = replace(load_protocol("demo"), seed=seed), load_bundle(shipped_bundle())
    blocks = [(seed, block) for block in range(plan.data.blocks)] + [(seed + 1, 0)]
    ablation = EXAM_SEEDS + 10 * seed
    numbers = [
        [task.seed for one, block in blocks for task in block_orders(plan.data, one, block, None, plan.preprocessing)],
        [exam.seed for exam in calibration_orders(bundle, plan, None)],
        [exam.seed for exam in held_out_orders(bundle, plan, None)],
        [exam.seed for exam in judged_orders(1000, None, None, bundle.path)],
        list(range(ablation, ablation + plan.exams.test_template + plan.exams.test_procedural)),
    ]
    together = [number for some in numbers for number in some]
    assert len(set(together)) == len(together)
