"""Values keep their bytes when the encoding around them changes, whatever their character set."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom.dsutils import encode

from tests.builders import NAMES, ct_series, part10, part10_named
from triage.net.verbatim import implicit, keep_values, read_kept


def a_file(kind="utf8"):
    inner, outer = Dataset(), Dataset()
    inner.StudyDescription, inner.InstanceNumber = "INNER", 7
    outer.AccessionNumber, outer.ReferencedRequestSequence = "A1", [inner]
    (ds,) = ct_series(1, rows=8, columns=8, RequestAttributesSequence=[outer])
    return part10_named(ds, kind)


@pytest.mark.parametrize("kind", NAMES)
def test_names_keep_their_bytes(kind):
    written = implicit(a_file(kind))

    assert NAMES[kind][1].rstrip() in written
    assert NAMES[kind][0] in written


FILE = a_file()
NAME = NAMES["utf8"][1]


@given(st.binary(min_size=len(NAME), max_size=len(NAME)))
def test_bytes_that_no_character_set_knows_stay_as_they_are(noise):
    assert noise in implicit(FILE.replace(NAME, noise))


def test_sequences_in_sequences_are_in_the_new_encoding():
    read = read_dataset(io.BytesIO(implicit(FILE)), True, True)
    inner = read.RequestAttributesSequence[0].ReferencedRequestSequence[0]

    assert (inner.StudyDescription, inner.InstanceNumber) == ("INNER", 7)
    assert (read.Rows, read.PixelSpacing) == (8, [4, 4])


def test_what_is_kept_is_written_alike_in_its_own_encoding():
    (ds,) = ct_series(1, rows=8, columns=8)
    content = part10(ds)
    kept = keep_values(read_kept(content), implicit_vr=False)

    assert content.endswith(encode(kept, False, True))
