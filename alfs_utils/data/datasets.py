"""The embedded digits, and the files of MNIST and CIFAR: found, verified, unpacked."""

import gzip
import hashlib
import io
import math
import os
import zipfile
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch

from alfs_utils._arguments import shown
from alfs_utils._files import check_regular, read_bytes
from alfs_utils.data.images import DataSet

# A little more than the bytes of MNIST's largest file (unpacked) and of CIFAR's largest array. What
# claims to be larger is not unpacked.
LARGEST = 160_000_000


def folder() -> Path:
    """Return the folder of the data files: ALFS_DATA_DIR, or `data` in the working directory."""
    return Path(os.environ.get("ALFS_DATA_DIR") or "data")


def base_name(name: str) -> str:
    """Return the data set behind a name, such as "cifar10" for "cifar10-npz"."""
    if not isinstance(name, str):
        raise TypeError(f"name: expected a string, got {shown(name)}")
    return name.removesuffix("-npz").removesuffix("-mini")


def find(name: str) -> str:
    """Return `name`, or `name` + "-npz" where only the arrays are at hand."""
    official = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
    if name in official and not (folder() / official[name]).exists():
        if (folder() / f"{name}.npz").exists():
            return f"{name}-npz"
    return name


def read_npz(path: Path, names: Iterable[str], largest: int) -> dict[str, np.ndarray]:
    """Read the arrays of these names from an .npz file, without pickle.

    Raise ValueError if anything is wrong with the file. An array of more than `largest` bytes is
    not unpacked, but counts as wrong.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist()]
            if missing := [name for name in names if name not in there]:
                raise ValueError(f"no arrays {missing}, only {sorted(there)[:20]}")
            return {name: _read_array(archive, name, largest) for name in names}
    except Exception as error:  # what a damaged archive leads to has no common class
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_array(archive, name, largest):
    size = archive.getinfo(f"{name}.npy").file_size
    if size > largest:
        raise ValueError(f"{name}: expected at most {largest} bytes, got {size}")
    with archive.open(f"{name}.npy") as file:
        header = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            np.lib.format.read_magic(file), np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = header(file)
        left = size - file.tell()
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != left:
            raise ValueError(f"{name}: expected {left} bytes of plain numbers, got {shape}")
        content = np.empty(left, np.uint8)
        if file.readinto(content) != left:  # at its end, it compares the checksum of the archive
            raise ValueError(f"{name}: expected {left} bytes")
    return content.view(dtype).reshape(shape, order="F" if fortran else "C")


def digits(name, download) -> DataSet:
    # What sklearn.datasets.load_digits reads. To import it takes two seconds, in every process.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = torch.from_numpy(np.loadtxt(file, delimiter=","))
    # The file's 17 grey levels (0-16) are spread over 0-255: 16 * 15.9375 = 255.
    images = table[:, :-1].mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    labels = table[:, -1].long()
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
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def mnist(name, download) -> DataSet:
    raw = folder() / "MNIST" / "raw"
    if download:
        _fetch(_torchvision_class("MNIST"), name)
    parts = []
    for file, md5 in MNIST_MD5.items():
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
    """Return `path` and its content, or `path`.gz and its content unpacked."""
    packed = path.with_name(path.name + ".gz")
    if path.exists():
        return path, read_bytes(path)
    if not packed.exists():
        raise FileNotFoundError(f"{path}: not found, nor {packed.name}. {_mend(name)}")
    try:
        with gzip.open(io.BytesIO(read_bytes(packed))) as file:
            return packed, file.read(LARGEST)
    except Exception as error:  # what damage leads to has no common class
        raise ValueError(
            f"{packed}: expected a gzip file, found a damaged or truncated one ({error}). "
            f"{_mend(name, packed)}"
        ) from error


# Normalisation and augmentation of the paper's code.
CIFAR_RECIPES = {
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


def cifar(name, download) -> DataSet:
    read = _cifar_arrays if name.endswith("-npz") else _cifar_official
    images, labels = zip(*read(name, download), strict=True)
    images = [torch.from_numpy(x).permute(0, 3, 1, 2).contiguous() for x in images]
    labels = [torch.from_numpy(np.asarray(y).astype(np.int64)) for y in labels]
    return DataSet(
        name, images[0], labels[0], images[1], labels[1], **CIFAR_RECIPES[base_name(name)]
    )


def _cifar_official(name, download):
    kind = _torchvision_class(name.upper())  # first: it may have to mend torchvision's import
    from torchvision.datasets.utils import check_integrity

    if download:
        _fetch(kind, name)
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
        return _checked_arrays(path, CIFAR_RECIPES[base]["num_classes"])
    except ValueError as error:
        raise ValueError(f"{path}: {error} {_mend(base, path)}") from error


def _checked_arrays(path, k):
    keys = ("train_x", "train_y", "test_x", "test_y")
    try:
        arrays = [*read_npz(path, keys, LARGEST).values()]
    except ValueError as error:
        raise ValueError(f"expected arrays {', '.join(keys)}, found {error}.") from error
    for key, x, y, n in (("train", *arrays[:2], 50_000), ("test", *arrays[2:], 10_000)):
        if x.shape != (n, 32, 32, 3) or x.dtype != np.uint8:
            raise ValueError(
                f"{key}_x: expected uint8 of shape {(n, 32, 32, 3)}, got {x.dtype} of "
                f"shape {x.shape}."
            )
        if y.shape != (n,) or y.dtype.kind not in "iu":
            raise ValueError(f"{key}_y: expected {n} integers, got {y.dtype} of shape {y.shape}.")
        known = 0 <= y.min() and y.max() < k
        counts = np.bincount(y.astype(np.int64), minlength=k).tolist() if known else []
        if set(counts) != {n // k}:
            raise ValueError(
                f"{key}_y: expected {n // k} of each label 0 to {k - 1}, got labels "
                f"{y.min()} to {y.max()}, {counts[:5]}..."
            )
    return [arrays[:2], arrays[2:]]


def _torchvision_class(name):
    from alfs_utils.data._torchvision import torchvision

    return getattr(torchvision.datasets, name)


def _fetch(kind, name):
    try:
        kind(folder(), download=True)
    except (OSError, RuntimeError) as error:  # torchvision's, without a network or room
        raise ConnectionError(
            f"{name}: its files are not in {folder().absolute()} (ALFS_DATA_DIR names another "
            f"folder), and could not be fetched: {error}"
        ) from error


def _mend(name, damaged=None):
    remove = f"Remove {damaged}, then fetch" if damaged else "Fetch"
    return (
        f"{remove} the official files: "
        f"python -c \"from alfs_utils import data; data.load('{name}', download=True)\" "
        "(or set ALFS_DATA_DIR to the folder that has them)."
    )
