"""The report on a series that was not analysed: undetermined, and why. It never says absent."""

from __future__ import annotations

from collections.abc import Sequence

from triage.dicom import codes
from triage.dicom.equipment import plain
from triage.dicom.source import read_source
from triage.dicom.sr import measurement_report
from triage.dicom.sr_document import encode_report, references
from triage.dicom.sr_groups import undetermined_group
from triage.dicom.sr_text import undetermined_text
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import ReasonCode
from triage.domain.provenance import Provenance

_LONGEST_SENTENCE = 1024


def encode_undetermined(
    contents: Sequence[bytes],
    reason: ReasonCode,
    sentence: str,
    provenance: Provenance,
    *,
    predecessor: ObjectReference | None,
    kind: ObjectKind = ObjectKind.SR,
) -> EncodedObject:
    """Encode that one series revision was not analysed.

    Only headers are read: neither geometry nor pixels need to be usable, nor need the instances be CT.

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the revision, in any order.
    reason : ReasonCode
        Why it was not analysed.
    sentence : str
        The same for a reader; characters other than ASCII are replaced.
    provenance : Provenance
        Software, bundle and content time.
    predecessor : ObjectReference or None
        The report of the revision that this one supersedes; the report itself is not named.
    kind : ObjectKind
        SR (Comprehensive 3D), SR_COMPREHENSIVE, SR_ENHANCED, or SR_TEXT (Basic Text).

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    ValueError
        When the kind is no report, or there is no instance.
    """
    source = read_source(contents, None)
    statement = f"Not analysed ({reason.value}): {plain(sentence, _LONGEST_SENTENCE)}"
    if kind is ObjectKind.SR_TEXT:
        root = undetermined_text(statement, provenance)
    else:
        group = undetermined_group(source, statement, provenance)
        root = measurement_report([group], codes.IMAGING_PROCEDURE, provenance)
    # Tried again, the same instances may fail for another reason: another content, so another report.
    return encode_report(
        kind,
        f"{kind} undetermined {statement}",
        root,
        source,
        provenance,
        evidence=references(source),
        predecessor=predecessor,
    )
