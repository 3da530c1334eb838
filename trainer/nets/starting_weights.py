"""Random weights to start from, for the nets whose libraries' default would make deep signals fade."""

from __future__ import annotations

import math

from torch import nn

RELU_POWER, ELU_POWER = 0.5, 0.645
"""Mean square of what the activation makes of a standard normal signal."""


def start_he(net: nn.Module, power: float = RELU_POWER) -> None:
    """Normal weights that keep the spread of the signal through rectifiers (He et al. 2015); biases 0.

    The default of torch shrinks the variance to a sixth at every rectified convolution, which a net without
    norms does not survive. The last layer is not set apart: its logits start near 0 with a spread of about 1.
    Drawn from torch's global generator, so ``torch.manual_seed`` before the build fixes them.

    Parameters
    ----------
    power : float
        ``RELU_POWER`` or ``ELU_POWER``, after what the net is activated by.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=math.sqrt(1.0 / (power * module.weight[0].numel())))
        elif isinstance(module, nn.ConvTranspose2d):
            # 2x2 at stride 2: each output pixel sees one tap of every input channel, and no rectifier follows.
            nn.init.normal_(module.weight, std=math.sqrt(1.0 / module.in_channels))
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
