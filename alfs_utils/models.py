"""Networks, built by name so that a run's configuration can name them."""

import torch
from torch import nn

__all__ = ["build"]


def build(name: str, num_classes: int, seed: int) -> nn.Module:
    """Build a network with reproducible initial weights.

    Parameters
    ----------
    name : {"digits_cnn"}
        "digits_cnn": two 3 x 3 convolutions (16 and 32 channels, batch norm, ReLU, the second
        followed by 2 x 2 max pooling) and two linear layers (64 hidden units) on grey 8 x 8 images.
    num_classes : int
        Number of outputs (logits).
    seed : int
        Seed of the initial weights. Torch's global generator is left as it was.

    Returns
    -------
    nn.Module
        Maps float images (N, C, H, W) to logits (N, num_classes).

    Raises
    ------
    ValueError
        If `name` is not a known network; the message lists those that are.
    """
    if name not in _BUILDERS:
        raise ValueError(f"name must be one of {sorted(_BUILDERS)}, got {name!r}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _BUILDERS[name](num_classes)
        network.apply(_initialise)
    return network


def _initialise(layer: nn.Module) -> None:
    # As the paper's code does: Kaiming uniform for convolutions, Xavier uniform for linear layers.
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)


def _digits_cnn(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )


_BUILDERS = {"digits_cnn": _digits_cnn}
