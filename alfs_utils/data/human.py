"""CIFAR-10N and CIFAR-100N: the training labels of CIFAR-10 and CIFAR-100 that people gave anew.

Wei et al., "Learning with noisy labels revisited: a study using real-world human annotations",
ICLR 2022; licence CC BY-NC 4.0 (no commercial use), so the files are never part of this project.
They belong in the folder `ALFS_DATA_DIR` ("data" if it is not set)::

    CIFAR-10_human.pt, CIFAR-100_human.pt      as published, or
    CIFAR-10_human.npz, CIFAR-100_human.npz    the same arrays without pickle, see `convert`

    python -m alfs_utils human convert         writes the .npz files
    python -m alfs_utils human counts FOLDER   writes how often each class was called what

A .pt file is a pickle, which can run code when it is read: it is read only if its sha256 is that of
the published file. Images must come in torchvision's order (data_batch_1 to 5); TensorFlow Datasets
has another one.
"""

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alfs_utils._arguments import option
from alfs_utils._files import read_bytes
from alfs_utils.classes import CLASS_NAMES, NUM_CLASSES
from alfs_utils.data.datasets import folder, read_npz
from alfs_utils.noise import NoisyLabels, count_matrix, transition_matrix

__all__ = [
    "DATASETS",
    "LICENCE",
    "NAMES",
    "convert",
    "load",
    "write_counts",
]

LICENCE = "CC BY-NC 4.0"
SIZE = 50_000  # training images of either data set
_URL = (
    "https://github.com/UCSC-REAL/cifar-10-100n/raw/49df7d8a69e355470c77c1c2f2424916325a394b/data/"
)


@dataclass(frozen=True)
class Source:
    """A published file: its name, its hash, that of its arrays, and the label sets in it."""

    file: str
    sha256: str
    arrays_sha256: str  # of all arrays as uint8, one after the other, by name
    sets: dict[str, str]  # our name -> the file's
    clean: str = "clean_label"

    @property
    def arrays(self):
        return sorted([self.clean, *self.sets.values()])


SOURCES = {
    "cifar10": Source(
        "CIFAR-10_human.pt",
        "873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310",
        "bc5f006d7899fe4e675ee9725486d62b58616397793965174261b616453aad11",
        {
            "cifar10n-aggregate": "aggre_label",
            "cifar10n-random1": "random_label1",
            "cifar10n-random2": "random_label2",
            "cifar10n-random3": "random_label3",
            "cifar10n-worst": "worse_label",
        },
    ),
    "cifar100": Source(
        "CIFAR-100_human.pt",
        "bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394",
        "06872140a9a2cc6255a7b877008e2587e14b06843363ca45148ffc7fcf0c4234",
        {"cifar100n": "noisy_label"},
    ),
}
DATASETS = {name: dataset for dataset, source in SOURCES.items() for name in source.sets}
NAMES = tuple(DATASETS)


def load(name: str, clean=None) -> NoisyLabels:
    """Load one set of human labels from the folder `ALFS_DATA_DIR`.

    Parameters
    ----------
    name : str
        "cifar10n-random1", "-random2" or "-random3": one of the three labels that each image got;
        "cifar10n-aggregate": their majority; "cifar10n-worst": a wrong one wherever there is one;
        "cifar100n": the only label that each image got.
    clean : (50000,) array_like of integers, optional
        Training labels of the images that the result will be used with, in their order. Give it
        wherever there are images: a label of another image is noise that nobody measured.

    Raises
    ------
    ValueError
        For an unknown name; for a file that is not the published one (by its sha256; a .pt file is
        then not even opened); for labels that are missing, too few, not integers or out of range;
        and where the file's clean labels differ from `clean`. It names the file, what was expected,
        the first offenders and their number, and a command that mends it.
    FileNotFoundError
        If there is no file; the message has the command that downloads it, and the licence.
    """
    dataset = DATASETS[option("name", name, NAMES)]
    source, k = SOURCES[dataset], NUM_CLASSES[dataset]
    path, arrays = _read(source)
    _check_arrays(source, path, arrays, k)
    published = _digest(source, arrays) == source.arrays_sha256
    if clean is not None:
        _check_order(source, path, arrays[source.clean], clean, published)
    if not published:
        raise ValueError(
            f"{path}: expected the published arrays, sha256 {source.arrays_sha256}, got "
            f"{_digest(source, arrays)}: other labels, or another order. {_mend(source)}"
        )
    labels, own = (arrays[key].astype(np.int64) for key in (source.sets[name], source.clean))
    T = transition_matrix(clean=own, noisy=labels, num_classes=k)
    return NoisyLabels(labels, own, T, 0, "human", name)


def convert(dataset: str) -> Path:
    """Write the arrays of a published file beside it as .npz, which `load` prefers.

    `dataset` is "cifar10" or "cifar100". The arrays keep their names (clean_label, aggre_label,
    ...), as (50000,) uint8; those of coarse labels are left out. Return the path.
    """
    source = SOURCES[option("dataset", dataset, SOURCES)]
    path = folder() / source.file
    arrays = _read_published(source, path)
    target = path.with_suffix(".npz")
    np.savez_compressed(target, **{key: arrays[key].astype(np.uint8) for key in source.arrays})
    return target


def write_counts(folder: str | os.PathLike) -> list[Path]:
    """Write one .csv per label set into `folder`: rows are true classes, columns given labels.

    One more, `cifar10n-random1-random2.csv`, counts only the images that the first two people gave
    the same label. Return the paths.
    """
    first, second = load("cifar10n-random1"), load("cifar10n-random2")
    same = first.labels == second.labels
    pairs = {name: load(name) for name in NAMES}
    counts = {
        name: count_matrix(clean=pair.clean, noisy=pair.labels, num_classes=len(pair.T))
        for name, pair in pairs.items()
    }
    agreed = count_matrix(
        clean=first.clean[same], noisy=first.labels[same], num_classes=len(first.T)
    )
    counts["cifar10n-random1-random2"] = agreed
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [_write(Path(folder), name, count) for name, count in counts.items()]


def _write(folder, name, count):
    dataset = "cifar100" if len(count) == 100 else "cifar10"
    source, names = SOURCES[dataset], CLASS_NAMES[dataset]
    rows = [
        f"# {name}: images of the row's class that were called what the column says",
        f"# counted from {source.file}, sha256 {source.sha256}",
        f"# Wei et al., ICLR 2022, https://github.com/UCSC-REAL/cifar-10-100n, {LICENCE}",
        "# written by: python -m alfs_utils human counts results/human",
        ",".join(["class", *names]),
        *(",".join([own, *map(str, row)]) for own, row in zip(names, count, strict=True)),
    ]
    path = folder / f"{name}.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


# --- reading --------------------------------------------------------------------------------


def _mend(source):
    return (
        f"Download it (licence {LICENCE}: no commercial use; cite Wei et al., ICLR 2022) with: "
        f"curl -fL --create-dirs -o {folder() / source.file} {_URL}{source.file}"
    )


def _read(source):
    """Return (path, arrays by name), from the .npz if there is one."""
    path = (folder() / source.file).with_suffix(".npz")
    if not path.exists():
        path = path.with_suffix(".pt")
        return path, _read_published(source, path)
    try:
        return path, read_npz(path, source.arrays, 8 * SIZE + 1000)
    except ValueError as error:
        raise ValueError(
            f"{path}: expected an .npz file of labels, got {error}. Delete it. {_mend(source)}"
        ) from error


def _read_published(source, path):
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file. {_mend(source)}")
    content = read_bytes(path)  # hashed and read from the same bytes
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise ValueError(
            f"{path}: expected sha256 {source.sha256}, got {found} ({len(content)} bytes). It was "
            f"not opened, since a pickle can run code. {_mend(source)}"
        )
    arrays = torch.load(io.BytesIO(content), weights_only=False)
    return {key: np.asarray(value) for key, value in arrays.items()}


def _check_arrays(source, path, arrays, k):
    missing = [key for key in source.arrays if key not in arrays]
    if missing:
        raise ValueError(f"{path}: no arrays {missing}, only {sorted(arrays)}. {_mend(source)}")
    for key in source.arrays:
        labels = arrays[key]
        if labels.shape != (SIZE,) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"{path}: {key}: expected {SIZE} integers, got shape {labels.shape} of "
                f"{labels.dtype}. {_mend(source)}"
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= k))
        if wrong.size:
            shown = ", ".join(f"{labels[i]} at {i}" for i in wrong[:3])
            raise ValueError(
                f"{path}: {key}: expected labels in [0, {k}), got {wrong.size} others: {shown}"
                f"{', ...' if wrong.size > 3 else ''}. {_mend(source)}"
            )


def _check_order(source, path, own, clean, published):
    clean = np.asarray(clean)
    if clean.shape != own.shape:
        raise ValueError(f"clean: expected the {SIZE} training labels, got shape {clean.shape}")
    wrong = np.flatnonzero(clean != own)
    if wrong.size:
        shown = ", ".join(f"{own[i]} against {clean[i]} at {i}" for i in wrong[:3])
        mend = _mend(source)
        if published:
            dataset = source.file.removesuffix("_human.pt").replace("-", "")
            mend = (
                "The file is the published one, so the images are in another order; load them from "
                "what this downloads: python -c 'from torchvision import datasets; "
                f'datasets.{dataset}("data", download=True)\''
            )
        raise ValueError(
            f"{path}: expected clean labels in the order of `clean` (torchvision's), but "
            f"{wrong.size} of {SIZE} differ: {shown}{', ...' if wrong.size > 3 else ''}. {mend}"
        )


def _digest(source, arrays):
    digest = hashlib.sha256()
    for key in source.arrays:
        digest.update(arrays[key].astype(np.uint8).tobytes())
    return digest.hexdigest()
