"""Networks: the paper's layers, their initial weights, and an exact reordering."""

import math

import pytest
import torch
from torch import nn

from alfs_utils import models
from alfs_utils.data._torchvision import torchvision

SHAPES = {
    "digits_cnn": (1, 8, 8),
    "mnist_cnn": (1, 28, 28),
    "cifar_cnn_small": (3, 32, 32),
    "cifar_cnn": (3, 32, 32),
    "resnet34": (3, 32, 32),
    "words_mlp": (50, 1, 1),
    "news_mlp": (100, 1, 1),
    "digits_mlp": (1, 8, 8),
}


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def images(name, n, seed=0):
    return torch.randn(n, *SHAPES[name], generator=torch.Generator().manual_seed(seed))


# The papers' networks as their text has them: ReLU, then pooling.


def conv(inputs, outputs):
    return [f"conv3x3 {inputs}-{outputs} pad 1 bias", f"norm {outputs}", "relu"]


def head(inputs, hidden):
    return ["flatten", f"linear {inputs}-{hidden}", f"norm {hidden}", "relu", f"linear {hidden}-10"]


TEXT = {
    "mnist_cnn": [*conv(1, 32), "pool 2", *conv(32, 64), "pool 2", *head(3136, 128)],
    "cifar_cnn": [
        *conv(3, 64),
        *conv(64, 64),
        "pool 2",
        *conv(64, 128),
        *conv(128, 128),
        "pool 2",
        *conv(128, 196),
        *conv(196, 196),
        "pool 2",
        *head(3136, 256),
    ],
    "cifar_cnn_small": [*conv(3, 32), "pool 2", *conv(32, 64), "pool 2", *head(4096, 128)],
}


def described(layer):
    match layer:
        case nn.Conv2d(bias=bias, stride=(1, 1), padding=(p, _)) if bias is not None:
            size = "x".join(map(str, layer.kernel_size))
            return f"conv{size} {layer.in_channels}-{layer.out_channels} pad {p} bias"
        case nn.BatchNorm1d(eps=1e-5, momentum=0.1) | nn.BatchNorm2d(eps=1e-5, momentum=0.1):
            return f"norm {layer.num_features}"
        case nn.MaxPool2d(kernel_size=size, stride=stride, padding=0) if size == stride:
            return f"pool {size}"
        case nn.Linear():
            return f"linear {layer.in_features}-{layer.out_features}"
        case nn.ReLU() | nn.Flatten():
            return type(layer).__name__.lower()
    return repr(layer)


def as_in_the_text(network):
    """The same layers, with every pooling moved behind the ReLU that follows it."""
    layers = list(network)
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            assert isinstance(layers[i + 1], nn.ReLU)
    i = 0
    while i < len(layers):
        if isinstance(layers[i], nn.MaxPool2d):
            layers[i : i + 2] = layers[i + 1], layers[i]
            i += 1
        i += 1
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("name", "k", "count"),
    [
        ("mnist_cnn", 10, 422_090),
        ("cifar_cnn", 10, 1_639_794),
        ("resnet34", 100, 21_328_292),
        ("resnet50", 50, 23_610_482),
    ],
)
def test_parameter_counts_are_the_papers(name, k, count):
    assert parameters(models.build(name, k, seed=0)) == count


@pytest.mark.parametrize("name", list(TEXT))
def test_layers_are_the_papers(name):
    network = models.build(name, 10, seed=0)
    assert [described(layer) for layer in as_in_the_text(network)] == TEXT[name]


@pytest.mark.parametrize("name", list(TEXT))
@pytest.mark.parametrize("training", [True, False])
def test_pooling_before_relu_changes_no_bit(name, training):
    ours = models.build(name, 10, seed=0).train(training)
    theirs = as_in_the_text(models.build(name, 10, seed=0)).train(training)
    results = []
    for network in (ours, theirs):
        x = images(name, 8).requires_grad_()
        logits = network(x)
        logits.logsumexp(1).square().sum().backward()
        results.append([logits, x.grad, *(p.grad for p in network.parameters())])
    assert any(layer is not other for layer, other in zip(ours, theirs, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert results[0][1].any()


def test_resnet34_is_torchvisions_with_a_small_stem():
    ours = models.build("resnet34", 100, seed=0)
    theirs = torchvision.models.resnet34(num_classes=100)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    # Both list their parts in the order of the computation.
    state = theirs.state_dict()
    assert [x.shape for x in ours.state_dict().values()] == [x.shape for x in state.values()]
    theirs.load_state_dict(dict(zip(state, ours.state_dict().values(), strict=True)))
    ours, theirs, x = ours.double(), theirs.double(), images("resnet34", 3).double()
    for training in (True, False):  # first batch statistics, then what they left behind
        ours.train(training)
        theirs.train(training)
        torch.testing.assert_close(ours(x), theirs(x))
    other = models.build("resnet34", 100, seed=1).double().eval()
    assert not torch.allclose(other(x), theirs(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", list(SHAPES))
def test_initial_weights_are_uniform_within_the_bounds(name):
    layers = [
        layer
        for layer in models.build(name, 10, seed=0).modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    depth = {"cifar_cnn": 8, "resnet34": 37, "words_mlp": 2, "news_mlp": 2, "digits_mlp": 2}
    assert len(layers) == depth.get(name, 4)
    for layer in layers:
        fan_in = layer.weight[0].numel()
        if isinstance(layer, nn.Conv2d):  # Kaiming uniform for ReLU
            bound = math.sqrt(6 / fan_in)
        else:  # Xavier uniform
            bound = math.sqrt(6 / (fan_in + len(layer.weight)))
        largest = layer.weight.abs().max().item()
        assert 0.97 * bound < largest <= bound * (1 + 1e-6), layer
        n = layer.weight.numel()
        sd = bound / math.sqrt(3)
        assert abs(layer.weight.std().item() / sd - 1) < 5 / math.sqrt(n), layer
        assert abs(layer.weight.mean().item()) < 5 * sd / math.sqrt(n), layer
        if layer.bias is not None:
            assert layer.bias.abs().max() <= 1 / math.sqrt(fan_in)  # torch's default


@pytest.mark.parametrize("name", list(SHAPES))
def test_initial_weights_follow_the_seed_alone(name):
    torch.manual_seed(1)
    first = models.build(name, 10, seed=0).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    again = models.build(name, 10, seed=0).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was used"
    assert all(torch.equal(again[key], value) for key, value in first.items())
    other = models.build(name, 10, seed=1).state_dict()
    drawn = [key for key in first if first[key].dim() > 1]
    assert not any(torch.equal(other[key], first[key]) for key in drawn)


@pytest.mark.parametrize(("name", "width"), [("mnist_cnn", 128), ("cifar_cnn", 256)])
def test_features_are_what_the_last_layer_sees(name, width):
    network = models.build(name, 10, seed=0).eval()
    x = images(name, 4)
    seen = models.features(network, x)
    assert seen.shape == (4, width)
    assert (seen >= 0).all() and (seen == 0).any() and (seen > 0).any(), "not after the ReLU"
    last = network[-1]
    torch.testing.assert_close(seen @ last.weight.T + last.bias, network(x))


@pytest.mark.parametrize("name", list(SHAPES))
def test_it_maps_images_to_as_many_logits_as_classes(name):
    assert models.build(name, 7, seed=0).eval()(images(name, 2)).shape == (2, 7)


def test_an_unknown_name_lists_the_known_ones():
    known = "'digits_cnn', 'mnist_cnn', .*'digits_mlp'"
    with pytest.raises(ValueError, match=f"^name: expected one of {known}, got 'resnet'"):
        models.build("resnet", 10, seed=0)
