"""What of a trained net the daemon can serve as it was trained, and in which words it says what differs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.datasets.cache import Cache
from trainer.experiment.inputs import input_channels
from trainer.experiment.protocol import ExperimentProtocol
from trainer.nets.registry import Task, entry_of
from triage.inference.preprocess import PreprocessSpec

SMALLEST_PIXEL_MM, LARGEST_PIXEL_MM = 0.1, 10.0
_SHORTEST_SLAB_MM, _LONGEST_SLAB_MM = 0.5, 20.0


@dataclass(frozen=True, slots=True)
class Serving:
    """How a net is served.

    Attributes
    ----------
    task : str
        What the net was trained to give, see `trainer.nets.registry.Task`: a net of masks and labels whose protocol
        weighs only one of them was taught nothing of the other.
    channels : int
        How many of the three windows the net reads.
    names_subtypes : bool
        Whether it was taught the types of blood.
    preprocessing : PreprocessSpec
        What the daemon shows it.
    remarks : tuple of str
        What differs from how it was trained, for the card.
    """

    task: Task
    channels: int
    names_subtypes: bool
    preprocessing: PreprocessSpec
    remarks: tuple[str, ...]


def serving_of(protocol: ExperimentProtocol, net: str, cache: Cache, given_mm: float | None = None) -> Serving:
    """How a net of a protocol can be served.

    Parameters
    ----------
    net : str
        Name in the registry.
    cache : Cache
        What it was trained on; says how large its pixels and how far apart its slices were.
    given_mm : float, or None
        Side of a pixel at the size of the net, where the data set does not say it.

    Raises
    ------
    ValueError
        The daemon cannot show it what it was trained on.
    """
    given, pictures = protocol.input, cache.spec.pictures
    if given.clahe or given.bone_removal:
        what = "with equalised contrast (input.clahe)" if given.clahe else "without bone (input.bone_removal)"
        raise ValueError(f"{net} was trained on slices {what}, and the daemon shows none so: train it without")
    windows = given.windows
    if pictures:
        if cache.spec.window is None:
            raise ValueError(
                f"nobody knows the window of the pictures of {cache.spec.dataset}: no scan can be shown so"
            )
        windows = (cache.spec.window,)
    channels = input_channels(given, pictures)
    if channels > 3:
        raise ValueError(f"the daemon shows three windows, and {net} was trained with {channels}")
    pixel_mm, pixel_remarks = _pixel_mm(protocol, cache, given_mm)
    slab_mm, thin_below_mm = _slabs(cache)
    remarks = [*pixel_remarks]
    if channels < 3:
        remarks.append(f"The net reads {channels} of the three windows, of which the others repeat the last.")
    if pictures:
        remarks.append("It was trained on pictures of 8 bits in one window; the daemon shows it that window of HU.")
    preprocessing = PreprocessSpec(
        size=given.size,
        pixel_mm=pixel_mm,
        windows=tuple((*windows, *(windows[-1:] * 3))[:3]),
        slab_mm=slab_mm,
        thin_below_mm=thin_below_mm,
    )
    return Serving(
        task=_taught(protocol, net),
        channels=channels,
        names_subtypes=protocol.classes == "subtypes",
        preprocessing=preprocessing,
        remarks=tuple(remarks),
    )


def _taught(protocol: ExperimentProtocol, net: str) -> Task:
    task = entry_of(net).task
    masks, labels = protocol.loss.mask != "none", protocol.loss.label != "none"
    if task == "both" and masks != labels:
        return "masks" if masks else "labels"
    return task


def _pixel_mm(protocol: ExperimentProtocol, cache: Cache, given_mm: float | None) -> tuple[float, list[str]]:
    """Side of a pixel of the daemon's raster, and what must be said about it."""
    sides = cache.table["pixel_mm"][cache.usable]
    known = sides[np.isfinite(sides)]
    if given_mm is not None and (known.size or cache.spec.geometry == "raster"):
        raise ValueError(f"{cache.spec.dataset} says how large its pixels are: leave --pixel-mm out")
    if cache.spec.geometry == "raster":
        return cache.spec.pixel_mm, []
    if given_mm is not None:
        if not SMALLEST_PIXEL_MM <= given_mm <= LARGEST_PIXEL_MM:
            raise ValueError(f"--pixel-mm lies in {SMALLEST_PIXEL_MM:g}..{LARGEST_PIXEL_MM:g}, not at {given_mm:g}")
        return given_mm, [f"Nobody measured how large its pixels were: {given_mm:g} mm was given at export."]
    if not known.size:
        raise ValueError(
            f"{cache.spec.dataset} does not say how large its pixels are, so the daemon cannot show heads at the size "
            "that the net has learnt: train on a cache of --geometry raster from a data set that says it, or give the "
            "side of a pixel at the size of the net as --pixel-mm"
        )
    median, low, high = (float(np.quantile(known, q)) for q in (0.5, 0.05, 0.95))
    pixel_mm = float(np.clip(round(median, 3), SMALLEST_PIXEL_MM, LARGEST_PIXEL_MM))
    remark = (
        f"It was trained on whole images shrunk to {protocol.input.size} pixels, whose sides were {low:.2f} to "
        f"{high:.2f} mm (5 to 95 %); the daemon shows every head at {pixel_mm:g} mm, the median."
    )
    return pixel_mm, [remark]


def _slabs(cache: Cache) -> tuple[float, float]:
    """Length of a slab and below which distance slices are averaged: slices as thin as trained on are left alone."""
    standard = PreprocessSpec()
    table = cache.table[cache.usable]
    same = np.diff(table["study"]) == 0
    apart = np.abs(np.diff(table["position_mm"])[same])
    # Without pixel sizes the positions are ranks, not mm.
    if not apart.size or not np.isfinite(table["pixel_mm"]).any():
        return standard.slab_mm, standard.thin_below_mm
    median = float(np.median(apart))
    if median >= standard.thin_below_mm:
        return standard.slab_mm, standard.thin_below_mm
    slab = float(np.clip(median, _SHORTEST_SLAB_MM, _LONGEST_SLAB_MM))
    return slab, 0.75 * slab
