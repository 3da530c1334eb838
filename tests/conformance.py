"""What the conformance statement must say, made from the code and from objects that were really encoded.

``python -m tests.conformance`` writes the generated tables into the document; what it says beside them is by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from tests.every_kind import messages_to_lists, samples
from tests.results import analysed, dataset
from triage.dicom.availability import INSTANCE_AVAILABILITY_NOTIFICATION
from triage.dicom.codes import all_codes
from triage.dicom.instance_rules import CT_CLASSES
from triage.dicom.ups import UPS_PUSH
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.finding import Subtype
from triage.net import commitment, query, ups_scp
from triage.net.contexts import TRANSFER_SYNTAXES, supported_contexts
from triage.net.status import Verdict, classify, meaning

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "conformance.md"
FAMILIES: Mapping[str, tuple[ObjectKind, ...]] = {
    "SEG": (ObjectKind.SEG, ObjectKind.SEG_LABELMAP, ObjectKind.SEG_FRACTIONAL),
    "SR": (ObjectKind.SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED, ObjectKind.SR_TEXT),
    "KOS": (ObjectKind.KOS, ObjectKind.KOS_REJECTED),
    "SC": (ObjectKind.SC,),
    "GSPS": (ObjectKind.GSPS,),
}
"""The kinds that share an attribute table."""


class Attribute(NamedTuple):
    """A row of an attribute table, but for what is said of the value.

    Presence as in PS3.2: ALWAYS with a value; EMPTY; VNAP, always there and sometimes empty; ANAP, sometimes absent.
    """

    keyword: str
    tag: str
    vr: str
    presence: str


VERIFICATION = "1.2.840.10008.1.1"
BEHAVIOUR = {Verdict.ACCEPTED: "delivered", Verdict.LATER: "sent again", Verdict.REFUSED: "failed"}
"""What the document calls the verdict on a status."""

_COPIED_BY_EVERY_KIND = ("SpecificCharacterSet", "StudyDescription")
_UNNAMED = {
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
}
"""Not in the dictionary of pydicom yet."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as the document writes it."""
    rule = "|" + "---|" * len(head)
    first, *rest = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return "\n".join([first, rule, *rest])


def name_of(uid: str) -> str:
    """What the standard calls a SOP class or transfer syntax."""
    return _UNNAMED.get(uid) or UID(uid).name


def storage_classes() -> str:
    """The storage classes of the listener, and which of them are looked at."""
    uids = sorted((str(cx.abstract_syntax) for cx in supported_contexts()), key=lambda uid: (name_of(uid), uid))
    rows = [
        (name_of(uid), f"`{uid}`", "analysed" if uid in CT_CLASSES else "kept") for uid in uids if uid != VERIFICATION
    ]
    return table(("SOP class", "UID", "what becomes of it"), rows)


def other_scp_classes() -> str:
    """The classes that the listener offers besides storage, with every service."""
    services = [
        commitment.commitment_service(lambda _: None),
        ups_scp.ups_service(lambda _: (), lambda _: None, lambda _peer, _asked: None),
    ]
    stored = {str(cx.abstract_syntax) for cx in supported_contexts()} - {VERIFICATION}
    rows = [
        (name_of(uid), f"`{uid}`", ", ".join(name_of(str(syntax)) for syntax in cx.transfer_syntax or ()))
        for cx in supported_contexts(services)
        if (uid := str(cx.abstract_syntax)) not in stored
    ]
    return table(("SOP class", "UID", "transfer syntaxes"), rows)


def scu_classes() -> str:
    """The classes that are asked for, and for what."""
    stored: dict[str, list[str]] = {}
    for kind in (kind for kinds in FAMILIES.values() for kind in kinds):
        stored.setdefault(samples()[kind][0].sop_class_uid, []).append(f"`{kind}`")
    rows = [(name_of(uid), f"`{uid}`", f"C-STORE of {', '.join(kinds)}") for uid, kinds in sorted(stored.items())]
    rows += [
        (name_of(uid), f"`{uid}`", what)
        for uid, what in (
            (VERIFICATION, "C-ECHO"),
            (commitment.PUSH_MODEL, "N-ACTION; N-EVENT-REPORT comes back"),
            (query.STUDY_ROOT_FIND, "C-FIND"),
            (query.STUDY_ROOT_GET, "C-GET"),
            (UPS_PUSH, "N-CREATE"),
            (INSTANCE_AVAILABILITY_NOTIFICATION, "N-CREATE"),
        )
    ]
    return table(("SOP class", "UID", "used for"), rows)


def transfer_syntaxes() -> str:
    """The syntaxes accepted for storage, in the order of preference."""
    return table(("transfer syntax", "UID"), [(name_of(uid), f"`{uid}`") for uid in TRANSFER_SYNTAXES])


def object_kinds() -> str:
    """What each kind of result object really is."""
    rows = []
    for kind in (kind for kinds in FAMILIES.values() for kind in kinds):
        (sop_class, syntax), *others = {(one.sop_class_uid, one.transfer_syntax_uid) for one in samples()[kind]}
        assert not others
        rows.append((f"`{kind}`", name_of(sop_class), f"`{sop_class}`", name_of(syntax)))
    return table(("kind", "SOP class", "UID", "transfer syntax"), rows)


def store_statuses() -> str:
    """Every status that has a meaning, by runs of the same words, and what it does to a delivery."""
    runs: list[tuple[int, int, str, str]] = []
    for status in range(0x10000):
        words, behaviour = meaning(status).rpartition(" (")[0], BEHAVIOUR[classify(status)]
        if runs and runs[-1][1:] == (status - 1, words, behaviour):
            runs[-1] = (runs[-1][0], status, words, behaviour)
        else:
            runs.append((status, status, words, behaviour))
    unknown = meaning(0xFFFF).rpartition(" (")[0]
    assert {run[3] for run in runs if run[2] == unknown} == {BEHAVIOUR[Verdict.LATER]}
    rows = [
        (f"`0x{first:04X}`" + (f" – `0x{last:04X}`" if last > first else ""), words, behaviour)
        for first, last, words, behaviour in runs
        if words != unknown
    ]
    return table(("status", "meaning", "the delivery is"), [*rows, ("any other", unknown, BEHAVIOUR[Verdict.LATER])])


def code_table() -> str:
    """Every code; those that wait for a terminologist say so."""
    rows = [(f"`{c.value}`", c.scheme, c.meaning, "**unverified**" if c.unverified else "") for c in all_codes()]
    return table(("code", "scheme", "meaning", ""), sorted(rows, key=lambda row: (row[1], row[2], row[0])))


GENERATED: Mapping[str, Callable[[], str]] = {
    "storage classes": storage_classes,
    "other SCP classes": other_scp_classes,
    "SCU classes": scu_classes,
    "transfer syntaxes": transfer_syntaxes,
    "object kinds": object_kinds,
    "store statuses": store_statuses,
    "codes": code_table,
    "tree SR": lambda: tree(analysed(subtypes=[Subtype.IPH]).sr()),
    "tree SR_TEXT": lambda: tree(analysed(subtypes=[Subtype.IPH]).sr(kind=ObjectKind.SR_TEXT)),
    "tree undetermined": lambda: tree(next(one for one in samples()[ObjectKind.SR] if b"Undetermined" in one.content)),
    "tree KOS": lambda: tree(samples()[ObjectKind.KOS][0]),
}
"""What stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``."""


def attribute_tables() -> dict[str, list[Attribute]]:
    """The attributes of each table of the document: ``common`` is what all families of objects have."""
    of_family = {name: [one for kind in kinds for one in samples()[kind]] for name, kinds in FAMILIES.items()}
    every = attributes([one for objects in of_family.values() for one in objects])
    tables = {name: attributes(objects) for name, objects in of_family.items()}
    copied = {a.tag for a in every if a.keyword in _COPIED_BY_EVERY_KIND}
    common = set.intersection(*({a.tag for a in found} for found in tables.values())) | copied
    tables = {name: [a for a in found if a.tag not in common] for name, found in tables.items()}
    messages = {name: attributes(objects) for name, objects in messages_to_lists().items()}
    return {"common": [a for a in every if a.tag in common], **tables, **messages}


def attributes(objects: Iterable[EncodedObject]) -> list[Attribute]:
    """Every top-level attribute of these objects, by tag."""
    opened = [dataset(one) for one in objects]
    tags = sorted({element.tag for ds in opened for element in ds})
    return [
        Attribute(
            keyword_for_tag(tag),
            f"({tag.group:04X},{tag.element:04X})",
            dictionary_VR(tag)[:2],
            _presence(tag, opened),
        )
        for tag in tags
    ]


def _presence(tag: BaseTag, opened: Sequence[Dataset]) -> str:
    if not all(tag in ds for ds in opened):
        return "ANAP"
    filled = {not ds[tag].is_empty and (ds[tag].VR != "SQ" or len(ds[tag].value) > 0) for ds in opened}
    return "VNAP" if len(filled) == 2 else "ALWAYS" if filled == {True} else "EMPTY"


def tree(one: EncodedObject) -> str:
    """The content tree: relationship, value type and concept name of each item, indented by depth."""
    return "\n".join(["```text", *_items(dataset(one), 0), "```"])


def _items(item: Dataset, depth: int) -> Iterator[str]:
    names = item.get("ConceptNameCodeSequence") or ()
    concepts = [f'({c.CodeValue}, {c.CodingSchemeDesignator}, "{c.CodeMeaning}")' for c in names]
    yield " " * 2 * depth + " ".join(filter(None, [item.get("RelationshipType"), item.ValueType, *concepts]))
    for child in item.get("ContentSequence") or ():
        yield from _items(child, depth + 1)


def written(document: str) -> str:
    """The document with what is generated made anew."""
    for name, made in GENERATED.items():
        before, mark, after = document.partition(f"<!-- generated: {name} -->\n")
        document = f"{before}{mark}{made()}\n<!-- end -->{after.partition('<!-- end -->')[2]}"
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")
