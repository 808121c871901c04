"""Networks that are built to be measured are those that they are called after."""

import pytest
import torch
import torchvision

from inception_viz import cost, networks
from inception_viz.architecture import describe
from inception_viz.models import Model


@pytest.mark.parametrize("name", ["3a", "5b"])
def test_blocks_have_the_cost_that_is_told(name: str) -> None:
    widths = networks.GOOGLENET[name]
    for build, told in ((networks.block, cost.block), (networks.naive_block, cost.naive_block)):
        for five in (3, 5):
            network = networks.hollow(lambda build=build, five=five: build(widths, five))
            assert sum(p.numel() for p in network.parameters()) == told(widths, five).parameters
            with torch.device("meta"), torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
                network(torch.zeros(1, widths.inputs, widths.side, widths.side))
            assert counter.get_total_flops() // 2 == told(widths, five).macs


def test_the_reduced_block_gives_its_outputs_and_the_naive_one_hands_its_inputs_on() -> None:
    widths = networks.Widths(6, 4, 1, 2, 3, 2, 2, 5)
    inputs = torch.randn(1, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    assert networks.block(widths)(inputs).shape == (1, widths.outputs, 4, 4)
    naive = networks.naive_block(widths)(inputs)
    assert naive.shape == (1, 1 + 3 + 2 + 6, 4, 4)
    assert torch.equal(naive[:, -6:], torch.nn.functional.max_pool2d(inputs, 3, 1, 1))


def test_torchvisions_blocks_are_those_of_the_table(googlenet: Model) -> None:
    """Its nine blocks have the paper's widths, but for the 5x5 that is a 3x3."""
    for block in describe(googlenet).blocks:
        module = googlenet.network.get_submodule(block.module)
        convolutions = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
        assert sum(m.weight.numel() for m in convolutions) == cost.block(networks.GOOGLENET[block.name], five=3).parameters


@pytest.mark.parametrize("fixture", ["googlenet", "inception_v3"])
def test_a_network_made_wider_by_one_is_the_same(fixture: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(fixture)
    same = networks.wider(model.network, describe(model), 1.0)
    assert {k: v.shape for k, v in same.state_dict().items()} == {k: v.shape for k, v in model.network.state_dict().items()}
    assert next(model.network.parameters()).device.type == "cpu"


@pytest.mark.parametrize(("factor", "power"), [(0.3, None), (2.0, 2.0)])
def test_a_wider_network_runs_and_costs_about_the_square(googlenet: Model, factor: float, power: float | None) -> None:
    wider = networks.wider(googlenet.network, describe(googlenet), factor)
    real = networks.filled(wider, torch.device("cpu"))
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert real(inputs).isfinite().all()
    if power:
        macs = [cost.counted(n, 64).macs for n in (networks.wider(googlenet.network, describe(googlenet), 1.0), wider)]
        assert 1.8 < cost.exponent([1, factor], macs) < power


def test_filling_draws_from_its_own_seed() -> None:
    network = networks.hollow(lambda: networks.chain(4, 2))
    before = torch.get_rng_state()
    one, two = (networks.filled(network, torch.device("cpu")).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert torch.equal(torch.get_rng_state(), before)
    assert next(network.parameters()).is_meta  # the plan itself holds no memory


def test_alexnet_has_its_published_receptive_field() -> None:
    """195 pixels for AlexNet and 212 for VGG-16 after their last pooling (Araujo, Norris & Sim, 2019, Distill)."""
    assert cost.field("AlexNet") == 195
    assert cost.field("VGG-16") == 212


def test_network_in_network_ends_in_classes() -> None:
    network = networks.hollow(networks.network_in_network)
    with torch.device("meta"):
        assert network(torch.zeros(2, 3, 224, 224)).shape == (2, 1000)
    assert (
        sum(p.numel() for p in network.parameters()) < sum(p.numel() for p in networks.hollow(torchvision.models.alexnet).parameters()) / 8
    )
