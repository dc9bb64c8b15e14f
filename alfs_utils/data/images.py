"""Images and labels in memory, their normalisation and augmentation."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor


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
        Augmentation: zero padding of the random crop, in pixels.
    flip : bool
        Augmentation: whether half of the images are mirrored.
    rotation : float
        Augmentation: the largest angle in degrees, either way.
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
    flip: bool = False
    rotation: float = 0.0

    test_batch = 1000

    def to(self, device) -> "DataSet":
        """Return the same data set with all its tensors on `device`."""
        return replace(self, **{part: getattr(self, part).to(device) for part in _PARTS})

    def normalise(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, C, H, W) into float32 ones of about zero mean and unit variance.

        The result is channels-last in memory, which convolutions want; its shape is the same.
        """
        mean, std = _constants(self.mean, self.std, images.device)
        images = images.to(torch.float32, memory_format=torch.channels_last)
        return images.sub_(mean).div_(std)

    def train_batches(
        self, order: Tensor, places: list[slice], augmentation: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, ready for the network.

        Parameters
        ----------
        order : Tensor
            int64, the epoch's order of training images, on the device of the data set.
        places : list of slice
            Each batch as a part of `order`.
        augmentation : torch.Generator, optional
            It draws the augmentation of all of `order`, whatever `places` are. None: images are
            not augmented.

        Yields
        ------
        index, images : Tensor
            A part of `order` and its images, float32 (n, C, H, W), normalised.
        """
        draws = None
        if augmentation is not None:
            draws = draw_augmentation(self, len(order), augmentation)
            draws = draws if draws is None else draws.to(order.device)
        for place in places:
            index = order[place]
            images = augment(self.train_images[index], draws if draws is None else draws[place])
            yield index, self.normalise(images)

    def test_batches(self, places: list[slice]) -> Iterator[Tensor]:
        """Yield parts of the test images, ready for the network; `places` as in `train_batches`."""
        return (self.normalise(self.test_images[place]) for place in places)

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of all images and labels, to tell data sets of the same name apart."""
        digest = hashlib.sha256()
        for part in _PARTS:
            digest.update(getattr(self, part).cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


_PARTS = ("train_images", "train_labels", "test_images", "test_labels")


@lru_cache(maxsize=8)
def _constants(mean, std, device):
    # Scaled to pixels of 0-255. Cached: a new tensor in every step would make a GPU wait.
    return tuple(
        torch.tensor([255 * x for x in values], device=device).view(1, -1, 1, 1)
        for values in (mean, std)
    )


def draw_augmentation(
    dataset: DataSet, n: int, generator: torch.Generator | None = None
) -> Tensor | None:
    """Draw the random crops, flips and rotations of n images, each image its own.

    The distribution is that of torchvision's `RandomCrop(size, padding)`,
    `RandomHorizontalFlip()`, `RandomRotation(degrees)`, in this order, on single images.

    Parameters
    ----------
    dataset : DataSet
        Says which augmentations there are, and the size of the images.
    n : int
        Number of images.
    generator : torch.Generator, optional
        On the CPU, whatever the device of the images.

    Returns
    -------
    Tensor or None
        int64 of shape (n, 3) or (n, 9), for `augment`; None if the data set has no augmentation.
        Columns: shift down, shift right, mirrored, then the six coefficients of the rotation in
        units of 2**-16 pixel.
    """
    if not (dataset.crop_padding or dataset.flip or dataset.rotation):
        return None
    padding = dataset.crop_padding
    shift = torch.randint(-padding, padding + 1, (n, 2), generator=generator)
    mirrored = torch.randint(2, (n, 1), generator=generator) * dataset.flip
    if not dataset.rotation:
        return torch.cat([shift, mirrored], 1)
    turn = torch.rand(n, generator=generator, dtype=torch.float64) * 2 - 1
    height, width = dataset.train_images.shape[2:]
    rotation = rotation_coefficients(turn * dataset.rotation, height, width)
    return torch.cat([shift, mirrored, rotation], 1)


def augment(images: Tensor, draws: Tensor | None) -> Tensor:
    """Crop, mirror and rotate each image by its own draw, filling with black.

    All three are one look-up: every output pixel comes from one place of the input or from nowhere.
    The result equals Pillow's pixel for pixel (rotation: nearest neighbour).

    Parameters
    ----------
    images : Tensor
        Shape (N, C, H, W), any dtype. Augment before normalising, so that zero means black.
    draws : Tensor or None
        The result of `draw_augmentation`, shape (N, 3) or (N, 9), on the device of `images`. With
        None the images are returned as they are.

    Returns
    -------
    Tensor
        Same shape and dtype as `images`.
    """
    if draws is None:
        return images
    n, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device).view(1, height, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, width)
    inside = torch.ones((), dtype=torch.bool, device=images.device)
    if draws.shape[1] > 3:
        a, b, c, d, e, f = (draws[:, i].view(n, 1, 1) for i in range(3, 9))
        rows, columns = (f + d * columns + e * rows) >> 16, (c + a * columns + b * rows) >> 16
        inside = _within(rows, height) & _within(columns, width)
    down, right, mirrored = (draws[:, i].view(n, 1, 1) for i in range(3))
    columns = torch.where(mirrored.bool(), width - 1 - columns, columns)
    rows, columns = rows + down, columns + right
    inside = inside & _within(rows, height) & _within(columns, width)
    place = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    place, inside = (x.view(n, 1, height * width) for x in (place, inside))
    pixels = images.flatten(2).gather(2, place.expand(-1, channels, -1))
    return (pixels * inside).view(images.shape)


def _within(index, size):
    return (index >= 0) & (index < size)


def rotation_coefficients(degrees, height, width):
    """Return the coefficients with which Pillow's `Image.rotate` finds the source of a pixel.

    Output pixel (column, row) comes from (column', row'), where
    column' = c + a column + b row and row' = f + d column + e row, in 16.16 fixed point.
    """
    angle = -degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2  # the centre stays where it is
    c = x - cos * x - sin * y
    f = y + sin * x - cos * y
    # Half a step on: the look-up is at the pixel's centre.
    rows = (cos, sin, c + (cos + sin) / 2, -sin, cos, f + (cos - sin) / 2)
    return torch.stack([(65536 * value + 0.5).floor().long() for value in rows], 1)
