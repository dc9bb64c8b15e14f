"""WebVision "Mini" (Table 3): the first 50 concepts of the Google part of WebVision 1.0.

The labels are the search terms that found the images, so they are noisy already. About 66,000
images train a ResNet-50; 2,500 of the validation set, 50 per class and checked by people, test it.

The folder `webvision` of `ALFS_DATA_DIR` ("data" if it is not set) has one of two layouts::

    info/train_filelist_google.txt    "google/q0001/name.jpg 0": 1,000 classes; 0 to 49 are taken
    info/val_filelist.txt             "val000001.jpg 0", images in val_images_256/
    google/                           the resized images, as in google_resized_256.tar

    webvision_mini_train.txt          lists of these 50 classes alone, paths from the folder
    webvision_mini_val.txt

The data are at https://data.vision.ee.ethz.ch/cvl/webvision/download.html (16 GB, for research).
These commands check the files, estimate the time of a run, and train::

    python -m alfs_utils webvision verify
    python -m alfs_utils webvision estimate --precision bfloat16
    torchrun --nproc-per-node 4 -m alfs_utils webvision train --row AGCE --results results

Errors in the lists are found before training starts. A damaged image shows only when it is
decoded; `verify` decodes all images once. In training, a damaged image stops the run with an error
that names it, and the run continues from its checkpoint once the file is mended. The image is not
left out in silence, for then two people would train on different data and call it the same.

With several processes each has its share of every batch; batch normalisation takes its statistics
from the share, as usual, so more processes are a slightly different run (no SyncBatchNorm).
"""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from alfs_utils._files import check_regular, read_bytes
from alfs_utils.classes import NUM_CLASSES as CLASSES_OF
from alfs_utils.data.datasets import folder as data_folder
from alfs_utils.data.images import DataSet

__all__ = ["NUM_CLASSES", "WebVision", "check_whole", "load", "verify"]

NUM_CLASSES = CLASSES_OF["webvision"]
SHOWN = 5  # offenders that an error lists
# What an image may be: Pillow knows more formats, among them some that start other programs.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
MOST_PIXELS, MOST_NARROW = 100_000_000, 100  # width by height; long side over short side
# How many images there should be; the training part is quoted as 65,944 and as 61,234.
TRAIN_IMAGES, TEST_IMAGES = range(60_000, 70_000), 2_500


@dataclass(frozen=True)
class WebVision:
    """WebVision "Mini" as files: decoded batch by batch, augmented image by image.

    Training uses it like a `data.DataSet`. Batches come in the order asked for, and each image has
    random numbers of its own, so the batches do not depend on the number of workers.

    Attributes
    ----------
    train_files, test_files : tuple of str
        In the order of the lists.
    train_labels, test_labels : Tensor
        int64 of shape (N,), values 0 to `num_classes` - 1.
    image_size : int
        Height and width of the images that the network sees.
    workers : int or None
        Processes that decode; 0 for none, None for one per CPU that this process may use.
    """

    train_files: tuple[str, ...]
    train_labels: Tensor
    test_files: tuple[str, ...]
    test_labels: Tensor
    name: str = "webvision-mini"
    num_classes: int = NUM_CLASSES
    image_size: int = 224
    workers: int | None = None

    # ImageNet's; the arithmetic is that of the data sets in memory.
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    normalise = DataSet.normalise
    test_batch = 256

    def to(self, device) -> "WebVision":
        """Return the same data set with its labels, and the batches to come, on `device`."""
        labels = {name: getattr(self, name).to(device) for name in ("train_labels", "test_labels")}
        return replace(self, **labels)

    def train_batches(
        self, order: Tensor, places: list[slice], augmentation: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield training images in a given order; see `data.DataSet.train_batches`.

        They are augmented by torchvision's `RandomResizedCrop(224)`, `RandomHorizontalFlip()` and
        `ColorJitter(0.4, 0.4, 0.4, 0.2)`; without `augmentation` they are treated like test images.
        An image's random numbers follow from its index and from one draw of `augmentation`, which
        is the same for all batches.

        Raises
        ------
        ValueError
            If an image cannot be decoded; the message names the file.
        """
        seed = None
        if augmentation is not None:
            seed = int(torch.randint(2**62, (), generator=augmentation))
        batches = [order[place] for place in places]
        decoded = self._decoded(self.train_files, [index.tolist() for index in batches], seed)
        yield from zip(batches, decoded, strict=True)

    def test_batches(self, places: list[slice]) -> Iterator[Tensor]:
        """Yield validation images after `Resize(256)`, `CenterCrop(224)`; see `train_batches`."""
        index = range(len(self.test_files))
        return self._decoded(self.test_files, [list(index[place]) for place in places], None)

    def _decoded(self, files, batches, seed):
        """Yield the images of lists of indices, float32 (n, 3, size, size), on the device."""
        device = self.train_labels.device
        cuda = device.type == "cuda"
        source = _Batches(files, batches, seed, self.image_size)
        for images in _loader(source, self.workers, pin_memory=cuda):
            if isinstance(images, str):
                raise ValueError(
                    f"{images}. Mend or replace it, then start again: the run goes on from its "
                    "checkpoint. `python -m alfs_utils webvision verify` finds all of them."
                )
            yield self.normalise(images.to(device, non_blocking=cuda))

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of all files and labels, to tell data sets of the same name apart."""
        digest = hashlib.sha256()
        for files, labels in self._parts:
            digest.update(labels.cpu().numpy().tobytes())
            for file in files:
                digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
        return digest.hexdigest()

    @property
    def _parts(self):
        return (self.train_files, self.train_labels), (self.test_files, self.test_labels)


def load(folder: str | os.PathLike | None = None) -> WebVision:
    """Read the lists and look for every image that they name, but open none.

    Parameters
    ----------
    folder : path, optional
        By default `webvision` in the folder `ALFS_DATA_DIR`.

    Raises
    ------
    FileNotFoundError
        If the lists or some images are missing.
    ValueError
        For lines that are not "path label", labels out of range, paths that leave the folder, and
        classes without an image. Both errors list the first few offenders and say how many there
        are. An image behind a link that leaves the folder counts as missing.
    """
    folder = Path(folder) if folder is not None else data_folder() / "webvision"
    for layout in _LAYOUTS:
        if all((folder / part.list).exists() for part in layout):
            train, test = (_read(folder, part) for part in layout)
            return WebVision(*train, *test)
    lists = " or ".join(" and ".join(part.list for part in layout) for layout in _LAYOUTS)
    raise FileNotFoundError(
        f"{folder}: expected the lists {lists}, and the images they name. Get WebVision 1.0 from "
        "https://data.vision.ee.ethz.ch/cvl/webvision/download.html (resized images, Google), or "
        "set ALFS_DATA_DIR to the folder that has webvision/."
    )


def verify(dataset: WebVision, progress: bool | None = None) -> int:
    """Decode every image once; return how many there are.

    Raises
    ------
    ValueError
        If some cannot be decoded; the message says how many, and names the first few with reasons.
    """
    files = dataset.train_files + dataset.test_files
    source = _Batches(files, [[i] for i in range(len(files))], None, dataset.image_size)
    damaged = []
    hidden = None if progress is None else not progress
    with tqdm(total=len(files), unit="image", desc="verify", disable=hidden) as bar:
        for found in _loader(source, dataset.workers):
            if isinstance(found, str):
                damaged.append(found)
            bar.update()
    if damaged:
        raise ValueError(_listed(damaged, f"of {len(files)} images cannot be decoded"))
    return len(files)


def check_whole(dataset: WebVision) -> None:
    """Raise ValueError if images are missing: the record would look like one of the whole data."""
    train, test = len(dataset.train_files), len(dataset.test_files)
    if train not in TRAIN_IMAGES or test != TEST_IMAGES:
        raise ValueError(
            f"webvision-mini: expected {TRAIN_IMAGES.start} to {TRAIN_IMAGES.stop} training and "
            f"{TEST_IMAGES} validation images, got {train} and {test}; on a part of the data use "
            "alfs_utils.training.train, which writes no record"
        )


# --- the lists ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """One list file: its path, the folder its paths start from, and the labels it may have."""

    list: str
    images: str
    labels: int


_LAYOUTS = (
    (
        _Part("info/train_filelist_google.txt", "", 1000),
        _Part("info/val_filelist.txt", "val_images_256", 1000),
    ),
    (
        _Part("webvision_mini_train.txt", "", NUM_CLASSES),
        _Part("webvision_mini_val.txt", "", NUM_CLASSES),
    ),
)


def _read(folder, part):
    """Read the paths and labels of one list, of the first 50 classes only."""
    path = folder / part.list
    # File names are bytes, and lists of names have no declared encoding: nothing is decoded here.
    lines = read_bytes(path).removeprefix(b"\xef\xbb\xbf").splitlines()
    entries, wrong = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        reason = _fault(line, part.labels)
        if reason:
            wrong.append(f"line {number}, {_text(line)!r:.200}: {reason}")
            continue
        name, label = line.split()
        if int(label) < NUM_CLASSES:
            entries.append((name, int(label)))
    if wrong:
        expected = f'lines are not "path label" with a label of 0 to {part.labels - 1}'
        raise ValueError(f"{path}: {_listed(wrong, expected)}")
    labels = torch.tensor([label for _, label in entries], dtype=torch.int64)
    counts = torch.bincount(labels, minlength=NUM_CLASSES).tolist()
    empty = [str(label) for label, count in enumerate(counts) if not count]
    if empty:
        raise ValueError(
            f"{path}: {_listed(empty, f'of the classes 0 to {NUM_CLASSES - 1} have no image')}"
        )
    return _found(path, folder / part.images, [name for name, _ in entries]), labels


def _fault(line, num_labels):
    """Say what is wrong with a line of a list; None if nothing is."""
    fields = line.split()
    if len(fields) != 2:
        return f"expected 2 fields, got {len(fields)}"
    name, label = fields
    if not label.isdigit() or len(label) > 9:
        return f"expected an integer label, got {_text(label)!r:.60}"
    if int(label) >= num_labels:
        return f"expected a label below {num_labels}, got {int(label)}"
    if name.startswith(b"/") or b"\\" in name or b".." in name.split(b"/") or b"\0" in name:
        return "expected a path below the folder, with / between folders"
    return None


def _found(path, folder, names):
    """Find the files of a list, each in the listing of its folder; raise if some are missing.

    A name that is not there as the list writes it may be there in the other of the two usual
    encodings: archives and lists have gone through different systems.
    """
    root = os.fsencode(os.path.realpath(folder))

    def inside(place):
        return os.path.commonpath([root, os.path.realpath(place)]) == root

    @cache
    def listing(parent):
        try:
            with os.scandir(parent) as entries:
                links = {entry.name: entry.is_symlink() for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
        if not inside(parent):
            return frozenset()
        return {n for n, link in links.items() if not link or inside(os.path.join(parent, n))}

    def there(name):
        parent, _, last = (os.fsencode(folder) + b"/" + name).rpartition(b"/")
        return last in listing(parent)

    files, missing = [], []
    for name in names:
        spelled = next(filter(there, _spellings(name)), None)
        if spelled is None:
            missing.append(_text(name))
        else:
            files.append(os.fsdecode(os.fsencode(folder) + b"/" + spelled))
    if missing:
        what = f"of {len(names)} images are not in {folder} (links that leave it do not count)"
        raise FileNotFoundError(f"{path}: {_listed(missing, what)}")
    return tuple(files)


def _spellings(name):
    """Yield the bytes of a file name as they are, then recoded to Latin-1 and to UTF-8."""
    yield name
    with contextlib.suppress(UnicodeError):
        yield name.decode("utf-8").encode("latin-1")
    yield name.decode("latin-1").encode("utf-8")


def _text(name):
    return name.decode("utf-8", errors="backslashreplace")


def _listed(offenders, what):
    """Say how many there are, what they are, and name the first few."""
    more = ["..."] if len(offenders) > SHOWN else []
    return f"{len(offenders)} {what}: {'; '.join(offenders[:SHOWN] + more)}"


# --- the images -----------------------------------------------------------------------------


class _Batches(torch.utils.data.Dataset):
    """Item i is the whole batch i: uint8 (n, 3, size, size), or a text that says what is wrong."""

    def __init__(self, files, batches, seed, size):
        self.files, self.batches, self.seed, self.size = files, batches, seed, size

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, number):
        images = []
        for index in self.batches[number]:
            try:
                images.append(self._image(index))
            except Exception as error:  # Pillow's readers raise whatever a damaged file leads to
                name = _text(os.fsencode(self.files[index]))
                return f"{name}: this image cannot be decoded ({error})"
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

    def _image(self, index):
        from PIL import Image

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata and odd palettes, by the thousand
            check_regular(self.files[index])
            with Image.open(self.files[index], formats=FORMATS) as file:
                _check_size(*file.size)
                image = file.convert("RGB")
        train, test = transforms(self.size)
        if self.seed is None:
            return np.asarray(test(image))
        # torchvision draws from torch's global generator; it is put back as it was.
        generator = torch.random.default_generator
        before = generator.get_state()
        generator.manual_seed(_image_seed(self.seed, index))
        try:
            return np.asarray(train(image))
        finally:
            generator.set_state(before)


def _check_size(width, height):
    """Check an image before it is decoded: resizing a line of pixels would take all memory."""
    if width * height > MOST_PIXELS or max(width, height) > MOST_NARROW * min(width, height):
        raise ValueError(
            f"expected at most {MOST_PIXELS} pixels, and no side over {MOST_NARROW} times the "
            f"other, got {width} x {height}"
        )


def _image_seed(seed, index):
    digest = hashlib.blake2b(f"{seed} {index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


@cache
def transforms(size):
    """Return the transforms of training images (augmentation) and of test images, for Pillow."""
    from alfs_utils.data._torchvision import torchvision

    v1 = torchvision.transforms
    train = v1.Compose(
        [
            v1.RandomResizedCrop(size),
            v1.RandomHorizontalFlip(),
            v1.ColorJitter(0.4, 0.4, 0.4, 0.2),
        ]
    )
    return train, v1.Compose([v1.Resize(size * 256 // 224), v1.CenterCrop(size)])


def _loader(source, workers, pin_memory=False):
    if workers is None:
        # macOS does not have the first.
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        workers = cpus // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = min(workers, len(source))
    # A generator of its own: the loader draws a seed, and not from torch's global one.
    generator = torch.Generator()
    return DataLoader(source, None, num_workers=workers, pin_memory=pin_memory, generator=generator)
