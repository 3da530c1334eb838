"""The two anatomy sources: which of them a head is made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.procedural import procedural_anatomy


def anatomy_for(folder: Path | None, rng: np.random.Generator) -> Anatomy:
    """The template in ``folder``, or a newly drawn procedural anatomy where there is none.

    Raises
    ------
    FileNotFoundError, ValueError
        As `trainer.phantom.template.template_anatomy`.
    """
    if folder is None:
        return procedural_anatomy(rng)
    from trainer.phantom.template import template_anatomy  # needs nibabel and scipy, which a demo has not

    return template_anatomy(folder)
