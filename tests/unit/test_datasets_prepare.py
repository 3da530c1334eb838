"""``trainer prepare``: what is written, what is refused, and that a stopped run comes to the same bytes."""

from __future__ import annotations

import csv
import fcntl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.trees import PhysionetScan, blood, physionet_jpeg_tree, physionet_tree
from trainer.cli import main
from trainer.datasets.arrays import allocate, bytes_needed
from trainer.datasets.cache import (
    MASKS,
    PIXELS,
    RECORDS,
    TABLE,
    UNUSABLE,
    Cache,
    CacheSpec,
    open_cache,
    recomputed_digest,
)
from trainer.datasets.case import (
    BLOOD_OF_UNKNOWN_TYPE,
    NO_BLOOD,
    NOTHING_KNOWN,
    Case,
    Dataset,
    Labels,
    SlicePixels,
    SliceRecord,
    Unusable,
)
from trainer.datasets.prepare import cache_spec, duration, prepare
from trainer.tell import Tell

FILES = (PIXELS, MASKS, RECORDS, UNUSABLE, "cache.json")
Read = Callable[[Case], Iterator[SlicePixels | Unusable]]


def quiet(line: str) -> None:
    """Lines that nobody reads."""


def numbered(value: int, side: int = 32) -> SlicePixels:
    """A slice that tells itself from others."""
    image = np.full((side, side), value, dtype=np.int16)
    return SlicePixels(image, (1.0, 1.0), None)


def plain(case: Case) -> Iterator[SlicePixels | Unusable]:
    for one in case.slices:
        yield numbered(one.frame)


def made(studies: int = 4, read: Read = plain, labels: Labels = NOTHING_KNOWN) -> Dataset:
    """A data set of studies of three slices, each value met once."""

    def find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
        yield Unusable(str(root / "odd.txt"), "nobody asked for it")
        for study in range(studies):
            slices = tuple(SliceRecord(root / f"{study}.x", float(k), labels, frame=10 * study + k) for k in range(3))
            yield Case("made", None if study == 0 else f"p{study // 2}", f"s{study}", slices)

    return Dataset("made", "made", "none", "nowhere", "nothing", find, read)


def prepared(dataset: Dataset, root: Path, out: Path, size: int = 16, **options: object) -> Cache:
    spec = cache_spec(dataset, size, str(options.get("geometry", "resize")), float(str(options.get("pixel_mm", 1.0))))
    return prepare(dataset, root, out, spec, 0, quiet)


def contents(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in FILES]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["prepare", *map(str, arguments), "--workers", "0"])


def test_rows_of_a_study_follow_each_other_and_know_whose_they_are(tmp_path: Path) -> None:
    cache = prepared(made(), tmp_path, tmp_path / "out")
    assert [int(image[0, 0]) for image in cache.pixels] == [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]
    assert cache.description.patients == ("p0", "p1")
    assert cache.description.studies == ("s0", "s1", "s2", "s3")
    assert cache.table["patient"].tolist() == [-1] * 3 + [0] * 3 + [1] * 6
    assert cache.table["study"].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert cache.table["position_mm"].tolist() == [0, 1, 2] * 4
    assert cache.table["pixel_mm"].tolist() == [2.0] * 12, "32 mm on 16 pixels"
    assert not cache.table["drawn"].any()
    assert cache.usable.tolist() == list(range(12))
    assert recomputed_digest(cache) == cache.description.digest


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    root = physionet_tree(tmp_path / "ct-ich")
    result = run("physionet_ct_ich", root, tmp_path / "out", "--size", 32)
    assert result.exit_code == 0, result.output
    assert "physionet_ct_ich: 3 patients, 3 studies, 15 slices" in result.stdout
    assert "slices with blood: any 5 (10 without, 0 unknown), EDH 2 (13 without" in result.stdout
    assert "studies with blood: any 2 (1 without, 0 unknown)" in result.stdout
    assert "masks drawn for 15 slices" in result.stdout
    assert "licence: PhysioNet Restricted Health Data License" in result.stdout
    assert "15 of 15 slices, 3 of 3 studies" in result.stderr
    assert "slices/s" in result.stderr
    assert "the cache takes 0.0 MB of disk" in result.stderr
    again = run("physionet_ct_ich", root, tmp_path / "out", "--size", 32)
    assert again.exit_code == 0
    assert "is finished already" in again.stderr
    assert again.stdout == result.stdout


def test_masks_and_labels_arrive_in_the_cache(tmp_path: Path) -> None:
    physionet_tree(tmp_path / "ct-ich", [PhysionetScan(49, 3, {2: [1], 3: [0, 1]})])
    assert run("physionet_ct_ich", tmp_path / "ct-ich", tmp_path / "out", "--size", 32).exit_code == 0
    cache = open_cache(tmp_path / "out")
    whole = blood().reshape(32, 2, 32, 2).mean(axis=(1, 3)) >= 0.5
    for mask, value in zip(cache.masks, (0, 2, BLOOD_OF_UNKNOWN_TYPE), strict=True):
        np.testing.assert_array_equal(mask, np.where(whole, value, 0))
    assert cache.table["labels"].tolist() == [[0] * 6, [1, 0, 1, 0, 0, 0], [1, 0, 1, 1, 0, 0]]
    assert cache.table["study_labels"].tolist() == [[1, 0, 1, 1, 0, 0]] * 3
    assert cache.table["drawn"].all()


def test_pictures_stay_grey_of_eight_bits(tmp_path: Path) -> None:
    physionet_jpeg_tree(tmp_path / "ct-ich")
    assert run("physionet_ct_ich_jpeg", tmp_path / "ct-ich", tmp_path / "out", "--size", 32).exit_code == 0
    cache = open_cache(tmp_path / "out")
    assert cache.pixels.dtype == np.uint8
    assert cache.spec.pictures
    assert cache.spec.window == (40.0, 120.0)
    assert np.isnan(cache.table["pixel_mm"]).all()
    refused = run("physionet_ct_ich_jpeg", tmp_path / "ct-ich", tmp_path / "mm", "--geometry", "raster")
    assert refused.exit_code == 1
    assert "use --geometry resize" in refused.stderr


def test_size_and_geometry_come_from_the_protocol(tmp_path: Path) -> None:
    protocol = tmp_path / "mine.toml"
    protocol.write_text(
        """
        name = "mine"
        title = "t"
        paper = ""
        variant = "honest"
        datasets = ["physionet_ct_ich"]
        classes = "binary"
        seed = 1
        input = { size = 48, geometry = "raster" }
        split = { unit = "patient" }
        nets = [{ name = "unet" }]
        loss = { mask = "dice" }
        optimiser = {}
        fit = { epochs = 1, batch = 1 }
        """
    )
    root = physionet_tree(tmp_path / "ct-ich")
    result = run("physionet_ct_ich", root, tmp_path / "out", "--protocol", protocol, "--pixel-mm", "4")
    assert result.exit_code == 0, result.output
    spec = open_cache(tmp_path / "out").spec
    assert (spec.size, spec.geometry, spec.pixel_mm) == (48, "raster", 4.0)
    physionet_jpeg_tree(tmp_path / "pictures")
    pictures = run("physionet_ct_ich_jpeg", tmp_path / "pictures", tmp_path / "p", "--protocol", protocol)
    assert "shrunk whole" in pictures.stderr
    assert open_cache(tmp_path / "p").spec.geometry == "resize"
    both = run("physionet_ct_ich", root, tmp_path / "b", "--protocol", protocol, "--size", 32)
    assert both.exit_code == 1
    assert "leave out --size" in both.stderr
    of_a_raster = run("physionet_ct_ich", root, tmp_path / "c", "--pixel-mm", "2")
    assert of_a_raster.exit_code == 1
    assert "--pixel-mm is of a raster" in of_a_raster.stderr


@pytest.mark.parametrize("stop_at", [0, 10, 21, 32])
def test_a_stopped_run_goes_on_and_comes_to_the_same_bytes(stop_at: int, tmp_path: Path) -> None:
    def stopped(case: Case) -> Iterator[SlicePixels | Unusable]:
        for one in case.slices:
            if one.frame == stop_at:
                raise KeyboardInterrupt
            yield numbered(one.frame)

    prepared(made(), tmp_path, tmp_path / "never")
    with pytest.raises(KeyboardInterrupt):
        prepared(made(read=stopped), tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="holds no finished cache"):
        open_cache(tmp_path / "out")
    prepared(made(), tmp_path, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "never")


def test_a_search_that_was_stopped_begins_again(tmp_path: Path) -> None:
    whole = made()

    def stopped(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
        found = whole.find(root, work, tell)
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(replace(whole, find=stopped), tmp_path, tmp_path / "out")
    assert len(prepared(whole, tmp_path, tmp_path / "out").table) == 12


def test_slices_that_cannot_be_used_keep_their_rows_dark_and_are_named(tmp_path: Path) -> None:
    def faulty(case: Case) -> Iterator[SlicePixels | Unusable]:
        for one in case.slices:
            if one.frame == 11:
                yield Unusable(str(one.image), "it is torn")
            elif one.frame == 20:
                yield SlicePixels(np.zeros((8, 8), dtype=np.uint8), None, None)
            elif one.frame == 31:
                raise ValueError("the study\nended")
            else:
                yield numbered(one.frame)

    cache = prepared(made(read=faulty), tmp_path, tmp_path / "out")
    assert np.flatnonzero(~cache.table["usable"]).tolist() == [4, 6, 10, 11]
    assert not cache.pixels[~cache.table["usable"]].any()
    assert cache.usable.tolist() == [0, 1, 2, 3, 5, 7, 8, 9]
    with (tmp_path / "out" / UNUSABLE).open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["where", "reason"],
            ["odd.txt", "nobody asked for it"],
            ["1.x", "it is torn"],
            ["2.x", "its pixels are uint8, unlike those of the rest of this data set"],
            ["3.x", "the study ended"],
            ["3.x", "the study ended"],
        ]
    assert cache.description.unusable == 5


def test_a_mask_says_what_the_data_set_does_not(tmp_path: Path) -> None:
    values = {0: 0, 1: 3, 2: BLOOD_OF_UNKNOWN_TYPE}

    def outlined(case: Case) -> Iterator[SlicePixels | Unusable]:
        for one in case.slices:
            mask = np.zeros((32, 32), dtype=np.uint8)
            mask[4:12, 4:12] = values[one.frame % 10]
            yield replace(numbered(one.frame), mask=mask)

    cache = prepared(made(1, outlined), tmp_path, tmp_path / "out")
    assert cache.table["labels"].tolist() == [[0] * 6, [1, 0, 0, 1, 0, 0], [1] + [-1] * 5]
    assert cache.table["study_labels"][0].tolist() == [1, -1, -1, 1, -1, -1]
    said = prepared(made(1, outlined, NO_BLOOD), tmp_path, tmp_path / "said")
    assert not said.table["labels"].any(), "what the data set says stands"
    assert (cache.description.contradicted, said.description.contradicted) == (0, 2)


def test_a_lesion_that_is_too_thin_is_counted(tmp_path: Path) -> None:
    def thin(case: Case) -> Iterator[SlicePixels | Unusable]:
        for one in case.slices:
            mask = np.zeros((32, 32), dtype=np.uint8)
            mask[4 : 5 + one.frame % 10, 4] = 1
            yield replace(numbered(one.frame), mask=mask)

    cache = prepared(made(1, thin), tmp_path, tmp_path / "out")
    assert cache.description.lost == 1
    assert [int(mask.sum()) for mask in cache.masks] == [0, 1, 1]
    assert cache.table["drawn"].all()
    assert cache.table["labels"][:, 0].tolist() == [1, 1, 1]


def test_a_raster_needs_the_size_of_a_pixel(tmp_path: Path) -> None:
    def sizeless(case: Case) -> Iterator[SlicePixels | Unusable]:
        for one in case.slices:
            yield replace(numbered(one.frame), spacing_mm=None)

    cache = prepared(made(1, sizeless), tmp_path, tmp_path / "out", geometry="raster", pixel_mm=2.0)
    assert cache.usable.size == 0
    assert "how large its pixels are" in (tmp_path / "out" / UNUSABLE).read_text()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--size", "48"], "was begun with physionet_ct_ich from .*, size 32, resize: repeat that, or choose"),
        (["--size", "32", "--geometry", "raster"], "choose another folder"),
    ],
)
def test_another_size_in_the_same_folder_is_refused(change: list[str], sentence: str, tmp_path: Path) -> None:
    root = physionet_tree(tmp_path / "ct-ich")
    assert run("physionet_ct_ich", root, tmp_path / "out", "--size", 32).exit_code == 0
    before = contents(tmp_path / "out")
    refused = run("physionet_ct_ich", root, tmp_path / "out", *change)
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1].startswith("Error: ")
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(refused.stderr)
    assert contents(tmp_path / "out") == before


def test_another_data_set_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    prepared(made(), tmp_path, tmp_path / "out")
    other = replace(made(), name="other")
    with pytest.raises(ValueError, match=r"was begun with made from .* choose another folder for other from"):
        prepared(other, tmp_path, tmp_path / "out")


def test_a_wrong_folder_is_one_sentence_and_leaves_the_way_free(tmp_path: Path) -> None:
    out = tmp_path / "out"
    wrong = run("physionet_ct_ich", tmp_path / "nowhere", out, "--size", 32)
    assert wrong.exit_code == 1
    assert "nowhere does not look like this data set: expected ct_scans/NNN.nii" in wrong.stderr.splitlines()[-1]
    root = physionet_tree(tmp_path / "ct-ich")
    assert run("physionet_ct_ich", root, out, "--size", 32).exit_code == 0


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and was not made by trainer prepare"):
        prepared(made(), tmp_path, tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    work = tmp_path / "out" / "work"
    work.mkdir(parents=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another trainer prepare is writing"):
            prepared(made(), tmp_path, tmp_path / "out")
    assert len(prepared(made(), tmp_path, tmp_path / "out").table) == 12


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the cache needs 2097\d\d\.\d GB, and .* has .* GB free; choose another"):
        allocate(tmp_path, CacheSpec("made", 1024), 100_000_000, 0)
    assert list(tmp_path.iterdir()) == []


def test_masks_take_no_disk_where_nobody_drew_one(tmp_path: Path) -> None:
    spec = CacheSpec("made", 256)
    allocate(tmp_path, spec, 20, 0)
    taken = {name: (tmp_path / name).stat().st_blocks * 512 for name in (PIXELS, MASKS)}
    assert taken[PIXELS] >= 20 * 256 * 256 * 2
    assert taken[MASKS] <= 8192
    assert bytes_needed(spec, 20, 3) == 20 * (256 * 256 * 2 + TABLE.itemsize) + 3 * 256 * 256


def test_a_study_named_twice_and_an_empty_data_set_are_refused(tmp_path: Path) -> None:
    def twice(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
        for _ in range(2):
            yield Case("made", "p", "s", (SliceRecord(root / "x", 0.0),))

    with pytest.raises(ValueError, match="names a study twice"):
        prepared(replace(made(), find=twice), tmp_path, tmp_path / "twice")
    with pytest.raises(ValueError, match="no study that could be used"):
        prepared(made(0), tmp_path, tmp_path / "empty")


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    result = run("physionet", tmp_path, tmp_path / "out")
    assert result.exit_code == 1
    assert "there is no data set 'physionet'; there are physionet_ct_ich, " in result.stderr


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")])
def test_time_left_is_said_for_people(seconds: float, said: str) -> None:
    assert duration(seconds) == said
