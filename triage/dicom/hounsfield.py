"""From stored values to Hounsfield units: rescale, padding, and the faults that real files carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from triage.dicom import tags
from triage.dicom.elements import Elements, RawDataset
from triage.dicom.header import functional_groups, macro
from triage.dicom.pixels import PixelFormat, Words
from triage.dicom.values import floats
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode

AIR_HU = -1024.0
"""What padding becomes, and the least value of a volume."""

PADDING_BELOW_HU = -900.0
"""Only values at or below this are believed to be padding inside the range that the bits can store: some
headers declare a value that is tissue (0 with an intercept of 0 is water)."""

WRAP_HU = 4096.0
WRAP_FROM_HU = 3000.0
WRAP_FRACTION = 0.01
"""More than this part of a volume above `WRAP_FROM_HU` cannot be metal."""

AIR_OR_TISSUE_FRACTION = 0.005

_OUTSIDE_SCAN_FIELD = 0.95


@dataclass(frozen=True, slots=True)
class Rescale:
    """Modality LUT of one frame: HU = slope x stored value + intercept (PS3.3 C.11.1)."""

    slope: float
    intercept: float


def rescales(raw: RawDataset, frames: int) -> list[Rescale]:
    """The rescale of each frame, from its functional groups, the shared ones, or the top level.

    Raises
    ------
    UnusableSeries
        ``not_original_hu`` when slope or intercept is missing, or the slope is not positive.
    """
    shared, per_frame = functional_groups(raw.elements)
    sequence = tags.PIXEL_VALUE_TRANSFORMATION_SEQUENCE
    common = macro(sequence, [shared]) or raw.elements
    if not per_frame:
        return [_rescale(common)] * frames
    return [_rescale(macro(sequence, [frame]) or common) for frame in per_frame]


def _rescale(place: Elements) -> Rescale:
    slope, intercept = floats(place, tags.RESCALE_SLOPE, 1), floats(place, tags.RESCALE_INTERCEPT, 1)
    if not slope or not intercept or slope[0] <= 0:
        raise UnusableSeries(ReasonCode.NOT_ORIGINAL_HU, "At least one image says no rescale to HU.")
    return Rescale(slope[0], intercept[0])


@dataclass(frozen=True, slots=True)
class Padding:
    """The declared padding values of an instance, lowest and highest (PS3.3 C.7.5.1.1.2)."""

    lowest: int
    highest: int

    @classmethod
    def of(cls, raw: RawDataset, pixels: PixelFormat) -> Padding | None:
        """Read in the signedness of the pixels, whichever one the element was written in."""
        order: Literal["little", "big"] = "little" if raw.little_endian else "big"
        said = [raw.elements.get(tag) for tag in (tags.PIXEL_PADDING_VALUE, tags.PIXEL_PADDING_RANGE_LIMIT)]
        values = [
            int.from_bytes(value[:2], order, signed=pixels.signed)
            for value in said
            if isinstance(value, bytes) and len(value) >= 2
        ]
        return cls(min(values), max(values)) if isinstance(said[0], bytes) and values else None

    def mask(self, words: Words, pixels: PixelFormat, rescale: Rescale) -> NDArray[np.bool_] | None:
        """Where a frame is padding; None when rescaling alone makes it air, or the value may be tissue."""
        storable = 2 ** (pixels.bits_stored - pixels.signed)
        if self.lowest >= storable or self.highest < (-storable if pixels.signed else 0):
            # A value that the stored bits cannot hold lies in the whole allocated word.
            values: NDArray[Any] = words.view(words.dtype.str.replace("u", "i")) if pixels.signed else words
        elif AIR_HU < self.highest * rescale.slope + rescale.intercept <= PADDING_BELOW_HU:
            values = pixels.stored(words)
        else:
            return None
        return np.asarray((values >= self.lowest) & (values <= self.highest))


def write_hu(
    words: Words, pixels: PixelFormat, rescale: Rescale, padding: Padding | None, out: NDArray[np.float32]
) -> None:
    """Write one frame in HU into ``out`` (row, column); padding and everything below becomes -1024."""
    np.multiply(pixels.stored(words), np.float32(rescale.slope), out=out, casting="unsafe")
    out += np.float32(rescale.intercept)
    outside = padding.mask(words, pixels, rescale) if padding is not None else None
    if outside is not None:
        out[outside] = AIR_HU
    np.maximum(out, AIR_HU, out=out)


def undo_wrap(hu: NDArray[np.float32], formats: list[PixelFormat], all_rescales: list[Rescale]) -> bool:
    """Undo the 12-bit wrap fault of the RSNA 2019 data in place; say whether it was there.

    Those files hold HU modulo 4096 in 12 unsigned bits with an intercept near 0, so that air at -1000 reads as
    3096. It is recognised for a whole series, when every image is of that format (which cannot hold air at all)
    and more than 1 % of the voxels lie above 3000 HU; those are lowered by 4096.
    """
    if any(pixels.bits_stored != 12 or pixels.signed for pixels in formats):
        return False
    if any(rescale.slope != 1.0 or rescale.intercept <= -100 for rescale in all_rescales):
        return False
    if float((hu[:, ::2, ::2] >= WRAP_FROM_HU).mean()) <= WRAP_FRACTION:
        return False
    for image in hu:
        image[image >= WRAP_FROM_HU] -= np.float32(WRAP_HU)
        np.maximum(image, AIR_HU, out=image)
    return True


def clear_outside_scan_field(hu: NDArray[np.float32]) -> None:
    """Turn an undeclared constant outside the scan field into air, in place.

    Only where it shows: the four corners of an image share one value above -900 HU, that value fills nearly all
    of what lies outside the inscribed circle, and hardly anything inside. Nothing inside the circle is touched.
    """
    rows, columns = hu.shape[1:]
    y, x = np.ogrid[0:rows, 0:columns]
    radius = min(rows, columns) / 2
    outside = (y - (rows - 1) / 2) ** 2 + (x - (columns - 1) / 2) ** 2 > radius**2
    for image in hu:
        corner = image[0, 0]
        if corner <= PADDING_BELOW_HU or not (corner == image[0, -1] == image[-1, 0] == image[-1, -1]):
            continue
        constant = image == corner
        if constant[outside].mean() >= _OUTSIDE_SCAN_FIELD and constant[~outside].mean() <= 1 - _OUTSIDE_SCAN_FIELD:
            image[outside & constant] = AIR_HU


def check_is_hu(hu: NDArray[np.float32]) -> None:
    """Refuse values that cannot be HU of something scanned in air: there must be air, and something denser.

    A windowed export has neither, whatever its rescale says.

    Raises
    ------
    UnusableSeries
        ``not_original_hu``.
    """
    sample = hu[:, ::2, ::2]
    if float((sample < -500).mean()) < AIR_OR_TISSUE_FRACTION:
        raise UnusableSeries(ReasonCode.NOT_ORIGINAL_HU, "The values hold no air, so they are not original HU.")
    if float((sample > -200).mean()) < AIR_OR_TISSUE_FRACTION:
        raise UnusableSeries(
            ReasonCode.NOT_ORIGINAL_HU, "The values hold nothing but air, so they are not original HU."
        )
