"""Which transfer syntaxes can be decoded, and by which of the installed decoders, in the order they are tried.

Explicit, because the decoders that pydicom finds depend on what else is installed: pylibjpeg-libjpeg (GPL) and
Pillow (8-bit habits) must never take part.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

UNCOMPRESSED: Final = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}
)
DECODERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        RLELossless: ("pylibjpeg", "pydicom"),
        JPEGLossless: ("gdcm",),
        JPEGLosslessSV1: ("gdcm",),
        JPEGLSLossless: ("pyjpegls", "gdcm"),
        JPEGLSNearLossless: ("pyjpegls", "gdcm"),
        JPEG2000Lossless: ("pylibjpeg", "gdcm"),
        JPEG2000: ("pylibjpeg", "gdcm"),
        HTJ2KLossless: ("pylibjpeg",),
        HTJ2KLosslessRPCL: ("pylibjpeg",),
        HTJ2K: ("pylibjpeg",),
    }
)
