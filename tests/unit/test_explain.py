"""What a net looked at, and where it was most wrong."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

from tests.caches import Made, cache_in_memory, made_slice
from tests.small_protocols import NARROW, SMALL_CLASSIFIER, SMALL_MUNET, SMALL_UNET, small_protocol
from trainer.datasets.cache import Cache
from trainer.experiment.answers import Answering
from trainer.experiment.batches import Slices
from trainer.experiment.predict import TEST_FOLD, Asking, predict_together
from trainer.experiment.predictions import Predictions
from trainer.experiment.protocol import ExperimentProtocol, InputSpec, LossSpec, NetSpec
from trainer.experiment.truth import slice_truth
from trainer.explain.activation import GRAD_CAM, MAP, activation_method, class_activation
from trainer.explain.drawing import outlines, picture
from trainer.explain.gallery import gallery
from trainer.explain.worst import worst_mistakes
from trainer.nets.registry import NETS, build_net, entry_of

SIDE = 64
CPU = torch.device("cpu")


class Weighed(nn.Module):
    """Two channels, pooled and weighed: a class that the first speaks for and the second against, and its opposite."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        self.features.weight.data = torch.tensor([[[[1.0]]], [[[-2.0]]]])
        self.head.weight.data = torch.tensor([[3.0, 1.0], [-3.0, -1.0]])

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(image).mean(dim=(2, 3)))
        return out


def test_grad_cam_is_what_paper_and_pencil_give() -> None:
    """Channels are x and -2x, the logit weighs their means by 3 and 1: every pixel counts 3x - 2x = x, over 4."""
    image = torch.tensor([[[[9.0, 9.0], [9.0, 9.0]]], [[[1.0, -1.0], [0.5, 0.0]]]])
    seen = class_activation(Weighed(), image, place=1)
    np.testing.assert_allclose(seen, [[1.0, 0.0], [0.5, 0.0]])
    against = class_activation(Weighed(), image, place=1, column=1)
    np.testing.assert_allclose(against, [[0.0, 1.0], [0.0, 0.0]])


def test_where_nothing_speaks_for_a_class_nothing_is_shown() -> None:
    assert class_activation(Weighed(), torch.zeros(1, 1, 4, 4)).max() == 0.0
    with pytest.raises(ValueError, match="no activation with rows and columns"):
        class_activation(nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), torch.zeros(1, 1, 4, 4))


def heads(rng: np.random.Generator, count: int) -> tuple[Tensor, NDArray[np.bool_]]:
    """Made slices in a brain window, every second one with blood somewhere, and where."""
    made = [made_slice(SIDE, int(rng.integers(1, 6)) if number % 2 == 0 else 0, rng) for number in range(count)]
    images = np.stack([np.clip(hu / 80.0, 0.0, 1.0) for hu, _ in made])
    return torch.from_numpy(images[:, None].astype(np.float32)), np.stack([mask > 0 for _, mask in made])


@pytest.fixture(scope="module")
def learned() -> nn.Module:
    """A classifier that was told which heads bleed, never where."""
    torch.manual_seed(0)
    net = build_net("light_classifier", {"widths": [8, 16], "bottleneck": 16}, in_channels=1, classes=1)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    for _ in range(150):
        image, mask = heads(rng, 16)
        truth = torch.from_numpy(mask.any(axis=(1, 2))[:, None].astype(np.float32))
        loss = F.binary_cross_entropy_with_logits(net(image), truth)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return net.eval()


@pytest.mark.slow
def test_grad_cam_of_a_trained_classifier_lights_up_where_the_blood_is(learned: nn.Module) -> None:
    image, mask = heads(np.random.default_rng(9), 20)
    with torch.inference_mode():
        said = torch.sigmoid(learned(image))[:, 0].numpy()
    assert ((said > 0.5) == mask.any(axis=(1, 2))).all()
    near = np.stack([cv2.dilate(one.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0 for one in mask])
    warmest_at_blood = 0
    at_blood, beside = [], []
    for number in range(0, 20, 2):
        seen = class_activation(learned, image, number)
        at_blood.append(seen[mask[number]].mean())
        beside.append(seen[~mask[number]].mean())
        warmest_at_blood += bool(near[number].flat[seen.argmax()])
    assert warmest_at_blood >= 4, "of ten: 5 to 10, as the processor rounds in training; by chance less than one"
    assert np.mean(at_blood) > 2.0 * np.mean(beside), (
        "of ten: single slices have had 2.4, as the processor rounds in training"
    )


@pytest.mark.parametrize("name", [name for name, net in NETS.items() if net.task in ("labels", "scan", "both")])
@pytest.mark.parametrize("classes", [1, 6])
def test_every_classifier_of_the_registry_can_be_asked_where(name: str, classes: int) -> None:
    torch.manual_seed(3)
    net = build_net(name, NARROW.get(name, {}), in_channels=2, classes=classes).eval()
    image = torch.rand(3, 2, SIDE, SIDE)
    seen = class_activation(net, image, 1, classes - 1)
    assert seen.shape == (SIDE, SIDE)
    assert seen.dtype == np.float32
    assert 0.0 <= seen.min() <= seen.max() <= 1.0
    assert all(parameter.grad is None for parameter in net.parameters())
    if activation_method(net) == MAP:
        assert seen.min() > 0.0
    elif entry_of(name).task != "scan":
        alone = class_activation(net, image[1:2], 0, classes - 1)
        np.testing.assert_allclose(seen, alone, atol=1e-4)


def test_the_map_of_a_net_that_has_one_is_its_own_probability() -> None:
    torch.manual_seed(0)
    net = build_net("denseunet", NARROW["denseunet"], in_channels=1, classes=1).eval()
    image = torch.rand(2, 1, 32, 32)
    assert activation_method(net) == MAP
    with torch.inference_mode():
        expected = torch.sigmoid(net.evidence(image))[1, 0].numpy()  # type: ignore[operator]
    np.testing.assert_allclose(class_activation(net, image, 1), expected, atol=1e-6)
    assert activation_method(build_net("light_classifier")) == GRAD_CAM


def decoded(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_a_picture_has_the_bare_slice_on_the_left_and_outlines_on_the_right() -> None:
    image = np.full((32, 32), 0.5, np.float32)
    true, marked = np.zeros((2, 32, 32), np.bool_)
    true[4:12, 4:12] = True
    marked[18:30, 18:30] = True
    shown = decoded(picture(image, true, marked, None))
    assert shown.shape == (256, 512, 3)
    assert (shown[:, :256] == 127).all()
    drawn = shown[:, 256:].astype(int)
    yellow, blue = drawn[..., 2] - drawn[..., 0] > 80, drawn[..., 0] - drawn[..., 2] > 80
    assert yellow[4 * 8, 4 * 8 : 12 * 8].all(), "the true outline has no gap"
    assert blue.any()
    assert not blue[18 * 8, 18 * 8 : 30 * 8].all(), "the net's has"
    assert not yellow[128:].any()
    assert not blue[:128].any()
    assert (decoded(picture(image, None, None, None)) == 127).all()


def test_a_heat_map_is_warm_where_it_is_high() -> None:
    heat = np.zeros((32, 32), np.float32)
    heat[:16] = 1.0
    shown = decoded(picture(np.full((32, 32), 0.5, np.float32), None, None, heat))[:, 256:]
    assert shown[:128, :, 2].mean() > shown[128:, :, 2].mean() + 80
    large = decoded(picture(np.zeros((300, 300), np.float32), None, None, None))
    assert large.shape == (300, 600, 3)


def test_outlines_go_around_pieces_and_holes() -> None:
    mask = np.zeros((20, 20), np.uint8)
    assert outlines(mask) == []
    mask[2:12, 2:12] = 1
    mask[5:8, 5:8] = 0
    mask[15:18, 15:18] = 1
    assert len(outlines(mask)) == 3


def said_of(cache: Cache, rows: int = 6, **columns: object) -> Predictions:
    """Predictions of the first rows of a cache, with some columns given."""
    zero = np.zeros((rows, 1), np.int64)
    table = cache.table[:rows]
    plain: dict[str, NDArray[np.generic]] = {
        "classes": np.array(["any"]),
        "row": np.arange(rows, dtype=np.int64),
        "patient": np.array(["p"] * rows),
        "study": np.array(["s"] * rows),
        "position_mm": np.arange(rows, dtype=np.float32),
        "fold": np.full(rows, TEST_FOLD, np.int32),
        "probability": np.full((rows, 1), np.nan, np.float32),
        "label": table["labels"][:, :1],
        "study_label": table["study_labels"][:, :1],
        "drawn": np.zeros(rows, np.bool_),
        "true_px": zero,
        "marked_px": zero,
        "overlap_px": zero,
        "surface_mm": np.full((rows, 1), np.nan, np.float32),
        "pixel_mm": np.ones(rows, np.float32),
        "extent_mm": np.full(rows, 5.0, np.float32),
    }
    given = {key: np.asarray(value).reshape(rows, *plain[key].shape[1:]) for key, value in columns.items()}
    return Predictions(**{**plain, **given})  # type: ignore[arg-type]


def found(predictions: Predictions, cache: Cache, count: int = 2) -> list[tuple[int, str]]:
    return [(mistake.entry, mistake.what) for mistake in worst_mistakes(predictions, cache, 0.5, count)]


def test_the_worst_outlines_are_those_that_miss_most_then_those_that_add_most() -> None:
    cache = cache_in_memory(Made(patients=2, slices=3))
    outlined = said_of(
        cache,
        label=[1, 1, 1, 0, 0, 0],
        drawn=[True] * 6,
        true_px=[10, 50, 50, 0, 0, 0],
        marked_px=[10, 60, 20, 0, 7, 9],
        overlap_px=[10, 45, 20, 0, 0, 0],
    )
    assert found(outlined, cache) == [
        (2, "missed blood"),
        (1, "missed blood"),
        (5, "false outline"),
        (4, "false outline"),
    ]
    assert found(outlined, cache, 1) == [(2, "missed blood"), (1, "false outline")]
    unknown = replace(outlined, label=np.full((6, 1), -1, np.int8), drawn=np.arange(6) < 5)
    assert (5, "false outline") not in found(unknown, cache)
    perfect = said_of(cache, drawn=[True] * 6, true_px=[3] * 6, marked_px=[3] * 6, overlap_px=[3] * 6)
    assert found(perfect, cache) == []


def test_the_worst_labels_are_large_bleeds_below_the_threshold_then_the_surest_alarms() -> None:
    cache = cache_in_memory(Made(patients=2, slices=4))
    table, masks = cache.table.copy(), np.zeros_like(cache.masks)
    masks[0, :2, :2], masks[1, :9, :9], masks[2, :20, :20] = 1, 1, 1
    table["drawn"][:4] = [True, True, False, True]
    cache = replace(cache, table=table, masks=masks)
    labelled = said_of(
        cache,
        label=[1, 1, 1, 1, 0, 0],
        probability=[0.1, 0.4, 0.2, 0.9, 0.6, 0.8],
    )
    expected = [(1, "missed slice"), (0, "missed slice"), (2, "missed slice"), (5, "false alarm"), (4, "false alarm")]
    assert found(labelled, cache, 3) == expected
    unknown = replace(labelled, label=np.full((6, 1), -1, np.int8))
    assert found(unknown, cache) == []
    silent = replace(labelled, probability=np.full((6, 1), np.nan, np.float32))
    assert found(silent, cache) == []


def asking_of(cache: Cache, protocol: ExperimentProtocol, *, scan: bool = False) -> Asking:
    slices = Slices(cache, slice_truth(cache), protocol.input, masks_wanted=protocol.loss.mask != "none")
    return Asking(slices, protocol, CPU, 0, scan)


def nets_of(net: NetSpec, count: int, *, classes: int = 1) -> list[Answering]:
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(Answering(build_net(net.name, net.options, in_channels=1, classes=classes)).eval())
    return made


ONE_WINDOW = InputSpec(size=32, windows=((40.0, 80.0),))


@pytest.mark.parametrize("pictures", [False, True])
def test_a_gallery_shows_outlines_of_nets_that_outline(pictures: bool) -> None:
    cache = cache_in_memory(Made(patients=4, pictures=pictures))
    protocol = small_protocol(classes="binary", input=ONE_WINDOW, nets=(SMALL_UNET,), loss=LossSpec(mask="dice"))
    nets, asking = nets_of(SMALL_UNET, 2), asking_of(cache, protocol)
    rows = np.asarray(cache.usable, np.int64)
    predictions = predict_together(nets, asking, rows, TEST_FOLD)
    shown = gallery(nets, asking, predictions, "test")
    assert 1 <= len(shown) <= 6
    for one in shown:
        assert one.caption.startswith(("missed blood, test: study study-0", "false outline, test: study study-0"))
        assert "warm" not in one.caption
        assert ("mm; " in one.caption) != pictures
        assert ("pixels" in one.caption) == pictures
        assert ("ml, outlined" in one.caption) != pictures
        assert decoded(one.png).shape == (256, 512, 3)


@pytest.mark.parametrize("loss", [LossSpec(mask="dice", label="bce"), LossSpec(label="bce")], ids=["masks", "labels"])
def test_a_gallery_shows_what_a_classifier_looked_at(loss: LossSpec) -> None:
    cache = cache_in_memory(Made(patients=4))
    protocol = small_protocol(classes="binary", input=ONE_WINDOW, nets=(SMALL_CLASSIFIER,), loss=loss, threshold=0.0)
    nets, asking = nets_of(SMALL_CLASSIFIER, 2), asking_of(cache, protocol)
    predictions = predict_together(nets, asking, np.asarray(cache.usable, np.int64), TEST_FOLD)
    (first, *others) = gallery(nets, asking, predictions, "validation", count=2)
    assert len(others) == 1
    assert first.caption.startswith("false alarm, validation: study study-")
    assert first.caption.endswith(f"warm: {MAP}")
    assert "; probability 0." in first.caption


def test_a_net_with_masks_that_trained_on_labels_alone_is_asked_for_its_label() -> None:
    cache = cache_in_memory(Made(patients=4))
    protocol = small_protocol(classes="binary", input=ONE_WINDOW, loss=LossSpec(label="bce"), threshold=0.0)
    nets, asking = nets_of(SMALL_MUNET, 1), asking_of(cache, protocol)
    predictions = predict_together(nets, asking, np.asarray(cache.usable, np.int64), TEST_FOLD)
    assert gallery(nets, asking, predictions, "test", count=1)[0].caption.endswith(f"warm: {GRAD_CAM}")


def test_a_slice_that_a_fold_validated_is_shown_as_that_fold_sees_it() -> None:
    cache = cache_in_memory(Made(patients=4))
    protocol = small_protocol(classes="binary", input=ONE_WINDOW, nets=(SMALL_UNET,), loss=LossSpec(mask="dice"))
    nets, asking = nets_of(SMALL_UNET, 2), asking_of(cache, protocol)
    rows = np.asarray(cache.usable, np.int64)
    alone = [gallery([net], asking, predict_together([net], asking, rows, TEST_FOLD), "test", 1) for net in nets]
    folds = [gallery(nets, asking, predict_together([nets[k]], asking, rows, k), "test", 1) for k in (0, 1)]
    assert [one.png for shown in folds for one in shown] == [one.png for shown in alone for one in shown]
    assert alone[0][0].png != alone[1][0].png


def test_a_net_that_reads_scans_is_shown_its_whole_scan() -> None:
    cache = cache_in_memory(Made(patients=3, slices=5))
    net = NetSpec("gate_2p5d", NARROW["gate_2p5d"])
    protocol = small_protocol(
        classes="binary", input=ONE_WINDOW, nets=(net,), loss=LossSpec(label="bce"), threshold=0.0
    )
    asked: list[int] = []
    nets = nets_of(net, 1)
    nets[0].net.register_forward_hook(lambda module, inputs, output: asked.append(len(inputs[0])))
    asking = asking_of(cache, protocol, scan=True)
    predictions = predict_together(nets, asking, np.asarray(cache.usable, np.int64), TEST_FOLD)
    shown = gallery(nets, asking, predictions, "test", count=1)
    assert len(shown) == 1
    assert set(asked) == {5}
