"""Every code that a result object carries, in one table.

Where no public code could be verified, the entry says so with ``unverified`` and uses the private scheme
99ICHTRIAGE, which each object declares in its Coding Scheme Identification Sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from triage.dicom.uids import coding_scheme_uid
from triage.domain.finding import Subtype, Urgency

# Who reads results needs the names of codes, and not the library that writes them.
if TYPE_CHECKING:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import CodedConcept

PRIVATE_SCHEME = "99ICHTRIAGE"


@dataclass(frozen=True, slots=True)
class Code:
    """A code value, its scheme and meaning (PS3.3 8.8); ``unverified`` waits for a terminologist."""

    value: str
    scheme: str
    meaning: str
    unverified: bool = False

    def __post_init__(self) -> None:
        if not self.value or len(self.value) > 16 or not self.scheme or len(self.scheme) > 16:
            raise ValueError(f"code {self.value!r} in {self.scheme!r}: 1 to 16 characters each")
        if not self.meaning or len(self.meaning) > 64 or not self.meaning.isascii():
            raise ValueError(f"code {self.value!r}: a meaning has 1 to 64 ASCII characters")

    def concept(self) -> CodedConcept:
        """The code as an item of a code sequence."""
        from highdicom.sr import CodedConcept

        return CodedConcept(self.value, self.scheme, self.meaning)


@dataclass(frozen=True, slots=True)
class SubtypeCodes:
    """How one subtype is named in SEG and SR.

    ``disorder`` is None where no public disorder code could be verified: then the finding is Hemorrhage at
    ``site``, and ``subtype`` tells which. ``colour`` is the recommended display colour, sRGB 0..255.
    """

    label: str
    site: Code
    subtype: Code
    disorder: Code | None
    colour: tuple[int, int, int]


MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
HEMORRHAGE = Code("50960005", "SCT", "Hemorrhage")
INTRACRANIAL_HEMORRHAGE = Code("1386000", "SCT", "Intracranial hemorrhage")
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
UNDETERMINED = Code("373068000", "SCT", "Undetermined")
BRAIN = Code("12738006", "SCT", "Brain")
CT_OF_HEAD = Code("303653007", "SCT", "Computed tomography of head")
INTERPRETATION = Code("110005", "DCM", "Interpretation")
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
URGENCY = Code("103391001", "SCT", "Urgency")
VOLUME = Code("118565006", "SCT", "Volume")
SUM_OF_VOXELS = Code("126030", "DCM", "Sum of segmented voxel volumes")
PROBABILITY = Code("122157", "DCM", "Probability")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
TRIAGE_NOTIFICATION = Code("NOTIFICATION", PRIVATE_SCHEME, "Triage notification, not a diagnosis")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
SEGMENTATION = Code("113076", "DCM", "Segmentation")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
DEVICE_OBSERVER = Code("121007", "DCM", "Device")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
FINDING = Code("121071", "DCM", "Finding")
CONCLUSION = Code("121077", "DCM", "Conclusion")
BEST_ILLUSTRATION = Code("121080", "DCM", "Best illustration of finding")
COMMENT = Code("121106", "DCM", "Comment")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
OF_INTEREST = Code("113000", "DCM", "Of Interest")
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
MILLILITRE = Code("ml", "UCUM", "milliliter")
NO_UNITS = Code("1", "UCUM", "no units")
SUBTYPE = Code("SUBTYPE", PRIVATE_SCHEME, "Intracranial hemorrhage subtype")

ACTIONABLE: Mapping[Urgency, Code] = MappingProxyType(
    {
        Urgency.EMERGENT: Code("RID49480", "RADLEX", "ACR Category 1 Actionable Finding"),
        Urgency.URGENT: Code("RID49481", "RADLEX", "ACR Category 2 Actionable Finding"),
    }
)
"""CID 7035: category 1 within minutes, category 2 within hours. Nothing suspected has no category."""

# The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
SUBTYPE_CODES: Mapping[Subtype, SubtypeCodes] = MappingProxyType(
    {
        Subtype.EDH: SubtypeCodes(
            label="EDH epidural hemorrhage",
            site=Code("18545000", "SCT", "Dura mater"),
            subtype=Code("EDH", PRIVATE_SCHEME, "Epidural hemorrhage", unverified=True),
            disorder=None,
            colour=(204, 121, 167),
        ),
        Subtype.IPH: SubtypeCodes(
            label="IPH intraparenchymal hemorrhage",
            site=BRAIN,
            subtype=Code("IPH", PRIVATE_SCHEME, "Intraparenchymal hemorrhage"),
            disorder=Code("274100004", "SCT", "Cerebral hemorrhage"),
            colour=(213, 94, 0),
        ),
        Subtype.IVH: SubtypeCodes(
            label="IVH intraventricular hemorrhage",
            site=Code("35764002", "SCT", "Brain ventricle"),
            subtype=Code("IVH", PRIVATE_SCHEME, "Intraventricular hemorrhage", unverified=True),
            disorder=None,
            colour=(86, 180, 233),
        ),
        Subtype.SAH: SubtypeCodes(
            label="SAH subarachnoid hemorrhage",
            site=Code("35951006", "SCT", "Subarachnoid space"),
            subtype=Code("SAH", PRIVATE_SCHEME, "Subarachnoid hemorrhage"),
            disorder=Code("21454007", "SCT", "Subarachnoid hemorrhage"),
            colour=(0, 158, 115),
        ),
        Subtype.SDH: SubtypeCodes(
            label="SDH subdural hemorrhage",
            site=Code("1231004", "SCT", "Meninges"),
            subtype=Code("SDH", PRIVATE_SCHEME, "Subdural hemorrhage"),
            disorder=Code("35486000", "SCT", "Subdural hemorrhage"),
            colour=(240, 228, 66),
        ),
        Subtype.ICH: SubtypeCodes(
            label="ICH hemorrhage of unspecified type",
            site=BRAIN,
            subtype=Code("ICH", PRIVATE_SCHEME, "Intracranial hemorrhage of unspecified type"),
            disorder=INTRACRANIAL_HEMORRHAGE,
            colour=(230, 159, 0),
        ),
    }
)


def private_scheme() -> CodingSchemeIdentificationItem:
    """The declaration of 99ICHTRIAGE (PS3.3 C.12.1.1.7)."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    item = CodingSchemeIdentificationItem(
        PRIVATE_SCHEME, name="ich-triage private codes", version="1", responsible_organization="ich-triage"
    )
    item.CodingSchemeUID = coding_scheme_uid()
    return item


def all_codes() -> tuple[Code, ...]:
    """Every code of this module once, for the conformance statement and the tests."""
    named = [value for value in globals().values() if isinstance(value, Code)]
    of_subtypes = [c for s in SUBTYPE_CODES.values() for c in (s.site, s.subtype, s.disorder) if c is not None]
    return tuple(dict.fromkeys([*named, *ACTIONABLE.values(), *of_subtypes]))
