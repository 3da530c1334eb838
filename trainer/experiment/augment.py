"""Random changes of training slices, on the device that trains."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

from trainer.experiment.protocol import AugmentSpec


def augment(image: Tensor, mask: Tensor, spec: AugmentSpec, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Change every slice on its own; what comes in from outside is the lowest value, and no blood.

    Parameters
    ----------
    image : Tensor of float32, shape (slice, channel, row, column)
        0 to 1.
    mask : Tensor of uint8, shape (slice, row, column)
        May be empty.
    random : torch.Generator
        On the device of the image.
    """
    if spec == AugmentSpec():
        return image, mask
    count = len(image)

    def evenly(limit: float) -> Tensor:
        return (torch.rand(count, generator=random, device=image.device) * 2.0 - 1.0) * limit

    if spec.flip:
        turned = torch.rand(count, generator=random, device=image.device) < 0.5
        image = torch.where(turned[:, None, None, None], image.flip(-1), image)
        if mask.numel():
            mask = torch.where(turned[:, None, None], mask.flip(-1), mask)
    if spec.rotation_deg or spec.shift or spec.shear_deg or spec.zoom:
        theta = _affine(evenly, spec)
        grid = F.affine_grid(theta, [count, 1, *image.shape[2:]], align_corners=False)
        image = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        if mask.numel():
            # Subtypes are names, not amounts: nearest, never in between.
            moved = F.grid_sample(
                mask[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
            )
            mask = moved[:, 0].round().to(torch.uint8)
    if spec.brightness:
        image = image + evenly(spec.brightness)[:, None, None, None]
    if spec.noise:
        grain = torch.randn(image.shape, generator=random, device=image.device)
        image = image + evenly(spec.noise).abs()[:, None, None, None] * grain
    return image.clamp(0.0, 1.0), mask


def _affine(evenly: Callable[[float], Tensor], spec: AugmentSpec) -> Tensor:
    """One 2x3 matrix per slice in the coordinates of `torch.nn.functional.affine_grid`: -1 to 1, (column, row)."""
    angle, shear = evenly(math.radians(spec.rotation_deg)), torch.tan(evenly(math.radians(spec.shear_deg)))
    zoom = 1.0 / (1.0 + evenly(spec.zoom))
    # A shift is a share of the side, and the side is 2 long here.
    right, down = 2.0 * evenly(spec.shift), 2.0 * evenly(spec.shift)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [torch.stack([cos, cos * shear - sin, right], dim=1), torch.stack([sin, sin * shear + cos, down], dim=1)]
    return torch.stack(rows, dim=1)
