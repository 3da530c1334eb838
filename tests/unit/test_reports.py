"""A report of made-up predictions: what stands in it, and that it needs nothing beside it."""

import json
from dataclasses import fields, replace
from pathlib import Path

import cv2
import lxml.html
import numpy as np
import pytest

from trainer.experiment.predictions import Predictions
from trainer.experiment.protocol import load_experiment
from trainer.measures.paired import Anova
from trainer.reports.compare import across, compared, labels_of
from trainer.reports.content import Cost, ExperimentResult, NetResult, PartCount, Picture, plain
from trainer.reports.judge import judge, subtype_matrix
from trainer.reports.page import write_report
from triage.inference.manifest import OUTPUTS

NAN = float("nan")


def predictions(seed: int, studies: int = 12, slices: int = 6, classes: tuple[str, ...] = OUTPUTS) -> Predictions:
    """Studies of which every second bleeds in two slices, with one subtype each; the net is often right."""
    rng = np.random.default_rng(seed)
    truths = np.random.default_rng(0)
    n, c = studies * slices, len(classes)
    study = np.repeat([f"s{i:02d}" for i in range(studies)], slices)
    bleeds = np.tile(np.isin(np.arange(slices), (2, 3)), studies) & np.repeat(np.arange(studies) % 2 == 0, slices)
    subtype = np.repeat(truths.integers(1, 6, studies), slices)
    label = np.zeros((n, c), dtype=np.int8)
    label[bleeds, 0] = 1
    if c > 1:
        label[bleeds, subtype[bleeds]] = 1
    true = label.astype(np.int64) * 800
    overlap = (true * rng.uniform(0.3, 1.0, (n, 1))).astype(np.int64)
    return Predictions(
        classes=np.array(classes),
        row=np.arange(n, dtype=np.int64),
        patient=np.char.replace(study, "s", "p"),
        study=study,
        position_mm=np.tile(np.arange(slices) * 5.0, studies).astype(np.float32),
        fold=np.full(n, -1, dtype=np.int32),
        probability=np.clip(0.2 + 0.6 * label + rng.normal(0, 0.2, (n, c)), 0.01, 0.99).astype(np.float32),
        label=label,
        study_label=np.full((n, c), -1, dtype=np.int8),
        drawn=np.ones(n, dtype=bool),
        true_px=true,
        marked_px=overlap + 20 * (rng.random((n, c)) < 0.1),
        overlap_px=overlap,
        surface_mm=np.where(overlap > 0, 1.5, NAN).astype(np.float32),
        pixel_mm=np.ones(n, dtype=np.float32),
        extent_mm=np.full(n, 5.0, dtype=np.float32),
    )


def experiment(name: str = "ihsnet", *, parts: tuple[str, ...] = ("validation", "test")) -> ExperimentResult:
    protocol = load_experiment(name)
    classes = OUTPUTS if protocol.classes == "subtypes" else ("any",)
    image = cv2.imencode(".png", np.arange(256, dtype=np.uint8).reshape(16, 16))[1].tobytes()
    nets = tuple(
        NetResult(
            spec.name,
            Cost(26_679_774, 19.8, 98.0, 1234.0, "one core"),
            {part: predictions(3 * i + j, classes=classes) for j, part in enumerate(parts)},
            {"fold 0": [{"loss": 1.0 / (e + 1), "validation_loss": 1.2 / (e + 1)} for e in range(5)]},
            (Picture(image, f"worst of {spec.name} <b>"),),
        )
        for i, spec in enumerate(protocol.nets)
    )
    facts = {"data set": "phantom & <made>", "seed": "4"}
    split = (PartCount("train", 40, 900, 120), PartCount("test", 12, 72, 12))
    return ExperimentResult(name, protocol, facts, split, ("Patient 51 tests.",), nets, synthetic=True)


def test_the_page_stands_alone_and_says_what_it_is(tmp_path: Path) -> None:
    page = write_report(tmp_path, [experiment()])
    text = page.read_text(encoding="utf-8")
    tree = lxml.html.fromstring(text)
    said = " ".join(tree.text_content().split())
    for sentence in (
        "Synthetic data.",
        "As published. This protocol keeps the paper's defects",
        "SMOTE on pixels",
        "Patient 51 tests.",
        "phantom & <made>",
        "worst of munet <b>",
        "gives an accuracy of 97.18% [90.2%, 99.7%], n = 71; the paper says 98.71%",
        "Patient 51 is in a training list and in a test list",
        "26,679,774",
    ):
        assert sentence in said, sentence
    assert "No locked test." not in said
    links = [value for _, attribute, value, _ in tree.iterlinks() if not value.startswith(("data:", "#"))]
    assert not links
    assert not tree.xpath("//script")
    assert len(tree.xpath("//svg")) >= 2 * 3 + 2 + 2
    assert len(tree.xpath("//figure/img")) == 2


def test_every_cell_of_the_paper_has_ours_beside_it_or_says_why_not(tmp_path: Path) -> None:
    judged = judge(experiment())
    assert len(judged.beside) == len(judged.paper.cells) if judged.paper else False
    for row in judged.beside:
        assert (row.ours is None) == bool(row.why)
    dice = next(r for r in judged.beside if (r.table, r.net, r.measure, r.of) == ("Table 7", "munet", "Dice", "IPH"))
    assert dice.printed == 0.80
    assert dice.ours is not None
    assert dice.ours.low <= dice.ours.value <= dice.ours.high
    alone = judge(replace(experiment(), nets=experiment().nets[:1]))
    assert {r.why for r in alone.beside if r.net == "munet_flat"} == {"net not trained here"}


def test_json_holds_every_figure_and_no_number_that_json_cannot(tmp_path: Path) -> None:
    write_report(tmp_path, [experiment()])
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    (found,) = report["experiments"]
    assert report["across"] is None
    munet = found["nets"][0]
    assert munet["cost"]["parameters"] == 26_679_774
    names = {(m["name"], m["of"], m["level"]) for m in munet["parts"]["test"]}
    assert {("Dice", "any", "slice"), ("AUC", "any", "scan"), ("ICC(2,1) of volume", "any", "scan")} <= names
    assert "NaN" not in (tmp_path / "report.json").read_text(encoding="utf-8")
    assert found["comparisons"][0]["paired"][0]["first"] == "munet"
    assert found["paper"]["recomputed"]


def test_the_same_experiment_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_report(tmp_path / name, [experiment()]).read_bytes() for name in ("a", "b"))
    assert first == second


def test_an_honest_protocol_beside_the_published_one_is_one_page(tmp_path: Path) -> None:
    page = write_report(tmp_path, [experiment("light"), experiment("light-honest", parts=("validation",))])
    said = " ".join(lxml.html.fromstring(page.read_text(encoding="utf-8")).text_content().split())
    assert said.count("As published. This protocol") == 1
    assert "No locked test." in said
    assert len(json.loads((tmp_path / "report.json").read_text())["experiments"]) == 2


def test_subtypes_are_confused_only_among_slices_that_show_exactly_one() -> None:
    some = predictions(1)
    matrix = subtype_matrix(some)
    assert matrix is not None
    assert matrix.table.sum() == 12
    several = some.label.copy()
    several[several[:, 0] == 1, 1:3] = 1
    assert subtype_matrix(replace(some, label=several)) is None
    assert subtype_matrix(predictions(1, classes=("any",))) is None


def test_nets_are_compared_only_on_the_same_slices() -> None:
    result = experiment(parts=("test",))
    assert len(judge(result).comparisons) == 1
    other = replace(predictions(1), row=np.arange(72, dtype=np.int64) + 5)
    nets = (result.nets[0], replace(result.nets[1], parts={"test": other}))
    assert judge(replace(result, nets=nets)).comparisons == ()


def test_classifiers_are_compared_by_right_answers() -> None:
    result = experiment("denseunet", parts=("test",))
    silent = {
        net.name: replace(
            net.parts["test"], drawn=np.zeros(72, dtype=bool), marked_px=np.zeros((72, 1), dtype=np.int64)
        )
        for net in result.nets
    }
    nets = tuple(replace(net, parts={"test": silent[net.name]}) for net in result.nets)
    (comparison,) = judge(replace(result, nets=nets)).comparisons
    assert comparison.value == "right answers per slice"
    assert comparison.anova_of_batches is None
    assert len(comparison.paired) == 15
    assert comparison.anova is not None
    assert 0 <= comparison.anova.p <= 1


@pytest.mark.parametrize("part", ["test", "validation"])
def test_curves_stand_for_each_part(tmp_path: Path, part: str) -> None:
    text = write_report(tmp_path, [experiment(parts=(part,))]).read_text(encoding="utf-8")
    tree = lxml.html.fromstring(text)
    titles = [" ".join(plot.text_content().split()) for plot in tree.xpath("//svg")]
    for curve in ("ROC", "precision and recall", "reliability"):
        assert any(curve in title and f"any blood, {part}" in title for title in titles)
    assert f"volume per scan, {part}" in text


def test_a_batch_with_a_false_outline_is_no_batch_that_is_right() -> None:
    """Where only a net marks something its Dice is 0; where neither it nor the truth does, it is 1."""
    some = predictions(1, classes=("any",))
    empty = some.label[:, 0] == 0
    silent = replace(some, marked_px=np.where(empty[:, None], 0, some.marked_px))
    loud = replace(some, marked_px=np.where(empty[:, None], 9, some.marked_px))
    found = compared("test", {"silent": (silent, 0.5), "loud": (loud, 0.5)}, 1)
    assert found is not None
    assert found.value == "Dice per slice with true blood"
    assert found.anova is not None
    assert found.anova.p == pytest.approx(1.0), "on slices with blood they say the same"
    assert found.anova_of_batches is not None
    assert found.anova_of_batches.n == 2 * 9
    assert found.anova_of_batches.p < 1e-6


def test_nets_are_paired_slice_by_slice_whatever_their_order() -> None:
    some = predictions(1, classes=("any",))
    order = np.random.default_rng(3).permutation(len(some))
    turned = replace(some, **{f.name: getattr(some, f.name)[order] for f in fields(some) if f.name != "classes"})
    found = compared("test", {"one": (some, 0.5), "same": (turned, 0.5)}, 1)
    assert found is not None
    (pair,) = found.paired
    assert (pair.difference.value, pair.difference.low, pair.difference.high, pair.p) == (0.0, 0.0, 0.0, 1.0)


def test_few_slices_are_compared_without_batches_and_none_not_at_all() -> None:
    def first(count: int) -> Predictions:
        some = predictions(1, classes=("any",))
        return replace(some, **{f.name: getattr(some, f.name)[:count] for f in fields(some) if f.name != "classes"})

    few = compared("test", {"a": (first(6), 0.5), "b": (first(6), 0.5)}, 1)
    assert few is not None
    assert few.anova_of_batches is None
    assert few.paired[0].entries == 2
    assert compared("test", {"a": (first(1), 0.5), "b": (first(1), 0.5)}, 1) is None


def test_a_net_that_only_outlines_is_right_where_it_marks_blood_or_rightly_nothing() -> None:
    some = predictions(1, classes=("any",))
    nothing = np.zeros_like(some.marked_px)
    outlines = replace(some, probability=np.full_like(some.probability, NAN), marked_px=some.label.astype(np.int64))
    labels = replace(some, probability=some.label.astype(np.float32), drawn=nothing[:, 0] > 0, marked_px=nothing)
    found = compared("test", {"outlines": (outlines, 0.5), "labels": (labels, 0.5)}, 1)
    assert found is not None
    assert found.value == "right answers per slice"
    assert found.paired[0].difference.value == 0.0
    assert found.anova == Anova(0.0, 1.0, 2, 2 * len(some), "slices")


def test_experiments_are_compared_only_on_the_same_slices_of_the_same_cache() -> None:
    one = replace(experiment(parts=("test",)), digests={"test": "a"})
    other = replace(one, name="other", digests={"test": "b"})
    elsewhere = replace(
        one,
        nets=tuple(replace(net, parts={"test": replace(net.parts["test"], row=np.arange(72) + 1)}) for net in one.nets),
    )
    alone = replace(one, nets=tuple(replace(net, parts={"validation": net.parts["test"]}) for net in one.nets))
    assert across([one]) is None
    same = across([one, replace(one, name="again")])
    assert same is not None
    assert same.reasons == ()
    assert len(same.comparisons[0].paired) == 6
    for others, reason in (
        (other, "test: the experiments used different caches, so none of their slices are the same."),
        (elsewhere, "test: the experiments put different slices into this part, so nothing is paired."),
        (alone, "test: only ihsnet (1) has this part."),
    ):
        found = across([one, others])
        assert found is not None
        assert found.comparisons == ()
        assert reason in found.reasons
    assert labels_of([one, other, one]) == ["ihsnet (1)", "other", "ihsnet (2)"]


def test_a_cell_is_answered_by_the_part_that_the_paper_names() -> None:
    both = judge(experiment("dunet"))
    assert {row.table: row.part for row in both.beside} == {"Table 1": "validation", "Test": "test"}
    validated = judge(experiment("dunet", parts=("validation",)))
    assert {row.why for row in validated.beside if row.table == "Test"} == {"no test part here"}
    assert all(row.ours is not None for row in validated.beside if row.table == "Table 1")


def test_what_is_not_known_is_no_number(tmp_path: Path) -> None:
    result = experiment("dunet")
    bare = replace(
        result,
        split=(PartCount("training", None, 9, 3),),
        nets=tuple(replace(net, cost=Cost(), gallery=()) for net in result.nets),
    )
    page = write_report(tmp_path, [bare])
    tree = lxml.html.fromstring(page.read_text(encoding="utf-8"))
    rows = [[cell.text_content() for cell in row] for row in tree.xpath("//tr")]
    assert ["training", "not known", "9", "3"] in rows
    assert ["d_unet", "–", "–", "–", "–", ""] in rows
    assert plain({"a": [NAN, float("inf"), 1.5]}) == {"a": [None, None, 1.5]}


def test_checkpoints_stand_epoch_by_epoch_under_the_names_of_what_was_measured(tmp_path: Path) -> None:
    result = experiment("dunet", parts=("validation",))
    said = predictions(1, classes=("any",))
    mute = replace(said, probability=np.full_like(said.probability, NAN))
    nets = tuple(replace(net, checkpoints={100: said, 200: mute}) for net in result.nets)
    tree = lxml.html.fromstring(write_report(tmp_path, [replace(result, nets=nets)]).read_text(encoding="utf-8"))
    table = tree.xpath("//h3[text()='d_unet epoch by epoch']/following::table[1]")[0]
    head, first, second = ([cell.text_content() for cell in row] for row in table.xpath(".//tr"))
    assert head[0] == "epoch"
    assert sorted(head[1:]) == ["AUC", "Dice", "Dice, empty counted", "IoU, empty counted"]
    assert (first[0], second[0]) == ("100", "200")
    assert second[head.index("AUC")] == "–"
    assert first[head.index("Dice")] == second[head.index("Dice")] != "–"


def test_a_figure_without_smote_is_no_neighbour_of_one_with_it() -> None:
    published, honest = judge(experiment("ihsnet")), judge(experiment("ihsnet-honest"))
    whys = {(row.net, row.note): row.why for row in published.beside if row.table == "Table 8" and row.net == "munet"}
    assert whys == {("munet", "without SMOTE"): "trained with SMOTE here"}
    for judged in (published, honest):
        answered = [row for row in judged.beside if row.ours is not None]
        assert any(row.table == "Table 7" for row in answered)
        assert all(row.ours is None or row.net in ("munet", "munet_flat") for row in answered)
    assert all(row.ours is not None for row in honest.beside if row.note == "without SMOTE")


def test_an_external_set_beside_made_heads_is_told_apart(tmp_path: Path) -> None:
    result = experiment("dunet", parts=("test", "cq500"))
    result = replace(result, digests={"validation": "a", "test": "a", "cq500": "b"})
    page = write_report(tmp_path, [result])
    said = " ".join(lxml.html.fromstring(page.read_text(encoding="utf-8")).text_content().split())
    assert "Whether cq500 was too stands below; nothing else here says how a network does on patients." in said
    assert "cq500: per slice" in said
