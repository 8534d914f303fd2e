"""What the residual network is made of, beside torch's own layers."""

import math

import pytest
import torch
from torch import nn

from rlsearch.proxies.networks.convolution import PopulationConvolution
from rlsearch.proxies.networks.norms import PopulationBatchNorm

torch.set_num_threads(1)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def numbers(*shape, seed=5):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- convolutions ---


CONVOLUTIONS = pytest.mark.parametrize(
    ("channels", "side", "stride", "has_bias"),
    [(1, 8, 1, True), (4, 8, 1, False), (4, 8, 2, False), (4, 7, 2, True), (8, 2, 2, True), (8, 1, 1, False)],
)
WAYS = pytest.mark.parametrize("way", ["by_member", "by_product"])


@WAYS
@CONVOLUTIONS
def test_a_convolution_equals_torchs(way, channels, side, stride, has_bias):
    """Images, and the gradients of images, weights and biases; a height is not its width."""
    layer = PopulationConvolution(generators(0, 1, 2), channels, 12, stride, has_bias=has_bias)
    x = numbers(3, 4, side, side + 1, channels).requires_grad_()
    found = getattr(layer, way)(x)
    gradient = numbers(*found.shape, seed=6)
    found.backward(gradient)
    for k in range(3):
        theirs = nn.Conv2d(channels, 12, 3, stride, padding=1, bias=has_bias)
        theirs.weight.data = layer.weight[k].detach().reshape(12, 3, 3, channels).permute(0, 3, 1, 2)
        if has_bias:
            theirs.bias.data = layer.bias[k, 0].detach()
        own = x[k].detach().movedim(-1, 1).contiguous().requires_grad_()
        expected = theirs(own)
        expected.backward(gradient[k].movedim(-1, 1))
        torch.testing.assert_close(found[k], expected.movedim(1, -1), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(x.grad[k], own.grad.movedim(1, -1), rtol=1e-4, atol=1e-4)
        of_weight = theirs.weight.grad.permute(0, 2, 3, 1).flatten(1)
        torch.testing.assert_close(layer.weight.grad[k], of_weight, rtol=1e-4, atol=1e-4)
        if has_bias:
            torch.testing.assert_close(layer.bias.grad[k, 0], theirs.bias.grad, rtol=1e-4, atol=1e-4)


@WAYS
def test_members_of_a_convolution_do_not_see_each_other(way):
    layer = PopulationConvolution(generators(0, 1, 2), 4, 8, 1, has_bias=True)
    compute, x = getattr(layer, way), numbers(3, 4, 8, 8, 4)
    clean = compute(x)[1]
    x[[0, 2]] = math.nan
    leaf = x.requires_grad_()
    found = compute(leaf)
    assert torch.equal(found[1], clean)
    found.sum().backward()
    assert layer.weight.grad[0].isnan().any()
    assert layer.weight.grad[1].isfinite().all()
    assert leaf.grad[1].isfinite().all()


def test_the_way_is_the_devices():
    """On a CPU one member after the other, in images that lie one behind the other; elsewhere in one product."""
    layer = PopulationConvolution(generators(0, 1), 4, 8, 2, has_bias=False)
    x = numbers(2, 4, 8, 8, 4)
    assert torch.equal(layer(x), layer.by_member(x))
    assert layer(x).is_contiguous()
    assert layer.to("meta")(x.to("meta")).shape == (2, 4, 4, 4, 8)


def test_initial_weights_of_a_convolution_are_distributed_as_torchs():
    """nn.Conv2d draws evenly from -1/sqrt(9 channels) to 1/sqrt(9 channels), biases too."""
    layer = PopulationConvolution(generators(*range(8)), 16, 32, 1, has_bias=True)
    bound = 1 / math.sqrt(9 * 16)
    theirs = nn.Conv2d(16, 32, 3)
    for mine, reference in ((layer.weight, theirs.weight), (layer.bias, theirs.bias)):
        assert mine.abs().max() <= bound
        assert mine.abs().max() > 0.98 * bound
        assert reference.abs().max() <= bound
        assert mine.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    again = PopulationConvolution(generators(3, 3), 16, 32, 1, has_bias=True)
    assert torch.equal(again.weight[0], again.weight[1])
    assert torch.equal(again.weight[0], layer.weight[3])
    assert PopulationConvolution(generators(3), 16, 32, 1, has_bias=False).bias is None


# --- batch normalisation ---


def batch_norm(members=3, width=8):
    """Scales and shifts that are seen, and torch's own with the same ones."""
    norm = PopulationBatchNorm(members, width)
    norm.scale.data = 1 + 0.5 * numbers(members, 1, width)
    norm.shift.data = numbers(members, 1, width, seed=6)
    singles = []
    for k in range(members):
        single = nn.BatchNorm1d(width)
        single.weight.data, single.bias.data = norm.scale[k, 0].clone(), norm.shift[k, 0].clone()
        singles.append(single)
    return norm, singles


def test_batch_normalisation_equals_torchs_in_training_and_scoring():
    """Values, gradients and running statistics over some batches; then values and gradients by these statistics."""
    norm, singles = batch_norm()
    for step in range(4):
        if step == 3:
            for module in (norm, *singles):
                module.eval()
        # Far from zero, as the sums of positive numbers are.
        x = (20 + 3 * numbers(3, 32, 8, seed=step)).requires_grad_()
        gradient = numbers(3, 32, 8, seed=9)
        norm.zero_grad()
        found = norm(x)
        found.backward(gradient)
        for k, single in enumerate(singles):
            single.zero_grad()
            own = x[k].detach().clone().requires_grad_()
            expected = single(own)
            expected.backward(gradient[k])
            torch.testing.assert_close(found[k], expected, rtol=1e-5, atol=1e-4)
            torch.testing.assert_close(x.grad[k], own.grad, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(norm.scale.grad[k, 0], single.weight.grad, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(norm.shift.grad[k, 0], single.bias.grad, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(norm.mean[k, 0], single.running_mean)
            torch.testing.assert_close(norm.variance[k, 0], single.running_var)


def test_scoring_leaves_the_running_statistics_alone():
    norm, _ = batch_norm()
    norm(numbers(3, 32, 8))
    mean, variance = norm.mean.clone(), norm.variance.clone()
    norm.eval()
    x = numbers(3, 32, 8, seed=7)
    found = norm(x)
    assert torch.equal(norm.mean, mean)
    assert torch.equal(norm.variance, variance)
    # A row by itself is what it is among others.
    torch.testing.assert_close(norm(x[:, 3:4]), found[:, 3:4])


def test_the_gradient_is_that_of_differences():
    """In float64, by torch's own check of every number."""
    scale, shift = (1 + 0.5 * numbers(2, 1, 3)).double().requires_grad_(), numbers(2, 1, 3).double().requires_grad_()
    x = numbers(2, 6, 3, seed=1).double().requires_grad_()

    def normalised(x, scale, shift):
        norm = PopulationBatchNorm(2, 3).double()
        del norm.scale, norm.shift
        norm.scale, norm.shift = scale, shift
        return norm(x)

    assert torch.autograd.gradcheck(normalised, (x, scale, shift))


def test_members_of_a_batch_normalisation_do_not_see_each_other():
    norm, _ = batch_norm()
    x = numbers(3, 32, 8)
    clean = norm(x)[1]
    mean, variance = norm.mean[1].clone(), norm.variance[1].clone()
    norm, _ = batch_norm()
    x[[0, 2]] = math.nan
    leaf = x.requires_grad_()
    found = norm(leaf)
    assert torch.equal(found[1], clean)
    assert torch.equal(norm.mean[1], mean)
    assert torch.equal(norm.variance[1], variance)
    assert norm.mean[0].isnan().all()
    found.sum().backward()
    assert leaf.grad[1].isfinite().all()
    assert norm.scale.grad[1].isfinite().all()
    assert norm.scale.grad[0].isnan().all()
