"""Every net of the registry: the papers' parameter counts, shapes, a step of training, start weights, cost."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from trainer.cli import main
from trainer.nets.cost import cost_of
from trainer.nets.evidence import MapClassifier
from trainer.nets.gate import Gate25D, with_neighbours
from trainer.nets.registry import NETS, build_net, check_side, parameter_count


@dataclass(frozen=True)
class Row:
    """What is asked of a net: its parameters at the paper's input, and a small net of the same kind to train."""

    name: str
    paper: str
    task: str
    parameters: int
    small: dict[str, object]


# resnet and densenet: the published counts (11,689,512, 21,797,672, 25,557,032, 7,978,856, 14,149,480 for three
# channels and 1000 classes), less two channels of the stem and 999 rows of the last layer.
TABLE = (
    Row("munet", "004", "both", 26_679_774, {"widths": (8, 8, 16, 16, 32), "hidden": 16}),
    Row("munet_flat", "004", "both", 26_428_620, {"widths": (8, 8, 16, 16, 32), "hidden": 16}),
    Row("denseunet", "000", "labels", 1_290_868, {"growth": 4, "depth": 2, "layers": 2, "stem": 8}),
    Row("densenet121", "000", "labels", 7_978_856 - 2 * 64 * 49 - 999 * 1025, {"blocks": (2, 2, 2, 2)}),
    Row("densenet169", "000", "labels", 14_149_480 - 2 * 64 * 49 - 999 * 1665, {"blocks": (2, 2, 3, 3)}),
    Row("unet", "000", "labels", 31_042_369, {"widths": (8, 16), "bottleneck": 16}),
    Row("resnet18", "000", "labels", 11_689_512 - 2 * 64 * 49 - 999 * 513, {}),
    Row("resnet34", "000", "labels", 21_797_672 - 2 * 64 * 49 - 999 * 513, {}),
    Row("resnet50", "000", "labels", 25_557_032 - 2 * 64 * 49 - 999 * 2049, {}),
    Row("light_unet", "001", "masks", 5_137_569, {"widths": (8, 16), "bottleneck": 16}),
    Row("light_classifier", "001", "labels", 2_352_097, {"widths": (8, 16), "bottleneck": 16}),
    Row("d_unet", "002", "masks", 7_765_409, {"widths": (8, 16), "bottleneck": 16}),
    Row("unet_classic", "002", "masks", 31_030_593, {"widths": (8, 16), "bottleneck": 16}),
    Row("dr_unet", "003", "masks", 10_953_249, {"width": 8, "levels": 3}),
    Row("unet_dr", "003", "masks", 31_114_305, {"width": 8, "levels": 3}),
    Row("dense_unet", "003", "masks", 2_603_449, {"growth": 4, "blocks": (1, 2, 2, 1), "decoder": (16, 16, 8, 8)}),
    Row("gate_2p5d", "", "scan", 2_272_622, {"widths": (8, 8, 16, 16), "width": 16, "heads": 2}),
    Row("slice_classifier", "", "labels", 278_762, {"widths": (8, 8, 16, 16), "pyramid": 8}),
)
every_net = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


def answers(net: nn.Module, image: Tensor) -> tuple[Tensor, ...]:
    given = net(image)
    return given if isinstance(given, tuple) else (given,)


def expected_shapes(task: str, count: int, classes: int, side: int) -> list[tuple[int, ...]]:
    masks, labels = (count, classes, side, side), (count, classes)
    return {"masks": [masks], "labels": [labels], "both": [masks, labels], "scan": [labels]}[task]


def test_the_table_has_every_net() -> None:
    assert [row.name for row in TABLE] == list(NETS)
    assert all(name == entry.name for name, entry in NETS.items())


@every_net
def test_counts_and_shapes_at_the_size_of_the_paper(row: Row) -> None:
    """Without weights in memory: torch works the shapes out."""
    entry = NETS[row.name]
    with torch.device("meta"), torch.no_grad():
        net = build_net(row.name).eval()
        given = answers(net, torch.empty(2, entry.in_channels, entry.size, entry.size))
    assert parameter_count(net) == row.parameters
    assert (entry.paper, entry.task) == (row.paper, row.task)
    assert [tuple(part.shape) for part in given] == expected_shapes(row.task, 2, entry.classes, entry.size)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("light_unet", {"bottleneck": 512}, 7_759_521),
        ("dense_unet", {"growth": 32}, 7_893_869),
        ("munet", {"convs_per_stage": 1}, 14_105_182),
    ],
)
def test_other_counts_that_the_papers_leave_open(name: str, options: dict[str, object], count: int) -> None:
    assert cost_of(name, options, size=64).parameters == count


@every_net
@pytest.mark.parametrize(("channels", "classes"), [(1, 6), (5, 1)])
def test_any_channels_and_both_numbers_of_classes(row: Row, channels: int, classes: int) -> None:
    with torch.device("meta"), torch.no_grad():
        net = build_net(row.name, in_channels=channels, classes=classes).eval()
        given = answers(net, torch.empty(1, channels, 64, 64))
    assert [tuple(part.shape) for part in given] == expected_shapes(row.task, 1, classes, 64)


@every_net
def test_a_step_of_training_reaches_every_parameter_and_lowers_the_loss(row: Row) -> None:
    torch.manual_seed(1)
    net = build_net(row.name, row.small, classes=6).train()
    image = torch.rand(4, NETS[row.name].in_channels, 64, 64)
    goals = [torch.rand_like(part) for part in answers(net, image)]
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3)

    def loss() -> Tensor:
        torch.manual_seed(2)  # the same dropout both times
        parts = zip(answers(net, image), goals, strict=True)
        return torch.stack([nn.functional.binary_cross_entropy_with_logits(part, goal) for part, goal in parts]).sum()

    before = loss()
    before.backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    broken = [name for name, p in net.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert (silent, broken) == ([], [])
    optimiser.step()
    assert loss() < before


@every_net
def test_a_seed_fixes_the_start(row: Row) -> None:
    built = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        built.append(torch.cat([p.detach().flatten() for p in build_net(row.name, row.small).parameters()]))
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])


@pytest.mark.parametrize("name", ["light_unet", "unet_classic", "dr_unet", "unet_dr", "dense_unet", "denseunet"])
@pytest.mark.parametrize("training", [True, False])
def test_signals_neither_fade_nor_burst_before_training(name: str, training: bool) -> None:
    """At full depth and width: without care they fade to nothing in the norm-free net and grow 150-fold in DR-UNet."""
    torch.manual_seed(0)
    net = build_net(name).train(training)
    with torch.no_grad():
        map_of = net.evidence if isinstance(net, MapClassifier) else net
        logits = map_of(torch.rand(2, 1, 64, 64))
    assert 0.05 < float(logits.std()) < 5.0
    assert float(logits.abs().max()) < 20.0


def test_munet_without_pyramid_has_one_level_and_still_answers_in_full() -> None:
    net = build_net("munet_flat", {"widths": (8, 8, 16, 16, 32)}).eval()
    with torch.no_grad():
        levels, labels = net.levels(torch.rand(2, 3, 64, 64))
        masks, _ = net(torch.rand(2, 3, 64, 64))
    assert [tuple(level.shape) for level in levels] == [(2, 6, 32, 32)]
    assert (tuple(masks.shape), tuple(labels.shape)) == ((2, 6, 64, 64), (2, 6))


def test_pooled_evidence_lies_between_the_mean_and_the_highest_place() -> None:
    evidence = torch.full((1, 1, 8, 8), -3.0)
    evidence[0, 0, 2, 2] = 5.0
    pooled = {sharp: MapClassifier(nn.Identity(), sharp)(evidence).item() for sharp in (0.001, 1.0, 4.0, 200.0)}
    assert pooled[0.001] == pytest.approx(float(evidence.mean()), abs=0.02)
    assert pooled[200.0] == pytest.approx(5.0, abs=0.03)
    assert list(pooled.values()) == sorted(pooled.values())
    # by hand: log((e^5 + 63 e^-3) / 64)
    assert pooled[1.0] == pytest.approx(np.log((np.exp(5.0) + 63 * np.exp(-3.0)) / 64), abs=1e-5)


def test_pooling_bears_large_logits() -> None:
    assert MapClassifier(nn.Identity())(torch.full((1, 1, 4, 4), 500.0)).item() == pytest.approx(500.0)
    with pytest.raises(ValueError, match="sharpness must be above 0"):
        MapClassifier(nn.Identity(), 0.0)


def test_neighbours_are_below_itself_above_and_the_ends_stand_for_themselves() -> None:
    scan = torch.arange(4.0).reshape(4, 1, 1, 1)
    assert with_neighbours(scan).reshape(4, 3).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert with_neighbours(scan[:1]).flatten().tolist() == [0, 0, 0]


def gate() -> Gate25D:
    torch.manual_seed(3)
    net = Gate25D((8, 8, 16, 16), width=16, heads=2).eval()
    for module in net.scan:
        nn.init.normal_(module.distance)
    return net


def test_the_gate_hears_the_whole_scan_and_knows_its_order() -> None:
    net, scan = gate(), torch.rand(7, 3, 32, 32)
    with torch.no_grad():
        plain = net(scan)
        changed = scan.clone()
        changed[6] = 0.0
        other = net(changed)
        shuffled = net(scan[[3, 1, 2, 0, 4, 5, 6]])
    assert (other - plain).abs()[0].max() > 1e-5  # no neighbour of slice 6: only attention carries it there
    assert (shuffled[4] - plain[4]).abs().max() > 1e-6  # the same slices and the same neighbours, elsewhere in the scan


def test_the_gate_takes_one_slice_and_more_than_it_can_tell_apart() -> None:
    net = gate()
    with torch.no_grad():
        assert net(torch.rand(1, 3, 32, 32)).shape == (1, 6)
        assert net(torch.rand(40, 3, 32, 32)).shape == (40, 6)


def test_an_impossible_build_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="no net is called 'vgg'; there are munet, munet_flat,"):
        build_net("vgg")
    with pytest.raises(ValueError, match="munet has no option depth; it has widths, convs_per_stage"):
        build_net("munet", {"depth": 3})
    with pytest.raises(ValueError, match="gives 1 or 6 classes, not 1 and 4"):
        build_net("d_unet", classes=4)
    with pytest.raises(ValueError, match="takes 1 or more channels"):
        build_net("d_unet", in_channels=0)
    with pytest.raises(ValueError, match="has no option in_channels"):
        build_net("d_unet", {"in_channels": 2})
    with pytest.raises(ValueError, match="3 heads do not divide a width of 16"):
        build_net("gate_2p5d", {"width": 16, "heads": 3})
    with pytest.raises(ValueError, match="as many decoder widths as blocks, not 4 for 2"):
        build_net("dense_unet", {"blocks": (2, 2)})
    with pytest.raises(ValueError, match="a depth of 1 or more and a bottleneck above 0"):
        build_net("denseunet", {"bottleneck": 0.0})


def test_a_side_that_the_halvings_do_not_divide_is_refused() -> None:
    check_side("dr_unet", 96)
    check_side("light_unet", 80)
    with pytest.raises(ValueError, match="dr_unet takes slices whose sides 32 divides, not 80"):
        check_side("dr_unet", 80)


def test_costs_are_counted_by_hand_the_same() -> None:
    """A light U-Net of one level: two multiplications-and-additions of each convolution, counted on paper."""
    side, wide, low = 32, 4, 6
    down = (1 * wide + wide * wide) * 9 * side**2
    bottom = (wide * low + low * low) * 9 * (side // 2) ** 2
    up = low * wide * side**2  # a transposed 2x2 convolution: one tap per output pixel
    last = (2 * wide * wide + wide * wide) * 9 * side**2 + wide * side**2
    cost = cost_of("light_unet", {"widths": (wide,), "bottleneck": low}, size=side)
    assert cost.gflop * 1e9 == pytest.approx(2 * (down + bottom + up + last))


@pytest.mark.parametrize(("name", "gflop"), [("munet", 19.8), ("light_unet", 90.9), ("d_unet", 24.1), ("dr_unet", 8.5)])
def test_costs_at_the_size_of_the_paper(name: str, gflop: float) -> None:
    assert cost_of(name).gflop == pytest.approx(gflop, abs=0.05)


def test_the_command_lists_every_net_on_one_line_and_as_json() -> None:
    told = CliRunner().invoke(main, ["nets"])
    assert told.exit_code == 0, told.output
    head, *lines = told.output.splitlines()
    assert [line.split()[0] for line in lines] == list(NETS)
    assert "10,953,249" in next(line for line in lines if line.startswith("dr_unet"))
    column = head.index("classes")
    assert all(line[column - 1] == " " and line[column] in "16" for line in lines)

    listed = json.loads(CliRunner().invoke(main, ["nets", "--json"]).output)
    assert [item["name"] for item in listed] == list(NETS)
    light = next(item for item in listed if item["name"] == "light_unet")
    assert (light["paper"], light["parameters"], light["size"], light["in_channels"]) == ("001", 5_137_569, 512, 1)
    assert light["gflop"] == pytest.approx(90.9, abs=0.05)
    assert next(item for item in listed if item["name"] == "gate_2p5d")["paper"] is None
