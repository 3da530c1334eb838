"""The Secondary Capture: a summary page and the key slices as pictures, for what shows nothing else (PS3.3 A.8.1).

One instance of the plain Secondary Capture class per page, because every archive and viewer knows that one;
the multi-frame classes are younger than many of them. RGB, RLE.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage

from triage.dicom.pages import slice_page, summary_page
from triage.dicom.part10 import encode_object
from triage.dicom.series import own_series
from triage.dicom.source import Source, read_source
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.finding import TriageResult
from triage.domain.provenance import Provenance
from triage.domain.study import InstanceHeader
from triage.domain.volume import Volume

_PIXEL_DATA = 0x7FE00010


def encode_secondary_capture(
    contents: Sequence[bytes],
    volume: Volume,
    labels: NDArray[np.uint8],
    key_slices: Sequence[int],
    result: TriageResult,
    provenance: Provenance,
) -> list[EncodedObject]:
    """Encode the summary page, then one page per key slice: one series, an instance each.

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the revision, in any order.
    volume : Volume
        What was read from them.
    labels : ndarray of uint8, shape (slice, row, column)
        0 for none, ``i + 1`` for ``KINDS[i]``, on the grid of ``volume``.
    key_slices : sequence of int
        Indices into the volume, the most important first; none where nothing is suspected.
    result : TriageResult
        What the pages say.
    provenance : Provenance
        Software, bundle and content time.

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    ValueError
        When the mask does not lie on the volume, or a key slice is not in it.
    """
    if labels.dtype != np.uint8 or labels.shape != volume.hu.shape:
        raise ValueError(f"labels are uint8 {volume.hu.shape}, not {labels.dtype} {labels.shape}")
    if any(not 0 <= index < len(labels) for index in key_slices):
        raise ValueError(f"the key slices {tuple(key_slices)} are not all among the {len(labels)} slices")
    source = read_source(contents, volume)
    headers = {header.sop_instance_uid: header for header in source.instances}
    summary = summary_page(result, key_slices, provenance, source.local(provenance.content_at))
    objects = [_encoded(summary, 1, None, source, provenance)]
    for place, index in enumerate(key_slices, start=1):
        slice_source = volume.sources[index]
        header = headers[slice_source.sop_instance_uid]
        origin = _origin(header, slice_source.frame_number)
        page = slice_page(volume, labels, index, (place, len(key_slices)), origin, result, provenance)
        reference = _reference(header, slice_source.frame_number)
        objects.append(_encoded(page, place + 1, reference, source, provenance))
    return objects


def _encoded(
    page: Image.Image, number: int, reference: Dataset | None, source: Source, provenance: Provenance
) -> EncodedObject:
    ds = own_series(ObjectKind.SC, "OT", "key slices", source, provenance)
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = source.result_uid(f"{ObjectKind.SC} {number}", provenance)
    ds.ConversionType = "WSD"
    ds.InstanceNumber, ds.PatientOrientation = number, None
    ds.ImageType = ["DERIVED", "SECONDARY"]
    # It means annotation that tells who the patient is (PS3.3 C.7.6.1.1.8); ours never does.
    ds.BurnedInAnnotation = "NO"
    for tag, element in source.lossy.items():
        ds[tag] = element
    if reference is not None:
        ds.SourceImageSequence = DicomSequence([reference])
    _set_pixels(ds, np.asarray(page))
    return encode_object(ObjectKind.SC, ds, source, provenance, RLELossless)


def _set_pixels(ds: Dataset, rgb: NDArray[np.uint8]) -> None:
    """The Image Pixel module with one RLE frame (PS3.5 G)."""
    rows, columns, samples = rgb.shape
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PlanarConfiguration = rows, columns, samples, 0
    ds.PhotometricInterpretation, ds.PixelRepresentation = "RGB", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    frame = RLELosslessEncoder.encode(
        rgb.tobytes(),
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        photometric_interpretation="RGB",
        number_of_frames=1,
        planar_configuration=0,
        # Named, because each encoder packs runs in its own way: another one would make other bytes.
        encoding_plugin="pylibjpeg",
    )
    pixels = DataElement(_PIXEL_DATA, "OB", encapsulate([frame]))
    pixels.is_undefined_length = True
    ds[_PIXEL_DATA] = pixels


def _origin(header: InstanceHeader, frame_number: int) -> str:
    """What the source calls a slice."""
    name = f"Image {header.instance_number}" if header.instance_number is not None else "Image"
    return f"{name}, frame {frame_number}" if header.number_of_frames > 1 else name


def _reference(header: InstanceHeader, frame_number: int) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
    if header.number_of_frames > 1:
        reference.ReferencedFrameNumber = frame_number
    return reference
