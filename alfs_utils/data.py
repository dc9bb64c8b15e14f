"""Data sets as in-memory uint8 tensors.

A whole data set is two tensors of images and two of labels, so that a batch is an index, not a
file: no loader processes, and the same code on a CPU and on a GPU. Images stay uint8 until they
reach the network (`DataSet.normalise`), which is four times smaller and exact.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["CLASS_COUNTS", "DataSet", "load", "random_crop"]

# Training samples per class of the official files.
CLASS_COUNTS = {
    "mnist": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    "cifar10": (5000,) * 10,
    "cifar100": (500,) * 100,
}


@dataclass(frozen=True)
class DataSet:
    """Images and labels of one data set, split into training and test part.

    Attributes
    ----------
    name : str
        The name it was loaded by.
    train_images, test_images : Tensor
        uint8 of shape (N, channels, height, width), values 0-255.
    train_labels, test_labels : Tensor
        int64 of shape (N,), values 0 to `num_classes` - 1.
    num_classes : int
        k in the paper.
    mean, std : tuple of float
        Per channel, of pixels scaled to [0, 1]: the constants of the normalisation.
    crop_padding : int
        The data set's usual augmentation: zero padding of the random crop of training images.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int = 0

    def to(self, device) -> "DataSet":
        """Return the same data set with all its tensors on `device`."""
        parts = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{part: getattr(self, part).to(device) for part in parts})

    def normalise(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, C, H, W) into float32 ones of about zero mean and unit variance."""
        mean, std = (
            torch.tensor(x, device=images.device).view(1, -1, 1, 1) for x in (self.mean, self.std)
        )
        return images.float().div_(255).sub_(mean).div_(std)


def load(name: str) -> DataSet:
    """Load a data set by name.

    Parameters
    ----------
    name : {"digits"}
        "digits" is embedded in scikit-learn and needs no download: 1,797 grey 8 x 8 images of the
        ten digits (Alpaydin & Kaynak 1998). Every fifth image is a test image (360, taken in the
        file's order), the other 1,437 train.

    Returns
    -------
    DataSet

    Raises
    ------
    ValueError
        If `name` is not a known data set; the message lists those that are.
    """
    if name not in _LOADERS:
        raise ValueError(f"name must be one of {sorted(_LOADERS)}, got {name!r}")
    return _LOADERS[name]()


def random_crop(images: Tensor, padding: int, generator: torch.Generator | None = None) -> Tensor:
    """Shift each image by its own random offset of up to `padding` pixels, filling with zeros.

    The standard augmentation of small images (pad with black, crop back to size), drawn per image.

    Parameters
    ----------
    images : Tensor
        Shape (N, C, H, W), any dtype. Pad before normalising, so that zero means black.
    padding : int
        The largest shift in pixels; 0 returns the images as they are.
    generator : torch.Generator, optional
        Source of the 2 N offsets.

    Returns
    -------
    Tensor
        Same shape and dtype as `images`.
    """
    if padding == 0:
        return images
    n, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, [padding] * 4)
    offset = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator).to(images.device)
    rows = (offset[0] + torch.arange(height, device=images.device)).view(n, 1, height, 1)
    columns = (offset[1] + torch.arange(width, device=images.device)).view(n, 1, 1, width)
    image = torch.arange(n, device=images.device).view(n, 1, 1, 1)
    channel = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    return padded[image, channel, rows, columns]


def _digits() -> DataSet:
    from sklearn.datasets import load_digits

    source = load_digits()
    # The file's 17 grey levels (0-16) are spread over 0-255: 16 * 15.9375 = 255.
    images = torch.from_numpy(source.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(source.target).long()
    test = torch.arange(len(labels)) % 5 == 0
    pixels = images[~test].double() / 255
    return DataSet(
        name="digits",
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        num_classes=10,
        mean=(pixels.mean().item(),),
        std=(pixels.std().item(),),
        crop_padding=1,
    )


_LOADERS = {"digits": _digits}
