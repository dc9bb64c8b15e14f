"""Networks, built by name so that a run's configuration can name them.

Where a convolution is followed by pooling, the pooling stands before the ReLU: the two commute
exactly (ReLU does not decrease), and the ReLU then has a quarter of the work.
"""

from collections import OrderedDict
from functools import partial

import torch
from torch import nn

from alfs_utils._arguments import integer, option

__all__ = ["NAMES", "build", "features"]


def build(name: str, num_classes: int, seed: int) -> nn.Module:
    """Build a network with reproducible initial weights.

    Parameters
    ----------
    name : str
        One of `NAMES`.

        "digits_cnn": ours, for the embedded grey 8 x 8 images: two 3 x 3 convolutions of 32
        channels (the first with stride 2) and linear layers to 128 and to the classes.
        "words_mlp", "news_mlp", "digits_mlp": ours, for vectors of 50 and 100 numbers and for the
        digits as vectors of 64: linear to 128, ReLU, linear to the classes.
        "cifar_cnn_small": ours, for reduced runs on a CPU: the layers of "mnist_cnn" for colour
        32 x 32 images, a twentieth of the work of "cifar_cnn".

        The others are the networks of the paper's code; convolutions are 3 x 3, each followed by
        batch normalisation and ReLU:

        - "mnist_cnn", the "4-layer CNN" for grey 28 x 28 images: convolutions to 32 and to 64
          channels, each with 2 x 2 max pooling, linear layers to 128 (batch norm, ReLU) and to the
          classes. 422,090 parameters at 10 classes.
        - "cifar_cnn", the "8-layer CNN" for colour 32 x 32 images: six convolutions to 64, 64, 128,
          128, 196, 196 channels, 2 x 2 max pooling after every second, linear layers to 256 (batch
          norm, ReLU) and to the classes. 1,639,794 parameters at 10 classes.
        - "resnet34" for colour 32 x 32 images: the ResNet-34 of He et al. (2016) with a 3 x 3 stem
          of stride 1 and no pooling in front. 21,328,292 parameters at 100 classes.
        - "resnet50" for colour 224 x 224 images: torchvision's, with torchvision's own initial
          weights and names in the `state_dict`. 23,610,482 parameters at 50 classes.
    num_classes : int
        Number of outputs (logits).
    seed : int
        Seed of the initial weights. Torch's global generator is left as it was.

    Returns
    -------
    nn.Sequential
        Maps float images (N, C, H, W) to logits (N, num_classes); the last module is the last
        linear layer.

    Raises
    ------
    TypeError, ValueError
        If `name` is not a known network (the message lists those that are), or a number is wrong.
    """
    option("name", name, NAMES)
    num_classes = integer("num_classes", num_classes, 1, 2**15)
    seed = integer("seed", seed, 0, 2**64 - 1)
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
        torch.random.default_generator.manual_seed(seed)
        network = _BUILDERS[name](num_classes)
        if name != "resnet50":
            network.apply(_initialise)
    return network


def features(network: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    """Compute the input of the last linear layer: (N, 128) for "mnist_cnn" (Figure 5)."""
    return network[:-1](images)


def _initialise(layer: nn.Module) -> None:
    # As the paper's code does: Kaiming uniform for convolutions, Xavier uniform for linear layers.
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)


def _convolution(inputs, outputs, *pooling, stride=1):
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    return [convolution, nn.BatchNorm2d(outputs), *pooling, nn.ReLU()]


def _head(inputs, hidden, num_classes):
    linear = [nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
    return [nn.Flatten(), *linear, nn.Linear(hidden, num_classes)]


def _digits_cnn(num_classes):
    return nn.Sequential(
        *_convolution(1, 32, stride=2), *_convolution(32, 32), *_head(32 * 4 * 4, 128, num_classes)
    )


def _mnist_cnn(num_classes, inputs=1, side=28):
    return nn.Sequential(
        *_convolution(inputs, 32, nn.MaxPool2d(2)),
        *_convolution(32, 64, nn.MaxPool2d(2)),
        *_head(64 * (side // 4) ** 2, 128, num_classes),
    )


def _cifar_cnn(num_classes):
    blocks = []
    for inputs, outputs in ((3, 64), (64, 128), (128, 196)):
        blocks += _convolution(inputs, outputs)
        blocks += _convolution(outputs, outputs, nn.MaxPool2d(2))
    return nn.Sequential(*blocks, *_head(196 * 4 * 4, 256, num_classes))


class _BasicBlock(nn.Module):
    """Two convolutions around which the input is passed (He et al. 2016)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def _resnet34(num_classes):
    stem = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    blocks, inputs = [], 64
    for outputs, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(depth):
            blocks.append(_BasicBlock(inputs, outputs, stride if i == 0 else 1))
            inputs = outputs
    pool = [nn.AvgPool2d(4), nn.Flatten()]
    return nn.Sequential(*stem, *blocks, *pool, nn.Linear(512, num_classes))


def _resnet50(num_classes):
    from alfs_utils.data._torchvision import torchvision

    layers = OrderedDict(torchvision.models.resnet50(num_classes=num_classes).named_children())
    layers["flatten"] = nn.Flatten()
    layers.move_to_end("fc")
    return nn.Sequential(layers)


def _mlp(num_classes, inputs):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, num_classes)
    )


_BUILDERS = {
    "digits_cnn": _digits_cnn,
    "mnist_cnn": _mnist_cnn,
    "cifar_cnn_small": partial(_mnist_cnn, inputs=3, side=32),
    "cifar_cnn": _cifar_cnn,
    "resnet34": _resnet34,
    "resnet50": _resnet50,
    "words_mlp": partial(_mlp, inputs=50),
    "news_mlp": partial(_mlp, inputs=100),
    "digits_mlp": partial(_mlp, inputs=64),
}
NAMES = tuple(_BUILDERS)
