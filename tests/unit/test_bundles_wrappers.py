"""One net of the registry as the two nets of the daemon: nothing is said that it was not taught."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.small_protocols import NARROW
from trainer.bundles.wrappers import NOTHING, served
from trainer.experiment.answers import Answering, answer, blood_shares, label_shares
from trainer.nets.registry import NETS, build_net

STRONGEST = 9


def built(name: str, channels: int, classes: int) -> nn.Module:
    torch.manual_seed(3)
    return build_net(name, NARROW[name], in_channels=channels, classes=classes).eval()


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("classes", [1, 6])
@pytest.mark.parametrize("name", NETS)
def test_every_net_gives_what_the_daemon_reads_of_a_bundle(name: str, classes: int) -> None:
    task, channels = NETS[name].task, 1 + classes % 3
    net = built(name, channels, classes)
    pair = served(net, task, channels, "sigmoid", STRONGEST)
    with torch.inference_mode():
        logits = pair.classifier(images())
        masks, slices = pair.segmenter(images())
        said = answer(Answering(net), images()[:, :channels])
    assert logits.shape == slices.shape == (4, 6)
    assert masks.shape == (4, 6, 32, 32)
    assert pair.outlines is (task in ("masks", "both"))
    if classes == 1:
        assert (logits[:, 1:] == NOTHING).all()
        assert (torch.softmax(masks, dim=1)[:, 2:] == 0).all()
    if said.labels is not None:
        torch.testing.assert_close(torch.sigmoid(logits[:, :classes]), label_shares(said.labels, "sigmoid"))
    shares = torch.softmax(masks, dim=1)
    if said.masks is None:
        assert (shares[:, 0] == 1).all()
    else:
        torch.testing.assert_close(1 - shares[:, 0], blood_shares(said.masks)[:, 0])
        torch.testing.assert_close(shares[:, 1:classes], blood_shares(said.masks)[:, 1:])


def test_subtypes_of_a_softmax_become_sigmoids_that_say_the_same() -> None:
    net = built("slice_classifier", 3, 6)
    with torch.inference_mode():
        logits = served(net, "labels", 3, "softmax", STRONGEST).classifier(images())
        expected = label_shares(net(images()), "softmax")
    torch.testing.assert_close(torch.sigmoid(logits), expected)


class Fixed(nn.Module):
    """Gives the same masks of whatever it sees."""

    def __init__(self, masks: Tensor) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, image: Tensor) -> Tensor:
        return self.masks


def test_a_slice_of_masks_alone_is_as_suspicious_as_its_strongest_pixels() -> None:
    masks = torch.full((1, 1, 8, 8), -5.0)
    masks[0, 0, 0, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    logits = served(Fixed(masks), "masks", 1, "sigmoid", 4).classifier(images(1))
    assert logits[0, 0] == 2.5
    assert (logits[0, 1:] == NOTHING).all()


def test_of_six_classes_any_blood_is_what_is_not_background() -> None:
    masks = torch.zeros(1, 6, 8, 8)
    masks[0, 2] = 2.0
    logits = served(Fixed(masks), "masks", 1, "sigmoid", 4).classifier(images(1))
    shares = torch.softmax(masks, dim=1)[0, :, 0, 0]
    torch.testing.assert_close(torch.sigmoid(logits[0, 0]), 1 - shares[0])
    torch.testing.assert_close(torch.sigmoid(logits[0, 1:]), shares[1:])


@pytest.mark.parametrize(("task", "outlines"), [("masks", True), ("labels", False)])
def test_of_a_net_that_gives_both_one_alone_can_be_served(task: str, outlines: bool) -> None:
    net = built("munet", 3, 1)
    pair = served(net, task, 3, "sigmoid", STRONGEST)  # type: ignore[arg-type]
    with torch.inference_mode():
        masks, labels = net(images())
        logits = pair.classifier(images())[:, 0]
    assert pair.outlines is outlines
    strongest = masks.flatten(1).topk(STRONGEST, dim=1).values.mean(dim=1)
    torch.testing.assert_close(logits, strongest if outlines else labels[:, 0])


def test_only_the_windows_that_the_net_was_taught_reach_it() -> None:
    net = built("d_unet", 2, 1)
    pair = served(net, "masks", 2, "sigmoid", STRONGEST)
    other = images()
    other[:, 2] = 0
    with torch.inference_mode():
        torch.testing.assert_close(pair.classifier(images()), pair.classifier(other))
        torch.testing.assert_close(pair.segmenter(images())[0], pair.segmenter(other)[0])


def test_more_windows_than_the_daemon_shows_are_refused() -> None:
    with pytest.raises(ValueError, match="the daemon shows three windows, and this net was trained with 4"):
        served(built("d_unet", 4, 1), "masks", 4, "sigmoid", STRONGEST)
