"""Data sets and augmentation."""

import gzip
import hashlib
import io
import os
import pickle
import re
import resource
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import require
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from sklearn.datasets import load_digits

from alfs_utils import classes, data
from alfs_utils.data import datasets
from alfs_utils.data._torchvision import torchvision
from alfs_utils.data.images import rotation_coefficients

TF = torchvision.transforms.functional
transforms = torchvision.transforms


def mends(name):
    """What every error about a file ends with: a command that runs."""
    command = f"""python -c "from alfs_utils import data; data.load('{name}', download=True)\""""
    return re.escape(command)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    return tmp_path


def needs(*names):
    """Skip where a genuine file is not at hand."""
    for name in names:
        path = data.folder() / name
        require(path.exists(), f"{path} (set ALFS_DATA_DIR)")


# --- digits, names, the data set itself -----------------------------------------------------


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
    x = digits.normalise(digits.train_images)
    assert abs(x.mean().item()) < 1e-6 and abs(x.std().item() - 1) < 1e-5


def test_an_unknown_name_lists_the_known_ones():
    known = "'digits', 'mnist', 'cifar10', .*'words-4'"
    with pytest.raises(ValueError, match=f"^name: expected one of {known}, got 'mnits'"):
        data.load("mnits")


def test_find_prefers_the_official_files(folder):
    assert [data.find(name) for name in ("cifar10", "mnist", "digits")] == [
        "cifar10",
        "mnist",
        "digits",
    ]
    (folder / "cifar10.npz").touch()
    (folder / "mnist.npz").touch()
    assert data.find("cifar10") == "cifar10-npz" and data.find("cifar100") == "cifar100"
    assert data.find("mnist") == "mnist" and data.base_name("cifar10-npz") == "cifar10"
    (folder / "cifar-10-batches-py").mkdir()
    assert data.find("cifar10") == "cifar10"


def test_the_fingerprint_sees_every_pixel_and_label():
    digits = data.load("digits")
    seen = {digits.sha256}
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        changed = getattr(digits, part).clone()
        changed.view(-1)[-1] += 1
        seen.add(replace(digits, **{part: changed}).sha256)
    assert len(seen) == 5
    again = data.load("digits")
    assert again.to("cpu").sha256 == again.sha256 == digits.sha256


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_equals_torchvisions_and_is_channels_last(channels):
    mean, std = (0.49, 0.48, 0.44)[:channels], (0.24, 0.25, 0.26)[:channels]
    dataset = replace(data.load("digits"), mean=mean, std=std)
    images = torch.randint(0, 256, (5, channels, 6, 7), dtype=torch.uint8)
    before = images.clone()
    x = dataset.normalise(images)
    theirs = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    expected = torch.stack([theirs(image.permute(1, 2, 0).numpy()) for image in images])
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-6)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


# --- augmentation ---------------------------------------------------------------------------


def pillow(image, padding, down, right, mirrored, degrees):
    """The three steps on one image (C, H, W) by Pillow, through torchvision, in their order."""
    height, width = image.shape[1:]
    picture = TF.to_pil_image(image)
    picture = TF.crop(TF.pad(picture, padding), padding + down, padding + right, height, width)
    picture = TF.hflip(picture) if mirrored else picture
    return TF.pil_to_tensor(TF.rotate(picture, degrees) if degrees else picture)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    channels=st.sampled_from([1, 3]),
    size=st.one_of(st.just((32, 32)), st.tuples(st.integers(1, 33), st.integers(1, 33))),
    padding=st.integers(0, 4),
    draws=st.data(),
)
def test_augmentation_is_pixel_equal_to_pillow(channels, size, padding, draws):
    shift = st.integers(-padding, padding)
    # No multiples of a right angle but 0: Pillow copies there and does not look up.
    angle = st.floats(-89, 89)
    each = draws.draw(st.lists(st.tuples(shift, shift, st.booleans(), angle), max_size=4))
    images = torch.randint(1, 256, (len(each), channels, *size), dtype=torch.uint8)
    shifts = torch.tensor([row[:3] for row in each], dtype=torch.int64).view(-1, 3)
    angles = torch.tensor([row[3] for row in each], dtype=torch.float64)
    turned = torch.cat([shifts, rotation_coefficients(angles, *size)], 1)
    for table, rotates in ((shifts, 0), (turned, 1)):
        found = data.augment(images, table)
        assert found.shape == images.shape and found.dtype == torch.uint8
        for image, row, ours in zip(images, each, found, strict=True):
            assert torch.equal(ours, pillow(image, padding, *row[:3], rotates * row[3])), row


@pytest.fixture
def like_cifar100():
    digits = data.load("digits")
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    return replace(digits, train_images=images, crop_padding=4, flip=True, rotation=20.0)


def draw(dataset, n, seed=0):
    return data.draw_augmentation(dataset, n, torch.Generator().manual_seed(seed))


def degrees(draws):
    """The angles that the coefficients stand for."""
    return -np.rad2deg(np.arctan2(draws[:, 4].numpy(), draws[:, 3].numpy()))


def test_draws_have_torchvisions_distribution(like_cifar100):
    n = 20_000
    ours = draw(like_cifar100, n)
    frame = Image.new("L", (40, 40))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        corners = [transforms.RandomCrop.get_params(frame, (32, 32))[:2] for _ in range(n)]
        angles = [transforms.RandomRotation.get_params([-20.0, 20.0]) for _ in range(n)]
        flip = transforms.RandomHorizontalFlip()
        mark = torch.tensor([[[0, 1]]])
        flips = [flip(mark)[0, 0, 0].item() for _ in range(n)]

    def cells(down, right, mirrored):
        place = (torch.as_tensor(down) * 9 + right) * 2 + mirrored
        return torch.bincount(place, minlength=162).numpy()

    corners = torch.tensor(corners)
    theirs = cells(corners[:, 0], corners[:, 1], torch.tensor(flips))
    mine = cells(ours[:, 0] + 4, ours[:, 1] + 4, ours[:, 2])
    # Shifts and flips together, so that a dependence would show; then against uniform.
    assert stats.chi2_contingency([mine, theirs]).pvalue > 1e-3
    assert stats.chisquare(mine).pvalue > 1e-3
    assert stats.ks_2samp(degrees(ours), angles).pvalue > 1e-3
    turned_left = degrees(ours)[ours[:, 2].bool()]
    assert stats.kstest(turned_left, stats.uniform(-20, 40).cdf).pvalue > 1e-3


def test_each_image_gets_its_own_draw(like_cifar100):
    draws = draw(like_cifar100, 500)
    assert len(draws[:, 3:].unique(dim=0)) == 500
    assert len(draws[:, :2].unique(dim=0)) > 70 and len(draws[:, 2].unique()) == 2
    assert not torch.equal(draws, draw(like_cifar100, 500, seed=1))
    assert torch.equal(draws, draw(like_cifar100, 500))
    images = torch.randint(1, 256, (1, 3, 32, 32), dtype=torch.uint8).expand(500, -1, -1, -1)
    found = data.augment(images, draws)
    alone = [data.augment(images[:1], draws[i : i + 1])[0] for i in range(500)]
    assert torch.equal(found, torch.stack(alone))
    for i, angle in enumerate(degrees(draws)[:50]):
        # Read back from 16 bits the angle is not quite the drawn one: all but a few pixels agree.
        same = found[i] == pillow(images[0], 4, *draws[i, :3].tolist(), float(angle))
        assert same.double().mean() > 0.99


def test_what_a_data_set_does_not_have_is_not_drawn(like_cifar100):
    none = replace(like_cifar100, crop_padding=0, flip=False, rotation=0.0)
    assert data.draw_augmentation(none, 5) is None
    images = torch.randint(0, 256, (5, 1, 3, 3), dtype=torch.uint8)
    assert data.augment(images, None) is images
    digits = draw(data.load("digits"), 1000)
    assert digits.shape == (1000, 3) and not digits[:, 2].any()
    assert set(digits[:, 0].tolist()) == set(digits[:, 1].tolist()) == {-1, 0, 1}
    turns = draw(replace(none, rotation=5.0), 1000)
    assert not turns[:, :3].any() and 4.9 < abs(degrees(turns)).max() < 5.001


# --- MNIST ----------------------------------------------------------------------------------


@pytest.fixture
def small_mnist(folder, monkeypatch):
    """Four small files with known pixels, whose checksums stand for the official ones."""
    rng = np.random.default_rng(0)
    contents = {}
    for file in datasets.MNIST_MD5:
        n = 5 if file.startswith("train") else 3
        shape, header = ((n,), 8) if "labels" in file else ((n, 28, 28), 16)
        body = rng.integers(0, 10, shape, dtype=np.uint8)
        contents[file] = bytes([255] * header) + body.tobytes()
    sums = {file: hashlib.md5(content).hexdigest() for file, content in contents.items()}
    monkeypatch.setattr(datasets, "MNIST_MD5", sums)
    (folder / "MNIST" / "raw").mkdir(parents=True)
    return contents


def write_mnist(folder, contents, packed):
    paths = {}
    for file, content in contents.items():
        paths[file] = folder / "MNIST" / "raw" / (file + ".gz" * packed)
        paths[file].write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return paths


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_raw_and_packed(folder, small_mnist, packed):
    write_mnist(folder, small_mnist, packed)
    mnist = data.load("mnist")
    assert (mnist.name, mnist.num_classes, mnist.mean, mnist.std) == (
        "mnist",
        10,
        (0.1307,),
        (0.3081,),
    )
    assert data.draw_augmentation(mnist, 1) is None
    assert mnist.train_images.shape == (5, 1, 28, 28) and mnist.test_images.shape == (3, 1, 28, 28)
    assert mnist.train_images.dtype == torch.uint8 and mnist.test_labels.dtype == torch.int64
    body = small_mnist["train-images-idx3-ubyte"][16:]
    assert mnist.train_images.numpy().tobytes() == body
    assert bytes(mnist.test_labels.tolist()) == small_mnist["t10k-labels-idx1-ubyte"][8:]


def flipped(content):
    at = len(content) * 3 // 4
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "flipped": flipped,
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("file", list(datasets.MNIST_MD5))
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("damage", ["missing", "another", *DAMAGE])
def test_a_bad_mnist_file_is_named_with_its_mending(folder, small_mnist, file, packed, damage):
    path = write_mnist(folder, small_mnist, packed)[file]
    error, expected = ValueError, "expected (the official file, md5 [0-9a-f]{32}|a gzip file)"
    remove = re.escape(f"Remove {path}, then fetch")
    if damage == "missing":
        path.unlink()
        error, expected, remove = FileNotFoundError, "not found", "Fetch"
        path = path.with_name(file)
    elif damage == "another":  # a whole file, but of something else
        other = flipped(small_mnist[file])
        path.write_bytes(gzip.compress(other) if packed else other)
    else:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(error, match=f"^{re.escape(str(path))}: {expected}.*{remove}") as found:
        data.load("mnist")
    assert re.search(mends("mnist"), str(found.value))


def test_mnist_is_not_unpacked_beyond_its_size_and_a_pipe_does_not_hang(folder, small_mnist):
    path = write_mnist(folder, small_mnist, packed=True)["t10k-labels-idx1-ubyte"]
    content = bytes(5 * datasets.LARGEST)
    path.write_bytes(gzip.compress(content, compresslevel=1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=rf"^{path}: expected the official file"):
        data.load("mnist")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # kilobytes
    assert grown < 1.5 * datasets.LARGEST / 1024
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=rf"^{path}: expected a"):
        data.load("mnist")


def test_nothing_is_downloaded_unless_asked_for(folder, small_mnist, monkeypatch):
    asked = []

    def fetch(home, download):
        asked.append((home, download))
        write_mnist(folder, small_mnist, packed=False)

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    with pytest.raises(FileNotFoundError):
        data.load("mnist")
    assert not asked
    assert len(data.load("mnist", download=True).train_labels) == 5
    assert asked == [(folder, True)]


def test_genuine_mnist_raw_and_packed(tmp_path, monkeypatch):
    needs(*(f"MNIST/raw/{file}.gz" for file in datasets.MNIST_MD5))
    genuine = data.folder() / "MNIST" / "raw"
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for file in datasets.MNIST_MD5:
        packed = genuine / f"{file}.gz"
        (tmp_path / "MNIST" / "raw" / packed.name).symlink_to(packed.resolve())
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    mnist = data.load("mnist")
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert tuple(np.bincount(mnist.train_labels)) == classes.CLASS_COUNTS["mnist"]
    assert (len(mnist.test_labels), mnist.test_labels[0].item()) == (10_000, 7)
    share = np.bincount(mnist.train_images.view(-1), minlength=256) / mnist.train_images.numel()
    grey = np.arange(256) / 255
    mean = share @ grey
    assert mean == pytest.approx(mnist.mean[0], abs=1e-4)
    assert np.sqrt(share @ (grey - mean) ** 2) == pytest.approx(mnist.std[0], abs=1e-4)
    for file in datasets.MNIST_MD5:
        path = tmp_path / "MNIST" / "raw" / file
        path.write_bytes(gzip.decompress((genuine / f"{file}.gz").read_bytes()))
        path.with_name(file + ".gz").unlink()
    assert data.load("mnist").sha256 == mnist.sha256
    with open(path, "r+b") as cut:  # the last of the four
        cut.truncate(5000)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: expected .* Remove"):
        data.load("mnist")


# --- CIFAR ----------------------------------------------------------------------------------

# Normalisation and augmentation as in the code behind the paper's tables.
RECIPES = {
    "cifar10": (
        10,
        (0.49139968, 0.48215827, 0.44653124),
        (0.24703233, 0.24348505, 0.26158768),
        (4, True, 0.0),
    ),
    "cifar100": (100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), (4, True, 20.0)),
}


def check_recipe(dataset):
    k, mean, std, augmentation = RECIPES[data.base_name(dataset.name)]
    assert (dataset.num_classes, dataset.mean, dataset.std) == (k, mean, std)
    assert (dataset.crop_padding, dataset.flip, dataset.rotation) == augmentation


def pattern():
    """One image (32, 32, 3) in which row, column and channel can be told apart."""
    row, column, channel = np.indices((32, 32, 3))
    return (row + 33 * column + 100 * channel).astype(np.uint8)


def arrays(k, **changes):
    """The four arrays in their full size; the images are views of one."""
    made = {}
    for part, n in (("train", 50_000), ("test", 10_000)):
        made[f"{part}_x"] = np.broadcast_to(pattern(), (n, 32, 32, 3))
        made[f"{part}_y"] = (np.arange(n) % k).astype(np.uint8)
    return made | changes


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_arrays_are_read_in_their_order(folder, monkeypatch, name):
    (folder / f"{name}.npz").touch()
    k = RECIPES[name][0]
    monkeypatch.setattr(datasets, "read_npz", lambda *_: arrays(k))
    dataset = data.load(f"{name}-npz")
    check_recipe(dataset)
    assert dataset.name == f"{name}-npz" and dataset.train_images.shape == (50_000, 3, 32, 32)
    assert dataset.train_labels.dtype == torch.int64
    assert dataset.train_labels[:k].tolist() == list(range(k))
    assert len(dataset.test_labels) == 10_000
    assert np.array_equal(dataset.test_images[-1].numpy(), pattern().transpose(2, 0, 1))


def labels(n, k, dtype=np.int64, **places):
    y = (np.arange(n) % k).astype(dtype)
    for place, value in places.items():
        y[int(place[1:])] = value
    return y


WRONG = {
    "shape": ("train_x", np.zeros((50_000, 3, 2, 2), np.uint8), r"uint8 of shape \(50000, 32"),
    "few": ("test_x", np.broadcast_to(pattern(), (9_999, 32, 32, 3)), r"uint8 of shape \(10000,"),
    "float": ("train_x", np.broadcast_to(0.5, (50_000, 32, 32, 3)), "uint8 .* got float64"),
    "y shape": ("train_y", labels(50_000, 10)[:, None], r"50000 integers, .* shape \(50000, 1\)"),
    "y time": ("test_y", labels(10_000, 10, "m8[s]"), "10000 integers, got timedelta64"),
    "y dtype": ("test_y", labels(10_000, 10, float), "10000 integers, got float64"),
    "negative": ("train_y", labels(50_000, 10, _0=-1), "5000 of each label 0 to 9.* -1 to 9"),
    "beyond": ("test_y", labels(10_000, 10, _0=10), "1000 of each label 0 to 9.* 0 to 10"),
    "far beyond": ("test_y", labels(10_000, 10, np.uint64, _0=2**60), "1000 of each .* 0 to 1152"),
    "counts": ("train_y", labels(50_000, 10, _0=1), r"5000 .* \[4999, 5001, 5000"),
    "nine": ("train_y", labels(50_000, 9), "5000 of each label 0 to 9.* 0 to 8"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_arrays_that_are_not_cifar_are_refused(folder, monkeypatch, case):
    key, array, expected = WRONG[case]
    path = folder / "cifar10.npz"
    path.touch()
    changed = arrays(10, **{key: np.asarray(array)})
    monkeypatch.setattr(datasets, "read_npz", lambda *_: changed)
    match = (
        f"^{re.escape(str(path))}: {key}: expected {expected}.*Remove {re.escape(str(path))}, then"
    )
    with pytest.raises(ValueError, match=match):
        data.load("cifar10-npz")


KEYS = ("train_x", "train_y", "test_x", "test_y", "clean_label", "aggre_label", "worse_label")
KEYS += ("random_label1", "random_label2", "random_label3")
TINY = dict.fromkeys(KEYS, np.zeros(500, np.uint8))


def npz(**changes):
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in (TINY | changes).items() if v is not None})
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


def members(content):
    """An archive in which every array has this content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key in KEYS:
            archive.writestr(f"{key}.npy", content)
    return buffer.getvalue()


def bomb():
    """Some kilobytes that unpack to more than an array has."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key in KEYS:
            n = datasets.LARGEST if key == "train_x" else 10_000
            archive.writestr(f"{key}.npy", header((n,)) + bytes(n))
    assert len(buffer.getvalue()) < datasets.LARGEST / 100
    return buffer.getvalue()


def patched(offset, value):
    """An archive with two bytes changed in the directory entry of its first array."""
    content = npz()
    at = content.index(b"PK\1\2") + offset
    return content[:at] + value + content[at + 2 :]


NO_ARRAYS = {
    "empty": b"",
    "truncated": npz()[:-200],
    "flipped": npz().replace(b"\0" * 400, b"\0" * 399 + b"\1", 1),
    "another": b"no archive at all",
    "one array": npy(np.zeros(3)),
    "missing key": npz(train_y=None, worse_label=None),
    "pickled": npz(train_x=np.array([{}], object), worse_label=np.array([{}], object)),
    "pickle": pickle.dumps(TINY),
    "encrypted": patched(8, b"\1\0"),
    "compression 99": patched(10, b"\x63\0"),
    "no arrays": members(b"text"),
    "no header": members(b"\x93NUMPY\1\0\xf0\x0f" + b"-" * 4080),
    "huge": members(header("(1000000000000000,)")),
    "bomb": None,
    "pipe": None,
}


def write_no_arrays(case, path):
    if case == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(bomb() if case == "bomb" else NO_ARRAYS[case])


@pytest.mark.parametrize("case", NO_ARRAYS)
def test_a_file_without_the_four_arrays_is_named(folder, case):
    path = folder / "cifar100.npz"
    write_no_arrays(case, path)
    expected = "expected (arrays train_x, train_y, test_x, test_y, found |a regular file)"
    mend = r".*Remove .*\.npz, then .*'cifar100', download=True"
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {expected}{mend}"):
        data.load("cifar100-npz")


def test_missing_arrays_point_at_the_official_files(folder):
    path = folder / "cifar10.npz"
    with pytest.raises(FileNotFoundError, match=rf"{path}: not found.*'cifar10', download=True"):
        data.load("cifar10-npz")


@pytest.fixture(params=["cifar10", "cifar100"])
def small_cifar(request, folder, monkeypatch):
    """The official layout with few images; its checksums stand for the official ones."""
    kind = getattr(torchvision.datasets, request.param.upper())
    home = folder / kind.base_folder
    home.mkdir()
    flat = pattern().transpose(2, 0, 1).reshape(1, -1)
    key = "labels" if request.param == "cifar10" else "fine_labels"

    def write(file, content):
        (home / file).write_bytes(pickle.dumps(content))
        return hashlib.md5((home / file).read_bytes()).hexdigest()

    for part in ("train_list", "test_list"):
        files = [file for file, _ in getattr(kind, part)]
        sums = [
            [file, write(file, {"data": flat.repeat(2, 0), key: [i, 9]})]
            for i, file in enumerate(files)
        ]
        monkeypatch.setattr(kind, part, sums)
    md5 = write(kind.meta["filename"], {kind.meta["key"]: [str(i) for i in range(10)]})
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5})
    return request.param, home


def test_official_cifar_is_read(small_cifar):
    name, home = small_cifar
    dataset = data.load(name)
    check_recipe(dataset)
    batches = len(list(home.glob("data_batch_*"))) or 1
    assert dataset.train_labels.tolist() == [y for i in range(batches) for y in (i, 9)]
    assert dataset.test_labels.tolist() == [0, 9]
    assert np.array_equal(dataset.train_images[-1].numpy(), pattern().transpose(2, 0, 1))


def test_a_bad_official_file_is_named_with_its_mending(small_cifar, folder):
    name, home = small_cifar
    for path in list(home.iterdir()):
        content = path.read_bytes()
        path.write_bytes(flipped(content))
        expected = "expected the official file, md5 [0-9a-f]{32}"
        remove = re.escape(f"Remove {home}, then fetch")
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {expected}.*{remove}"):
            data.load(name)
        path.unlink()
        missing = f"^{re.escape(str(path))}: not found. Fetch .*{mends(name)}"
        with pytest.raises(FileNotFoundError, match=missing):
            data.load(name)
        path.write_bytes(content)
    data.load(name)
    (folder / f"{name}.npz").touch()
    path.unlink()
    hint = rf'not found. .*{name}.npz is there: load\("{name}-npz"\) reads it'
    with pytest.raises(FileNotFoundError, match=hint):
        data.load(name)


def test_genuine_cifar10_arrays():
    needs("cifar10.npz")
    dataset = data.load("cifar10-npz")
    mean = dataset.train_images.sum((0, 2, 3)).double() / (50_000 * 1024 * 255)
    assert mean.tolist() == pytest.approx(dataset.mean, abs=1e-6)
    assert dataset.train_labels[:5].tolist() == [6, 9, 9, 4, 1]


def test_class_counts_are_those_of_the_data_sets():
    assert {name: sum(counts) for name, counts in classes.CLASS_COUNTS.items()} == {
        "mnist": 60_000,
        "cifar10": 50_000,
        "cifar100": 50_000,
    }
