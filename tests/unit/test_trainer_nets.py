import pytest
import torch

from trainer.nets.munet import MUNet, combine_levels
from trainer.nets.registry import build_net, parameter_count
from trainer.nets.slice_classifier import SliceClassifier

DEMO_WIDTHS = (16, 32, 64, 128, 256)


@pytest.mark.parametrize(("convs", "millions"), [(1, 14.105182), (2, 26.679774), (3, 39.254366)])
def test_munet_has_the_parameters_of_its_paper_widths(convs: int, millions: float) -> None:
    with torch.device("meta"):
        net = MUNet(convs_per_stage=convs)
    assert parameter_count(net) == round(millions * 1e6)


def test_demo_munet_is_small() -> None:
    assert parameter_count(MUNet(DEMO_WIDTHS)) == 1_768_398


def test_munet_answers_at_the_size_of_its_input() -> None:
    net = MUNet(DEMO_WIDTHS).eval()
    with torch.no_grad():
        masks, logits = net(torch.rand(2, 3, 64, 96))
        levels, _ = net.levels(torch.rand(2, 3, 64, 96))
    assert masks.shape == (2, 6, 64, 96)
    assert logits.shape == (2, 6)
    assert [tuple(level.shape[2:]) for level in levels] == [(4, 6), (8, 12), (16, 24), (32, 48)]


def test_combined_levels_are_their_mean_at_twice_the_finest_size() -> None:
    levels = [torch.full((1, 1, size, size), value) for size, value in ((4, 1.0), (8, 2.0), (16, 6.0))]
    combined = combine_levels(levels)
    assert combined.shape == (1, 1, 32, 32)
    torch.testing.assert_close(combined, torch.full((1, 1, 32, 32), 3.0))


def test_slice_classifier_is_cheap_and_speaks_from_its_strongest_places() -> None:
    net = SliceClassifier().eval()
    assert parameter_count(net) < 300_000
    evidence = torch.full((1, 6, 16, 16), -5.0)
    quiet = net.pool(evidence)
    evidence[0, 2, 3:5, 4:8] = 9.0
    loud = net.pool(evidence)
    assert loud[0, 2] > quiet[0, 2] + 10
    torch.testing.assert_close(loud[0, [0, 1, 3, 4, 5]], quiet[0, [0, 1, 3, 4, 5]])


def test_slice_classifier_maps_are_a_quarter_of_the_side() -> None:
    net = SliceClassifier().eval()
    with torch.no_grad():
        assert net.evidence(torch.rand(2, 3, 64, 64)).shape == (2, 6, 16, 16)
        assert net(torch.rand(2, 3, 64, 64)).shape == (2, 6)


def test_unknown_architectures_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no net is called 'vgg'"):
        build_net("vgg", {})
