import pytest
import torch

from trainer.demonstration.losses import (
    classifier_loss,
    dice,
    evidence_targets,
    focal_loss,
    mask_loss,
    munet_loss,
    slice_targets,
)
from trainer.nets.munet import MUNet
from trainer.nets.slice_classifier import SliceClassifier


def labels_with(*patches: tuple[int, int, int], size: int = 32) -> torch.Tensor:
    """One slice with squares (label, corner, side)."""
    labels = torch.zeros(1, size, size, dtype=torch.int64)
    for label, corner, side in patches:
        labels[0, corner : corner + side, corner : corner + side] = label
    return labels


def answer(labels: torch.Tensor, sureness: float) -> torch.Tensor:
    """Logits that name every pixel with this sureness."""
    return torch.nn.functional.one_hot(labels, 6).movedim(-1, 1).float() * sureness


def test_slice_targets_name_any_and_subtypes_from_twelve_pixels_on() -> None:
    labels = torch.cat([labels_with((2, 0, 4), (5, 8, 3)), labels_with((1, 0, 3)), labels_with()])
    assert slice_targets(labels).tolist() == [
        [1, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_small_spots_of_two_subtypes_can_make_any_blood() -> None:
    assert slice_targets(labels_with((1, 0, 3), (3, 8, 3))).tolist() == [[1, 0, 0, 0, 0, 0]]


def test_mask_loss_falls_as_the_mask_becomes_right() -> None:
    labels = labels_with((2, 4, 8), (5, 20, 6))
    right, unsure = mask_loss(answer(labels, 12.0), labels), mask_loss(answer(labels, 1.0), labels)
    wrong = mask_loss(answer(torch.zeros_like(labels), 12.0), labels)
    assert right < 0.01 < unsure < wrong


def test_mask_loss_charges_false_blood_on_an_empty_slice() -> None:
    empty = labels_with()
    marked = labels_with((1, 4, 12))
    assert mask_loss(answer(marked, 8.0), empty) > mask_loss(answer(empty, 8.0), empty) + 0.5


def test_dice_is_of_each_first_index_and_one_where_both_are_empty() -> None:
    truth, shares = torch.zeros(3, 100), torch.zeros(3, 100)
    truth[:2, :40] = shares[0, :40] = shares[1, 20:50] = 1
    assert dice(shares, truth).tolist() == pytest.approx([1.0, 41 / 71, 1.0])
    assert float(dice(torch.ones(1, 99), torch.zeros(1, 99))) == pytest.approx(0.01)


def test_a_thin_layer_on_one_slice_counts_beside_a_large_clot_on_another() -> None:
    labels = torch.cat([labels_with((2, 4, 24)), labels_with((5, 4, 4))])
    silent = labels.clone()
    silent[1] = 0
    right = mask_loss(answer(labels, 12.0), labels)
    assert mask_loss(answer(silent, 12.0), labels) > right + 0.5


def test_focal_loss_forgives_easy_answers() -> None:
    target = torch.ones(1, 1)
    easy, hard = torch.full((1, 1), 3.0), torch.full((1, 1), -1.0)
    plain = torch.nn.functional.binary_cross_entropy_with_logits
    assert focal_loss(easy, target) / plain(easy, target) < 0.01
    assert focal_loss(hard, target) / plain(hard, target) > 0.4
    torch.testing.assert_close(focal_loss(hard, target, gamma=0.0), plain(hard, target))


def test_evidence_targets_are_places_of_which_a_quarter_is_blood() -> None:
    labels = labels_with()
    labels[0, 0:2, 0:2] = 3
    labels[0, 8, 8:11] = 3
    places = evidence_targets(labels, 8)
    assert places.shape == (1, 6, 8, 8)
    assert places[0, 0].sum() == places[0, 3].sum() == 1
    assert places[0, 3, 0, 0] == 1
    assert places[0, 1].sum() == 0


@pytest.mark.parametrize("architecture", ["munet", "slice_classifier"])
def test_every_parameter_learns(architecture: str) -> None:
    torch.manual_seed(1)
    image, labels = torch.rand(2, 3, 64, 64), torch.cat([labels_with((1, 8, 20), size=64), labels_with(size=64)])
    if architecture == "munet":
        munet = MUNet((8, 8, 16, 16, 32), hidden=16, dropout=0.0)
        munet_loss(munet, image, labels).backward()
        parameters = list(munet.named_parameters())
    else:
        classifier = SliceClassifier((8, 8, 16, 16), pyramid=8)
        classifier_loss(classifier, image, labels).backward()
        parameters = list(classifier.named_parameters())
    assert [name for name, p in parameters if p.grad is None or not torch.isfinite(p.grad).all()] == []
