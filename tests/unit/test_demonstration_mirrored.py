"""The mean of what a net says of a slice and of its mirror image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.small_protocols import NARROW
from trainer.demonstration.mirrored import Mirrored
from trainer.nets.registry import build_net


@pytest.mark.parametrize("name", ["munet", "slice_classifier"])
def test_a_slice_and_its_mirror_image_get_one_answer(name: str) -> None:
    torch.manual_seed(3)
    net = build_net(name, NARROW[name], in_channels=3).eval()
    shown = torch.rand(4, 3, 32, 32)
    with torch.inference_mode():
        straight, turned = net(shown), net(shown.flip(3))
        both, other = Mirrored(net)(shown), Mirrored(net)(shown.flip(3))
    if isinstance(both, Tensor):
        torch.testing.assert_close(both, (straight + turned) / 2)
        torch.testing.assert_close(both, other)
        return
    masks, labels = both
    torch.testing.assert_close(masks, (straight[0] + turned[0].flip(3)) / 2)
    torch.testing.assert_close(labels, (straight[1] + turned[1]) / 2)
    torch.testing.assert_close(masks, other[0].flip(3))
    assert not torch.allclose(masks, straight[0], atol=1e-4), "a net that were its own mirror image would prove nothing"
