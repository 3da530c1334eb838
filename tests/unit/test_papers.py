"""The papers' own arithmetic, done again."""

import pytest

from trainer.papers.paper import PAPERS, load_paper, recomputed


@pytest.mark.parametrize("key", PAPERS)
def test_every_paper_has_its_tables_and_its_contradictions(key: str) -> None:
    paper = load_paper(key)
    assert paper.key == key
    assert paper.cells
    assert paper.contradictions
    assert all(cell.value > 0 for cell in paper.cells)
    assert len({(c.table, c.net, c.measure, c.of, c.level, c.note) for c in paper.cells}) == len(paper.cells)


def test_the_matrix_of_denseunet_gives_another_accuracy_than_its_table() -> None:
    paper = load_paper("denseunet")
    matrix = paper.matrices[0].matrix
    assert matrix.accuracy.value == pytest.approx(0.9428, abs=5e-5)
    assert matrix.accuracy.n == 1066
    assert matrix.sensitivity("haemorrhage").value == pytest.approx(0.938, abs=5e-4)
    assert matrix.precision("haemorrhage").value == pytest.approx(0.947, abs=5e-4)
    assert matrix.f1("haemorrhage") == pytest.approx(0.9425, abs=5e-5)
    assert "94.28% [92.7%, 95.6%], n = 1066; the paper says 93.80%" in recomputed(paper)[0]


def test_table_9_of_ihsnet_gives_another_accuracy_than_its_text() -> None:
    paper = load_paper("ihsnet")
    matrix = paper.matrices[0].matrix
    assert matrix.accuracy.value == pytest.approx(69 / 71)
    assert f"{matrix.accuracy.value:.2%}" == "97.18%"
    table = {(c.measure, c.of): c.value for c in paper.cells if c.table == "Table 9"}
    for name in matrix.classes:
        assert round(matrix.sensitivity(name).value, 2) == pytest.approx(table["sensitivity", name])
        assert round(matrix.precision(name).value, 2) == pytest.approx(table["precision", name])
        assert round(matrix.f1(name), 2) == pytest.approx(table["F1", name])
    lucky = matrix.sensitivity("SAH")
    assert (lucky.value, lucky.n, round(lucky.low, 2)) == (1.0, 4, 0.40)


def test_printed_dice_and_iou_cannot_both_be_means_over_the_same_pictures() -> None:
    cells = {(c.measure, c.of): c.value for c in load_paper("ihsnet").cells if c.table == "Table 7"}
    impossible = {
        of
        for (measure, of), iou in cells.items()
        if measure == "IoU" and cells["Dice", of] > 2 * iou / (1 + iou) + 0.01
    }
    assert impossible == {"SAH", "EDH"}


def test_the_slices_of_the_light_unet_give_what_its_text_rounds() -> None:
    matrix = load_paper("light").matrices[0].matrix
    assert matrix.sensitivity("haemorrhage").value == pytest.approx(0.886, abs=5e-4)
    assert matrix.precision("haemorrhage").value == pytest.approx(0.504, abs=5e-4)
    assert matrix.sensitivity("none").value == pytest.approx(0.858, abs=5e-4)
    assert matrix.accuracy.value == pytest.approx(0.862, abs=5e-4)
    assert "the paper prints none" in recomputed(load_paper("light"))[0]


def test_the_anova_of_the_mri_study_is_over_batches() -> None:
    anova = load_paper("liu").anova
    assert anova is not None
    assert anova.recomputed(64).p == pytest.approx(anova.claimed_p, abs=5e-5)
    assert anova.recomputed(anova.images).p == pytest.approx(0.65, abs=5e-3)
    assert "so its values are batches" in recomputed(load_paper("liu"))[0]


def test_an_unknown_paper_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="there are no tables of a paper 'x'; there are denseunet, light"):
        load_paper("x")
