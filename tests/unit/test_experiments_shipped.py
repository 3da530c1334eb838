"""The protocols that ship: each reads, and says what its paper says."""

import pytest

from trainer.experiment.named_split import load_named_split
from trainer.experiment.protocol import load_experiment, shipped_experiments
from trainer.papers.paper import PAPERS, load_paper


@pytest.mark.parametrize("name", shipped_experiments())
def test_a_shipped_protocol_reads_and_knows_its_paper(name: str) -> None:
    protocol = load_experiment(name)
    assert protocol.name == name
    assert load_paper(protocol.paper).key == protocol.paper
    assert protocol.variant == ("honest" if name.endswith("-honest") else "as_published")
    assert "phantom" in protocol.datasets  # so that anybody can try it without a download
    if protocol.split.named:
        load_named_split(protocol.split.named)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_paper_has_its_protocol_and_an_honest_one_beside_it(paper: str) -> None:
    published, honest = load_experiment(paper), load_experiment(f"{paper}-honest")
    assert published.remarks, "what the paper leaves open is said"
    assert published.nets[0].name == honest.nets[0].name
    assert honest.split.unit == "patient"
    assert honest.split.select == "all"
    assert honest.split.folds >= 5
    assert honest.split.test > 0
    assert honest.balance.kind in ("none", "sampler", "paste")
    assert not honest.input.clahe
    compared = {cell.net for cell in load_paper(paper).cells}
    assert compared <= {net.name for net in published.nets}


def test_numbers_of_the_papers() -> None:
    dunet, liu, light, ihsnet, dense = (load_experiment(n) for n in ("dunet", "liu", "light", "ihsnet", "denseunet"))
    assert (dunet.split.folds, dunet.fit.epochs, dunet.fit.checkpoint_every, dunet.fit.batch) == (10, 1000, 100, 32)
    assert dunet.input.bone_removal
    assert (liu.fit.batch, liu.optimiser.learning_rate, liu.optimiser.drop) == (8, 1e-3, 0.32)
    assert (light.input.size, light.fit.batch, light.fit.epochs, light.balance.kind) == (512, 8, 40, "replicate")
    assert (ihsnet.fit.epochs, ihsnet.fit.batch, ihsnet.optimiser.learning_rate) == (60, 32, 1e-4)
    assert ihsnet.balance.kind == "smote_pixel"
    assert ihsnet.fit.freeze_at > 0
    assert (dense.fit.epochs, dense.fit.batch, dense.optimiser.learning_rate) == (50, 32, 1e-3)
    assert dense.grid


def test_the_lists_of_ihsnet_ship_with_their_defects() -> None:
    lists = load_named_split("ihsnet_table3")
    assert {"51"} == set(lists.train) & set(lists.test)
    assert "90" not in (*lists.train, *lists.test)
    assert any("Patient 51" in defect for defect in lists.defects)
    assert any("Patient 90" in defect for defect in lists.defects)
    assert any("Patient 70" in defect for defect in lists.defects)
