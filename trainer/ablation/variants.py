"""What is compared: the protocol as it is, and with one thing taken away or changed."""

from __future__ import annotations

import math
from dataclasses import replace

from trainer.demonstration.protocol import FitSpec, Protocol
from trainer.phantom.ingredients import Ingredient

EVERYTHING = "everything"
COARSE_MM = 1.6
"""Pixels of all variants but one: less than half the work, and the differences say nearly the same."""


def variants(plan: Protocol) -> dict[str, Protocol]:
    """The protocol under each name: `EVERYTHING`, on coarse pixels, first; on its own pixels last.

    Raises
    ------
    ValueError
        Its pixels are no finer than `COARSE_MM`, it leaves something out by itself, or a net reads no neighbours.
    """
    if plan.preprocessing.pixel_mm >= COARSE_MM:
        raise ValueError(f"an ablation compares with pixels of {COARSE_MM:g} mm: the protocol must have finer ones")
    if plan.data.without or {plan.slice_classifier.reads, plan.munet.reads} != {"neighbours"}:
        raise ValueError("an ablation starts from everything: nothing left out, and nets that read neighbours")
    whole = _coarser(plan)
    found = {EVERYTHING: whole}
    for ingredient in Ingredient:
        name = f"without {ingredient.value.replace('_', ' ')}"
        found[name] = replace(whole, data=replace(whole.data, without=(ingredient.value,)))
    alone = {name: replace(getattr(whole, name), reads="slice") for name in ("slice_classifier", "munet")}
    found["without neighbours"] = replace(whole, **alone)
    return {**found, "finer pixels": plan}


def of_seed(plan: Protocol, number: int) -> Protocol:
    """The protocol with its seed moved on by ``number``: other heads, other weights at the start."""
    return replace(plan, seed=plan.seed + number)


def _coarser(plan: Protocol) -> Protocol:
    """The same field of view on pixels of `COARSE_MM`, sides rounded up to what the nets take."""
    raster = plan.preprocessing

    def side(pixels: int) -> int:
        return math.ceil(pixels * raster.pixel_mm / COARSE_MM / 32) * 32

    def narrowed(spec: FitSpec) -> FitSpec:
        return replace(spec, crop=(side(spec.crop[0]), side(spec.crop[1])))

    return replace(
        plan,
        preprocessing=replace(raster, size=side(raster.size), pixel_mm=COARSE_MM),
        slice_classifier=narrowed(plan.slice_classifier),
        munet=narrowed(plan.munet),
    )
