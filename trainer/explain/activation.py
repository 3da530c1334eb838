"""Where in a slice a classifier saw blood: its own map where it pools one, Grad-CAM where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

MAP, GRAD_CAM = "the map that the net pools", "Grad-CAM"


def activation_method(net: nn.Module) -> str:
    """``MAP`` for nets that offer ``evidence``, see `trainer.nets.evidence`; else ``GRAD_CAM``."""
    return MAP if hasattr(net, "evidence") else GRAD_CAM


def class_activation(net: nn.Module, image: Tensor, place: int = 0, column: int = 0) -> NDArray[np.float32]:
    """How much each pixel speaks for a class, 0 to 1.

    Parameters
    ----------
    net : nn.Module
        A classifier of the registry in evaluation mode, without `trainer.experiment.answers.Answering` around it.
    image : Tensor, float32, shape (slice, channel, row, column)
        Of a net that reads scans, the whole scan.
    place, column : int
        Which slice of them, and which class.

    Returns
    -------
    ndarray of float32, shape (row, column)
        Probabilities of the net's own map; or Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391), whose highest
        value is 1 and which is all 0 where nothing speaks for the class.
    """
    if activation_method(net) == MAP:
        with torch.inference_mode():
            evidence = net.evidence(image)  # type: ignore[operator]  # torch types attributes as tensors
        heat = torch.sigmoid(evidence[place, column])
    else:
        heat = _grad_cam(net, image, place, column)
    full = F.interpolate(heat[None, None].float(), size=image.shape[2:], mode="bilinear", align_corners=False)
    return np.asarray(full[0, 0].cpu().numpy(), np.float32)


def _grad_cam(net: nn.Module, image: Tensor, place: int, column: int) -> Tensor:
    """Channels of the last activation with rows and columns that the logit rests on, weighed by what moves it."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            seen.append(output)

    hooks = [module.register_forward_hook(keep) for module in net.modules()]
    try:
        with torch.enable_grad():
            out = net(image)
    finally:
        for hook in hooks:
            hook.remove()
    logits = out[1] if isinstance(out, tuple) else out
    # Masks of a net that gives both come last and move no label.
    slopes = torch.autograd.grad(logits[place, column], seen, allow_unused=True) if seen else ()
    used = [(slope, layer) for slope, layer in zip(slopes, seen, strict=True) if slope is not None]
    if not used:
        raise ValueError("the net has no activation with rows and columns, so there is nothing to show")
    slope, layer = used[-1]
    weight = slope[place].mean(dim=(1, 2), keepdim=True)
    heat = torch.relu((weight * layer.detach()[place]).sum(dim=0))
    highest = heat.max()
    return heat / highest if highest > 0 else heat
