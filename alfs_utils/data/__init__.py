"""Data sets as in-memory uint8 tensors.

A whole data set is two tensors of images and two of labels, so that a batch is an index, not a
file: no loader processes, and the same code on a CPU and on a GPU. Images stay uint8 until they
reach the network (`DataSet.normalise`), which is four times smaller and exact.

All files are in one folder: that of the environment variable ALFS_DATA_DIR, or `data/` in the
working directory. Only `load(..., download=True)` downloads them.
"""

from alfs_utils._arguments import option
from alfs_utils.data import webvision, words
from alfs_utils.data.datasets import base_name, cifar, digits, find, folder, mnist
from alfs_utils.data.images import DataSet, augment, draw_augmentation

__all__ = [
    "NAMES",
    "DataSet",
    "augment",
    "base_name",
    "draw_augmentation",
    "find",
    "folder",
    "load",
    "sources",
]


def load(name: str, download: bool = False) -> DataSet:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        One of `NAMES`.

        "digits" is embedded in scikit-learn and needs no download: 1,797 grey 8 x 8 images of the
        ten digits (Alpaydin & Kaynak 1998). Every fifth image is a test image (360, taken in the
        file's order), the other 1,437 train.

        The others are read from the folder ALFS_DATA_DIR (default: `data`), laid out as
        torchvision does: `MNIST/raw/*-ubyte` (or the .gz files), `cifar-10-batches-py/`,
        `cifar-100-python/`; the official checksums are verified.

        A name in "-npz" reads `cifar10.npz` or `cifar100.npz` instead, for those who have CIFAR as
        arrays: uint8 `train_x`, `test_x` of shape (N, 32, 32, 3), `train_y`, `test_y` of shape
        (N,), in torchvision's order. Shapes and class counts are verified; pixels cannot be, so the
        name keeps runs on them apart.

        "webvision-mini" stays in files, which are decoded as they are needed:
        `alfs_utils.data.webvision`. It is not downloaded.

        "words" and "words-4" come along, in two and in four classes: `alfs_utils.data.words`.
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
    ConnectionError
        If missing files were to be fetched and could not be.
    """
    return _LOADERS[option("name", name, NAMES)](name, download)


def sources(name: str) -> tuple[str, ...]:
    """Return the names under which a data set may have been trained on, official files first."""
    return tuple(source for source in NAMES if base_name(source) == base_name(name))


_LOADERS = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar,
    "cifar100": cifar,
    "cifar10-npz": cifar,
    "cifar100-npz": cifar,
    "webvision-mini": lambda name, download: webvision.load(),
    **dict.fromkeys(words.CUTS, words.load),
}
NAMES = tuple(_LOADERS)
