"""Data sets as in-memory uint8 tensors.

A whole data set is two tensors of images and two of labels, so that a batch is an index, not a
file: no loader processes, and the same code on a CPU and on a GPU. Images stay uint8 until they
reach the network (`DataSet.normalise`), which is four times smaller and exact.

Files are looked for in one folder: the environment variable ALFS_DATA_DIR, or `data/` in the
working directory. Nothing is downloaded unless asked for.
"""

import gzip
import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["CLASS_COUNTS", "DataSet", "augment", "base_name", "draw_augmentation", "find", "load"]

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
            Draws the augmentation of all of `order`, whatever `places` are; None for none.

        Yields
        ------
        index, images : Tensor
            The part of `order`, and its images, float32 (n, C, H, W), normalised.
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


def load(name: str, download: bool = False) -> DataSet:
    """Load a data set by name.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10", "cifar100", "cifar10-npz", "cifar100-npz",
        "webvision-mini"}
        "digits" is embedded in scikit-learn and needs no download: 1,797 grey 8 x 8 images of the
        ten digits (Alpaydin & Kaynak 1998). Every fifth image is a test image (360, taken in the
        file's order), the other 1,437 train.

        The others are read from the folder ALFS_DATA_DIR (default: `data`), laid out as
        torchvision does: `MNIST/raw/*-ubyte` (or the .gz files), `cifar-10-batches-py/`,
        `cifar-100-python/`; the official checksums are verified.

        A name in "-npz" reads `cifar10.npz` or `cifar100.npz` instead, for those who have CIFAR as
        arrays: uint8 `train_x`, `test_x` of shape (N, 32, 32, 3), `train_y`, `test_y` of shape
        (N,), in torchvision's order. Shapes and class counts are verified, pixels cannot be; the
        name keeps runs on them apart.

        "webvision-mini" stays in files, which are decoded as they are needed:
        `alfs_utils.webvision`. It is not downloaded.
    download : bool, default False
        Whether missing official files may be fetched by torchvision.

    Returns
    -------
    DataSet
        Or `webvision.WebVision`, whose batches are those of a `DataSet`.

    Raises
    ------
    ValueError
        If `name` is not a known data set; the message lists those that are.
    FileNotFoundError, ValueError
        If a file is missing, or is not what it should be; the message names the file, what was
        expected and the command that mends it.
    """
    if name not in _LOADERS:
        raise ValueError(f"name must be one of {sorted(_LOADERS)}, got {name!r}")
    return _LOADERS[name](name, download)


def folder() -> Path:
    """The folder of the data files: ALFS_DATA_DIR, or `data` in the working directory."""
    return Path(os.environ.get("ALFS_DATA_DIR") or "data")


def base_name(name: str) -> str:
    """The data set behind a name: "cifar10" for "cifar10-npz"."""
    return name.removesuffix("-npz")


def sources(name: str) -> tuple[str, ...]:
    """The names under which a data set may have been trained on, the official files first."""
    base = base_name(name)
    return tuple(source for source in (base, f"{base}-npz") if source in _LOADERS)


def find(name: str) -> str:
    """`name`, or `name` + "-npz" where only the arrays are at hand."""
    official = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
    if name in official and not (folder() / official[name]).exists():
        if (folder() / f"{name}.npz").exists():
            return f"{name}-npz"
    return name


# --- augmentation ---------------------------------------------------------------------------


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
    rotation = _rotation(turn * dataset.rotation, height, width)
    return torch.cat([shift, mirrored, rotation], 1)


def augment(images: Tensor, draws: Tensor | None) -> Tensor:
    """Crop, mirror and rotate each image by its own draw, filling with black.

    All three are one look-up: every output pixel is found at one place of the input or nowhere.
    Pixel for pixel what Pillow gives for the same parameters (rotation: nearest neighbour).

    Parameters
    ----------
    images : Tensor
        Shape (N, C, H, W), any dtype. Augment before normalising, so that zero means black.
    draws : Tensor or None
        Of `draw_augmentation`, shape (N, 3) or (N, 9), on the device of `images`; None returns the
        images as they are.

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


def _rotation(degrees, height, width):
    """Pillow's `Image.rotate` as coefficients: where does output pixel (column, row) come from?

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


# --- the files ------------------------------------------------------------------------------


def _digits(name, download) -> DataSet:
    from sklearn.datasets import load_digits

    source = load_digits()
    # The file's 17 grey levels (0-16) are spread over 0-255: 16 * 15.9375 = 255.
    images = torch.from_numpy(source.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(source.target).long()
    test = torch.arange(len(labels)) % 5 == 0
    pixels = images[~test].double() / 255
    return DataSet(
        name=name,
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        num_classes=10,
        mean=(pixels.mean().item(),),
        std=(pixels.std().item(),),
        crop_padding=1,
    )


# md5 of the unpacked files.
_MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def _mnist(name, download) -> DataSet:
    raw = folder() / "MNIST" / "raw"
    if download:
        _torchvision_class("MNIST")(folder(), download=True)
    parts = []
    for file, md5 in _MNIST.items():
        path, content = _unpacked(raw / file, name)
        if hashlib.md5(content).hexdigest() != md5:
            raise ValueError(
                f"{path}: expected the official file, md5 {md5} unpacked; this one is "
                f"damaged or another. {_mend(name, path)}"
            )
        labels = "labels" in file
        array = torch.from_numpy(
            np.frombuffer(content, np.uint8, offset=8 if labels else 16).copy()
        )
        parts.append(array.long() if labels else array.view(-1, 1, 28, 28))
    train_images, train_labels, test_images, test_labels = parts
    return DataSet(
        name=name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        num_classes=10,
        mean=(0.1307,),
        std=(0.3081,),
    )


def _unpacked(path, name):
    """`path` and its content, or `path`.gz and its content unpacked."""
    packed = path.with_name(path.name + ".gz")
    if path.exists():
        return path, path.read_bytes()
    if not packed.exists():
        raise FileNotFoundError(f"{path}: not found, nor {packed.name}. {_mend(name)}")
    try:
        return packed, gzip.decompress(packed.read_bytes())
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{packed}: expected a gzip file, found a damaged or truncated one ({error}). "
            f"{_mend(name, packed)}"
        ) from error


# Normalisation and augmentation of the paper's code.
_CIFAR = {
    "cifar10": {
        "num_classes": 10,
        "mean": (0.49139968, 0.48215827, 0.44653124),
        "std": (0.24703233, 0.24348505, 0.26158768),
        "crop_padding": 4,
        "flip": True,
    },
    "cifar100": {
        "num_classes": 100,
        "mean": (0.5071, 0.4865, 0.4409),
        "std": (0.2673, 0.2564, 0.2762),
        "crop_padding": 4,
        "flip": True,
        "rotation": 20.0,
    },
}


def _cifar(name, download) -> DataSet:
    read = _cifar_arrays if name.endswith("-npz") else _cifar_official
    images, labels = zip(*read(name, download), strict=True)
    images = [torch.from_numpy(x).permute(0, 3, 1, 2).contiguous() for x in images]
    labels = [torch.from_numpy(np.asarray(y).astype(np.int64)) for y in labels]
    return DataSet(name, images[0], labels[0], images[1], labels[1], **_CIFAR[base_name(name)])


def _cifar_official(name, download):
    kind = _torchvision_class(name.upper())  # first: it may have to mend torchvision's import
    from torchvision.datasets.utils import check_integrity

    if download:
        kind(folder(), download=True)
    home = folder() / kind.base_folder
    names = kind.meta["filename"], kind.meta["md5"]
    for file, md5 in [*kind.train_list, *kind.test_list, names]:
        if not (home / file).exists():
            arrays = folder() / f"{name}.npz"
            other = f' {arrays} is there: load("{name}-npz") reads it.' if arrays.exists() else ""
            raise FileNotFoundError(f"{home / file}: not found.{other} {_mend(name)}")
        if not check_integrity(str(home / file), md5):
            raise ValueError(
                f"{home / file}: expected the official file, md5 {md5}; this one is damaged or "
                f"another. {_mend(name, home)}"
            )
    parts = [kind(folder(), train=train) for train in (True, False)]
    return [(part.data, part.targets) for part in parts]


def _cifar_arrays(name, download):
    path, base = folder() / f"{name.removesuffix('-npz')}.npz", base_name(name)
    if not path.exists():
        raise FileNotFoundError(f"{path}: not found. {_mend(base)}")
    try:
        return _checked_arrays(path, _CIFAR[base]["num_classes"])
    except ValueError as error:
        raise ValueError(f"{path}: {error} {_mend(base, path)}") from error


def _checked_arrays(path, k):
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[key] for key in ("train_x", "train_y", "test_x", "test_y")]
    except _NOT_ARRAYS as error:
        raise ValueError(
            f"expected arrays train_x, train_y, test_x, test_y, found {error!r}."
        ) from error
    for key, x, y, n in (("train", *arrays[:2], 50_000), ("test", *arrays[2:], 10_000)):
        if x.shape != (n, 32, 32, 3) or x.dtype != np.uint8:
            raise ValueError(
                f"{key}_x: expected uint8 of shape {(n, 32, 32, 3)}, got {x.dtype} of "
                f"shape {x.shape}."
            )
        if y.shape != (n,) or not np.issubdtype(y.dtype, np.integer):
            raise ValueError(f"{key}_y: expected {n} integers, got {y.dtype} of shape {y.shape}.")
        known = 0 <= y.min() and y.max() < k
        counts = np.bincount(y.astype(np.int64), minlength=k).tolist() if known else []
        if set(counts) != {n // k}:
            raise ValueError(
                f"{key}_y: expected {n // k} of each label 0 to {k - 1}, got labels "
                f"{y.min()} to {y.max()}, {counts[:5]}..."
            )
    return [arrays[:2], arrays[2:]]


# What np.load and its archive raise; TypeError: a single array is no context manager.
_NOT_ARRAYS = (
    EOFError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def _webvision(name, download):
    from alfs_utils import webvision

    return webvision.load()


def _torchvision_class(name):
    from alfs_utils._torchvision import torchvision

    return getattr(torchvision.datasets, name)


def _mend(name, damaged=None):
    remove = f"Remove {damaged}, then fetch" if damaged else "Fetch"
    return (
        f"{remove} the official files: "
        f"python -c \"from alfs_utils import data; data.load('{name}', download=True)\" "
        "(or set ALFS_DATA_DIR to the folder that has them)."
    )


_LOADERS = {
    "digits": _digits,
    "mnist": _mnist,
    "cifar10": _cifar,
    "cifar100": _cifar,
    "cifar10-npz": _cifar,
    "cifar100-npz": _cifar,
    "webvision-mini": _webvision,
}
NAMES = tuple(_LOADERS)
