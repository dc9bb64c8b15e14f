"""Data sets and augmentation."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from alfs_utils import data


def test_digits_are_scikit_learns_split_by_position():
    digits, source = data.load("digits"), load_digits()
    test = np.arange(1797) % 5 == 0
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.train_images.dtype == torch.uint8 and digits.train_labels.dtype == torch.int64
    assert np.array_equal(digits.train_labels, source.target[~test])
    assert np.array_equal(digits.test_labels, source.target[test])
    # Seventeen grey levels survive the way into uint8.
    grey = np.rint(digits.test_images[:, 0].numpy() * (16 / 255))
    assert np.array_equal(grey, source.images[test])
    assert digits.train_images.max() == 255


def test_normalise_gives_zero_mean_and_unit_variance():
    digits = data.load("digits")
    x = digits.normalise(digits.train_images)
    assert x.dtype == torch.float32
    assert abs(x.mean().item()) < 1e-6 and abs(x.std().item() - 1) < 1e-5


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"name must be one of \['digits'\], got 'mnits'"):
        data.load("mnits")


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    n=st.integers(0, 5),
    channels=st.integers(1, 3),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    padding=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
def test_random_crop_shifts_each_image_by_its_own_offset(n, channels, size, padding, seed):
    images = torch.randint(1, 256, (n, channels, *size), dtype=torch.uint8)
    cropped = data.random_crop(images, padding, torch.Generator().manual_seed(seed))
    assert cropped.shape == images.shape and cropped.dtype == images.dtype
    # The naive way, with the same offsets.
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator)[..., 0]
    height, width = size
    for image, crop, row, column in zip(images, cropped, rows, columns, strict=True):
        frame = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=torch.uint8)
        frame[:, padding : padding + height, padding : padding + width] = image
        assert torch.equal(crop, frame[:, row : row + height, column : column + width])


def test_random_crop_draws_every_offset_equally_often():
    from scipy.stats import chisquare

    images = torch.zeros(9000, 1, 3, 3)
    images[:, 0, 1, 1] = 1  # the centre marks the shift
    cropped = data.random_crop(images, 1, torch.Generator().manual_seed(0))
    assert chisquare(cropped.sum(0).flatten().numpy()).pvalue > 1e-3


def test_class_counts_are_those_of_the_data_sets():
    assert {name: sum(counts) for name, counts in data.CLASS_COUNTS.items()} == {
        "mnist": 60_000,
        "cifar10": 50_000,
        "cifar100": 50_000,
    }


def test_mnist_class_counts_are_those_of_the_genuine_file():
    folder = Path(os.environ.get("ALFS_DATA_DIR", "data"))
    path = folder / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz"
    require(path.exists(), f"MNIST's training labels at {path} (set ALFS_DATA_DIR)")
    labels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)
    assert tuple(np.bincount(labels)) == data.CLASS_COUNTS["mnist"]
