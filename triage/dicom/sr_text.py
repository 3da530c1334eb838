"""The report as plain text with a few codes (Basic Text SR, PS3.3 A.35.1), for archives that know nothing else.

It has no template and no measured values: its numbers are text, to be read by people only. It names no
segmentation, because an archive that knows no better report will not keep one.
"""

from __future__ import annotations

from collections.abc import Iterable

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset

from triage.dicom import codes
from triage.dicom.equipment import plain
from triage.dicom.source import Source
from triage.dicom.sr_document import observer, source_frame
from triage.dicom.sr_groups import conclusion, identity, measured, notices, parameters, presence
from triage.domain.finding import TriageResult
from triage.domain.provenance import Provenance

_CONTAINS = RelationshipTypeValues.CONTAINS


def result_text(source: Source, result: TriageResult, provenance: Provenance) -> Dataset:
    """The root content item of the report on a result."""
    items: list[ContentItem] = [
        _text(codes.CONCLUSION, conclusion(result)),
        _code(codes.INTRACRANIAL_HEMORRHAGE, presence(result)),
        _text(codes.PROBABILITY, f"{result.score:.3f}"),
    ]
    if result.urgency in codes.ACTIONABLE:
        items.append(_code(codes.URGENCY, codes.ACTIONABLE[result.urgency]))
    for subtype in result.outlined:
        found = result.subtypes[subtype]
        amount = f"{_millilitres(found.volume_ml)}, probability {found.probability:.3f}"
        items.append(_text(codes.FINDING, f"{codes.SUBTYPE_CODES[subtype].label}: {amount}"))
    if result.total_volume_ml > 0:
        items.append(_text(codes.VOLUME, f"{_millilitres(result.total_volume_ml)} in all"))
    if result.key_slice is not None:
        image, frames = source_frame(source, result.key_slice.sop_instance_uid, result.key_slice.frame_number)
        name = codes.BEST_ILLUSTRATION.concept()
        items.append(ImageContentItem(name, image.sop_class_uid, image.sop_instance_uid, frames, None, _CONTAINS))
    root = _document(codes.CT_OF_HEAD, items, parameters(result, provenance), provenance)
    root.ContentSequence.extend(_text(codes.COMMENT, sentence) for sentence in measured(provenance))
    return root


def undetermined_text(statement: str, provenance: Provenance) -> Dataset:
    """The root content item of the report on a series that was not analysed; ``statement`` says why."""
    items = [
        _text(codes.CONCLUSION, statement),
        _code(codes.INTRACRANIAL_HEMORRHAGE, codes.UNDETERMINED),
    ]
    return _document(codes.IMAGING_PROCEDURE, items, identity(provenance), provenance)


def _document(
    procedure: codes.Code, items: Iterable[ContentItem], ran: Iterable[str], provenance: Provenance
) -> Dataset:
    """What every text says: on which procedure, by whom, what it is not, ``items``, and by which model."""
    # Separate items, or viewers show one paragraph of values without their names.
    root = ContainerContentItem(codes.TRIAGE_NOTIFICATION.concept(), is_content_continuous=False)
    root.ContentSequence = ContentSequence()
    root.ContentSequence.append(
        CodeContentItem(codes.PROCEDURE_REPORTED.concept(), procedure.concept(), RelationshipTypeValues.HAS_CONCEPT_MOD)
    )
    root.ContentSequence.extend(observer(provenance))
    # Before any finding: what it is not is read first.
    root.ContentSequence.extend(_text(codes.COMMENT, notice) for notice in notices(provenance))
    root.ContentSequence.extend(items)
    root.ContentSequence.append(_text(codes.ALGORITHM_NAME, plain(provenance.bundle_name, 64)))
    root.ContentSequence.append(_text(codes.ALGORITHM_VERSION, plain(provenance.bundle_version, 64)))
    root.ContentSequence.extend(_text(codes.ALGORITHM_PARAMETERS, parameter) for parameter in ran)
    return root


def _millilitres(volume_ml: float) -> str:
    """To a tenth; what was measured is never rounded to nothing."""
    return f"{volume_ml:.1f} ml" if volume_ml >= 0.05 else "less than 0.1 ml"


def _text(name: codes.Code, value: str) -> TextContentItem:
    return TextContentItem(name.concept(), value, _CONTAINS)


def _code(name: codes.Code, value: codes.Code) -> CodeContentItem:
    return CodeContentItem(name.concept(), value.concept(), _CONTAINS)
