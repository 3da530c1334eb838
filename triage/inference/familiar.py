"""A head unlike those that the nets learned from: what the classifier itself sees in it lies far from all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode


def exam_distance(distances: NDArray[np.floating]) -> float:
    """How unfamiliar a scan is: the mean of the middle half of its slices, so that a few odd ones decide nothing.

    Parameters
    ----------
    distances : ndarray of float, shape (slice,)
        What the classifier gives as ``distance``, a value per slice or slab: about 1 for slices as it learned from.

    Returns
    -------
    float
        NaN where a slice has none: a net that gives no number there says nothing that can be trusted elsewhere.
    """
    ordered = np.sort(np.asarray(distances, dtype=np.float64))
    aside = len(ordered) // 4
    middle = ordered[aside : len(ordered) - aside]
    return float("nan") if np.isnan(ordered).any() else float(middle.mean())


def check_familiar(distances: NDArray[np.floating], limit: float) -> None:
    """Refuse a scan that is unlike all that the nets learned from.

    Parameters
    ----------
    distances : ndarray of float, shape (slice,)
        As in `exam_distance`.
    limit : float
        Largest distance of a familiar scan, ``familiar_within`` of the bundle.

    Raises
    ------
    UnusableSeries
        ``out_of_distribution``, with the distance and its limit.
    """
    distance = exam_distance(distances)
    if not distance <= limit:
        measured = f"its distance is {distance:.2f}" if np.isfinite(distance) else "it cannot even be measured"
        raise UnusableSeries(
            ReasonCode.OUT_OF_DISTRIBUTION,
            f"Looks unlike all heads that the model learned from: {measured}, and at most {limit:.2f} is familiar.",
        )
