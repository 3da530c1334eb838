import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from trainer.experiment.answers import Answer, Answering, answer, blood_shares, label_shares
from trainer.experiment.losses import ExperimentLoss
from trainer.experiment.protocol import LossSpec
from trainer.nets.munet import MUNet

NOTHING = torch.zeros(0)


def drawn_masks(count: int = 3, size: int = 16, *, unknown: bool = False) -> Tensor:
    torch.manual_seed(5)
    masks = torch.randint(0, 6, (count, size, size), dtype=torch.uint8)
    masks[torch.rand(masks.shape) < 0.7] = 0
    if unknown:
        masks[masks == 2] = 6
    return masks


def mask_loss(name: str, logits: Tensor, masks: Tensor, drawn: Tensor | None = None) -> Tensor:
    everywhere = torch.ones(len(masks), dtype=torch.bool) if drawn is None else drawn
    return ExperimentLoss(LossSpec(mask=name)).mask_loss(logits, masks, everywhere)  # type: ignore[arg-type]


def test_binary_losses_are_those_of_monai() -> None:
    masks, logits = drawn_masks(), torch.randn(3, 1, 16, 16)
    truth = (masks > 0)[:, None].float()
    both = {"sigmoid": True, "smooth_nr": 1.0, "smooth_dr": 1.0, "batch": True}
    torch.testing.assert_close(mask_loss("bce_dice", logits, masks), DiceCELoss(**both)(logits, truth))
    torch.testing.assert_close(mask_loss("dice_ce", logits, masks), DiceCELoss(**both)(logits, truth))
    torch.testing.assert_close(mask_loss("dice_focal", logits, masks), DiceFocalLoss(**both)(logits, truth))


def test_losses_of_subtypes_are_those_of_monai() -> None:
    masks, logits = drawn_masks(), torch.randn(3, 6, 16, 16)
    reference = DiceCELoss(
        softmax=True, to_onehot_y=True, include_background=False, smooth_nr=1.0, smooth_dr=1.0, batch=True
    )
    torch.testing.assert_close(mask_loss("dice_ce", logits, masks), reference(logits, masks[:, None].long()))


@pytest.mark.parametrize("name", ["dice", "bce_dice", "dice_ce", "dice_focal"])
@pytest.mark.parametrize("classes", [1, 6])
def test_a_slice_that_nobody_drew_costs_nothing(name: str, classes: int) -> None:
    masks, logits = drawn_masks(), torch.randn(3, classes, 16, 16, requires_grad=True)
    drawn = torch.tensor([True, False, True])
    loss = mask_loss(name, logits, masks, drawn)
    loss.backward()
    assert logits.grad is not None
    assert float(logits.grad[1].abs().sum()) == 0.0
    assert float(logits.grad[[0, 2]].abs().sum()) > 0.0
    torch.testing.assert_close(loss, mask_loss(name, logits[drawn], masks[drawn]))
    nothing = mask_loss(name, logits, masks, torch.zeros(3, dtype=torch.bool))
    assert float(nothing.detach()) == 0.0
    nothing.backward()


@pytest.mark.parametrize("name", ["dice", "dice_ce", "dice_focal"])
def test_blood_of_unknown_type_teaches_any_and_no_subtype(name: str) -> None:
    """Five subtypes that speak alike are pushed alike where only "blood" is known."""
    masks = torch.full((1, 8, 8), 6, dtype=torch.uint8)
    logits = torch.zeros(1, 6, 8, 8, requires_grad=True)
    mask_loss(name, logits, masks).backward()
    assert logits.grad is not None
    pushed = -logits.grad.sum(dim=(0, 2, 3))
    assert float(pushed[0]) < 0.0
    torch.testing.assert_close(pushed[1:], pushed[1:].mean().expand(5))
    if name != "dice_focal":
        assert float(pushed[1]) > 0.0


def test_cross_entropy_of_unknown_blood_is_that_of_the_sum() -> None:
    masks, logits = drawn_masks(unknown=True), torch.randn(3, 6, 16, 16)
    shares = torch.softmax(logits, dim=1)
    expected = 0.0
    for index in range(3):
        for row in range(16):
            for column in range(16):
                kind, share = int(masks[index, row, column]), shares[index, :, row, column]
                expected -= float(torch.log(share[1:].sum() if kind == 6 else share[kind]))
    whole = float(mask_loss("dice_ce", logits, masks) - mask_loss("dice", logits, masks))
    assert whole == pytest.approx(expected / masks.numel(), rel=1e-4)


def test_binary_masks_know_no_types() -> None:
    known, unknown = drawn_masks(), drawn_masks(unknown=True)
    logits = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(mask_loss("dice_ce", logits, known), mask_loss("dice_ce", logits, unknown))


@pytest.mark.parametrize("name", ["bce", "focal"])
def test_labels_that_are_unknown_cost_nothing(name: str) -> None:
    loss = ExperimentLoss(LossSpec(label=name))  # type: ignore[arg-type]
    labels = torch.tensor([[1, 1, 0, -1, -1, 0], [-1, -1, -1, -1, -1, -1]], dtype=torch.int8)
    logits = torch.randn(2, 6, requires_grad=True)
    loss.label_loss(logits, labels).backward()
    assert logits.grad is not None
    assert ((logits.grad != 0) == (labels >= 0)).all()
    assert float(loss.label_loss(logits, torch.full_like(labels, -1)).detach()) == 0.0


def test_focal_loss_of_gamma_zero_is_the_plain_one() -> None:
    labels = torch.randint(0, 2, (4, 6)).to(torch.int8)
    logits = torch.randn(4, 6)
    focal = ExperimentLoss(LossSpec(label="focal", gamma=0.0)).label_loss(logits, labels)
    torch.testing.assert_close(focal, F.binary_cross_entropy_with_logits(logits, labels.float()))


def test_one_softmax_over_the_subtypes_as_published() -> None:
    loss = ExperimentLoss(LossSpec(label="cross_entropy"))
    logits = torch.randn(2, 6)
    labels = torch.tensor([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=torch.int8)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], torch.tensor([1.0, 0.0])) + F.cross_entropy(
        logits[:1, 1:], torch.tensor([2])
    )
    torch.testing.assert_close(loss.label_loss(logits, labels), expected)
    shares = label_shares(logits, "softmax")
    torch.testing.assert_close(shares[:, 1:].sum(dim=1), torch.ones(2))
    torch.testing.assert_close(label_shares(logits, "sigmoid"), torch.sigmoid(logits))


def test_levels_are_supervised_when_asked() -> None:
    net = MUNet((8, 8, 16, 16, 32), in_channels=1, hidden=8)
    image, masks = torch.rand(2, 1, 32, 32), drawn_masks(2, 32)
    deep, plain = answer(Answering(net, deep=True).train(), image), answer(Answering(net).train(), image)
    assert [level.shape[-1] for level in deep.levels] == [2, 4, 8, 16]
    assert deep.masks is not None
    assert deep.masks.shape == (2, 6, 32, 32)
    assert plain.levels == ()
    loss = ExperimentLoss(LossSpec(mask="dice_ce", deep_supervision=True))
    everywhere, labels = torch.ones(2, dtype=torch.bool), torch.zeros(2, 6, dtype=torch.int8)
    whole = loss(deep, masks, everywhere, labels)
    alone = loss.mask_loss(deep.masks, masks, everywhere)
    parts = [loss.mask_loss(level, masks, everywhere) for level in deep.levels]
    expected = alone + 0.5 * parts[3] + 0.25 * parts[2] + 0.125 * parts[1] + 0.0625 * parts[0]
    torch.testing.assert_close(whole, expected)
    assert answer(Answering(net, deep=True).eval(), image).levels == ()


def test_what_cannot_be_learnt_is_said() -> None:
    with pytest.raises(ValueError, match="needs a net with levels"):
        Answering(nn.Conv2d(1, 1, 1), deep=True)
    with pytest.raises(ValueError, match="does not give"):
        ExperimentLoss(LossSpec(mask="dice"))(Answer(None, torch.zeros(1, 6)), NOTHING, NOTHING, NOTHING)


def test_shares_of_blood_name_any_first() -> None:
    logits = torch.zeros(1, 6, 1, 1)
    torch.testing.assert_close(blood_shares(logits)[0, :, 0, 0], torch.tensor([5 / 6] + [1 / 6] * 5))
    assert blood_shares(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 2, 2)
