"""WebVision "Mini", on a small folder in exactly its layout, made of real photographs."""

import json
import math
import os
import runpy
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, require
from PIL import Image
from sklearn.datasets import load_sample_images
from test_training import position
from torch import nn
from torch.nn import functional as F

from alfs_utils import data, models, records, training
from alfs_utils.__main__ import main
from alfs_utils.data import webvision
from alfs_utils.losses import from_paper
from alfs_utils.paper import protocol
from alfs_utils.training import RunConfig, loop, train

TRAIN_LIST = Path("info", "train_filelist_google.txt")
CIFAR = data.folder() / "cifar10.npz"  # before the tests set another folder
ODD = {"grey": "L", "cmyk": "CMYK", "palette": "P"}


def photographs():
    """Endless crops of two photographs at several sizes and aspect ratios."""
    sources = [Image.fromarray(image) for image in load_sample_images().images]
    sizes = [(256, 340), (480, 256), (256, 256), (90, 300), (64, 48)]
    rng = np.random.default_rng(0)
    while True:
        for width, height in sizes:
            source = sources[rng.integers(2)]
            left, top = (rng.integers(max(1, x)) for x in (640 - width, 427 - height))
            crop = source.crop((left, top, left + width, top + min(height, 427)))
            if np.asarray(crop).std() > 10:  # parts of one are black
                yield crop


def make_folder(folder):
    """WebVision's folder, 64 training and 50 validation images; also lines of other classes."""
    photos = photographs()

    def write(name, mode="RGB"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # The real files, too, are called .jpg whatever is in them.
        next(photos).convert(mode).save(path, "PNG" if mode == "P" else "JPEG")
        return name

    train = [f"{write(f'google/q{label:04}/{label}.jpg')} {label}" for label in range(50)]
    odd = [f"{write(f'google/q0051/{name}.jpg', mode)} 7" for name, mode in ODD.items()]
    more = [f"{write(f'google/q0052/{number}.jpg')} {number}" for number in range(11)]
    others = [f"google/q0990/{label}.jpg {label}" for label in (50, 999)]
    val = [write(f"val_images_256/val{label:06}.jpg") for label in range(50)]
    (folder / "info").mkdir()
    write_list(folder / TRAIN_LIST, train[:20] + others + odd + train[20:] + more)
    lines = [f"{Path(name).name} {label}" for label, name in enumerate(val)]
    write_list(folder / "info" / "val_filelist.txt", [*lines, "val000099.jpg 612"])
    return folder


def write_list(path, lines, end="\n"):
    path.write_bytes(b"".join(os.fsencode(f"{line}{end}") for line in lines))


def add(folder, *lines):
    with open(folder / TRAIN_LIST, "ab") as file:
        file.write(b"\n".join(lines) + b"\n")


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    loop.load_once.cache_clear()
    yield make_folder(tmp_path / "webvision")
    loop.load_once.cache_clear()


@pytest.fixture
def small(folder, monkeypatch):
    """The folder as a data set of 32 x 32 images, and a tiny network under ResNet-50's name."""
    load = webvision.load
    monkeypatch.setattr(webvision, "load", lambda: replace(load(), image_size=32, workers=0))
    monkeypatch.setattr(models, "build", tiny)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    return folder


def tiny(name, num_classes, seed):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * 7 * 7, num_classes))


def short(**changes):
    return protocol.run("webvision-mini", "CELoss()", "none", 0, **{"epochs": 2, **changes})


# --- the lists ------------------------------------------------------------------------------


def names(dataset):
    return [Path(file).name for file in dataset.train_files]


def test_the_lists_are_read_in_order_and_without_other_classes(folder):
    dataset = data.load("webvision-mini")
    expected = [*range(20), 7, 7, 7, *range(20, 50), *range(11)]
    assert dataset.train_labels.tolist() == expected and dataset.num_classes == 50
    assert names(dataset)[19:24] == ["19.jpg", "grey.jpg", "cmyk.jpg", "palette.jpg", "20.jpg"]
    assert dataset.test_labels.tolist() == list(range(50))
    assert Path(dataset.test_files[3]) == folder / "val_images_256" / "val000003.jpg"


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(folder):
    before = webvision.load(folder)
    path = folder / TRAIN_LIST
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    after = webvision.load(folder)
    assert after.train_files == before.train_files
    assert torch.equal(after.train_labels, before.train_labels)


def test_the_lists_of_the_mini_setting_give_the_same_data(folder):
    before = webvision.load(folder)
    for part, name in (("train", "webvision_mini_train.txt"), ("test", "webvision_mini_val.txt")):
        files, labels = getattr(before, f"{part}_files"), getattr(before, f"{part}_labels")
        pairs = zip(files, labels.tolist(), strict=True)
        write_list(folder / name, [f"{os.path.relpath(f, folder)} {y}" for f, y in pairs])
    (folder / TRAIN_LIST).unlink()
    after = webvision.load(folder)
    assert after.train_files == before.train_files and after.sha256 == before.sha256
    write_list(folder / "webvision_mini_val.txt", ["val_images_256/val000000.jpg 50"])
    with pytest.raises(ValueError, match=r"webvision_mini_val.txt: 1 lines.*0 to 49.*below 50"):
        webvision.load(folder)


@pytest.mark.parametrize("on_disk", ["utf-8", "latin-1"])
@pytest.mark.parametrize("in_list", ["utf-8", "latin-1"])
def test_names_may_be_in_one_encoding_here_and_in_another_there(folder, on_disk, in_list):
    original = os.fsencode(folder / "google/q0000/0.jpg")
    for name in ("é.jpg", "naïve.jpg"):
        os.link(original, original.replace(b"0.jpg", name.encode(on_disk)))
        add(folder, f"google/q0000/{name} 3".encode(in_list))
    dataset = webvision.load(folder)
    assert len(dataset.train_files) == 66
    assert Path(dataset.train_files[-1]).read_bytes() == Path(os.fsdecode(original)).read_bytes()


WRONG = {
    b"google/q0000/0.jpg": "expected 2 fields, got 1",
    b"google/q0000/0 1.jpg 3": "expected 2 fields, got 3",
    b"google/q0000/0.jpg cat": "expected an integer label, got 'cat'",
    b"google/q0000/0.jpg -1": "expected an integer label, got '-1'",
    b"google/q0000/0.jpg 1.0": "expected an integer label, got '1.0'",
    b"google/q0000/0.jpg 1000": "expected a label below 1000, got 1000",
    b"google/q0000/0.jpg " + b"9" * 5000: "expected an integer label, got '9999",
    b"/etc/passwd 0": "expected a path below the folder",
    b"google/../../secret.jpg 0": "expected a path below the folder",
    b"google\\q0000\\0.jpg 0": "expected a path below the folder",
    "google/q0000/0.jpg 0".encode("utf-16-le"): "expected",
    b"../\xe9.jpg 999": r"xe9.*expected a path below the folder",
}


@pytest.mark.parametrize(("line", "message"), WRONG.items())
def test_a_wrong_line_is_named(folder, line, message):
    add(folder, line)
    with pytest.raises(
        ValueError, match=rf"train_filelist_google.txt: 1 lines are not .*line 67, .*{message}"
    ):
        webvision.load(folder)


def test_offenders_are_counted_and_the_first_ones_shown(folder):
    add(folder, *[f"google/q0000/gone{i}.jpg 1".encode() for i in range(7)])
    with pytest.raises(FileNotFoundError) as error:
        webvision.load(folder)
    text = str(error.value)
    assert "7 of 71 images are not in" in text and text.endswith("gone4.jpg; ...")
    assert text.count("gone") == 5
    add(folder, *[b"one-field"] * 7)
    with pytest.raises(ValueError, match=r"7 lines are not .*line 74, .*line 78, [^;]*; \.\.\.$"):
        webvision.load(folder)


def test_one_missing_image_is_found_before_training(folder):
    (folder / "val_images_256" / "val000031.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"val_filelist.*: 1 of 50 images .* val000031.jpg"):
        train(short())


def test_what_is_behind_a_link_out_of_the_folder_is_missing(folder, tmp_path):
    image = folder / "google/q0003/3.jpg"
    image.rename(tmp_path / "3.jpg")
    image.symlink_to(tmp_path / "3.jpg")
    (folder / "google/q0004").rename(tmp_path / "q0004")
    (folder / "google/q0004").symlink_to(tmp_path / "q0004")
    (folder / "google/q0005/5.jpg").rename(folder / "5.jpg")
    (folder / "google/q0005/5.jpg").symlink_to(folder / "5.jpg")  # stays in it
    with pytest.raises(FileNotFoundError, match=r"2 of 64 images .*q0003/3\.jpg; .*q0004/4\.jpg$"):
        webvision.load(folder)


def test_a_class_without_images_is_named(folder):
    lines = (folder / TRAIN_LIST).read_text().splitlines()
    write_list(folder / TRAIN_LIST, [x for x in lines if x.split()[1] not in ("33", "49")])
    with pytest.raises(ValueError, match="2 of the classes 0 to 49 have no image: 33; 49"):
        webvision.load(folder)


def test_without_the_lists_the_error_says_what_is_expected(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"webvision: .*train_filelist_google.txt.*https"):
        data.load("webvision-mini")


# --- the images -----------------------------------------------------------------------------


def batch(dataset, places, generator=None, order=None):
    order = torch.arange(len(dataset.train_labels)) if order is None else order
    return list(dataset.train_batches(order, places, generator))


def test_images_of_every_kind_become_normalised_rgb(folder):
    dataset = replace(webvision.load(folder), workers=0)
    ((index, images),) = batch(dataset, [slice(18, 26)])
    assert index.tolist() == list(range(18, 26))
    assert images.shape == (8, 3, 224, 224) and images.dtype == torch.float32
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for i, image in zip(index.tolist(), images, strict=True):
        with Image.open(dataset.train_files[i]) as file:
            assert {20: "L", 21: "CMYK", 22: "P"}.get(i, "RGB") == file.mode
            rgb = file.convert("RGB")
        # Resize(256) of the shorter side, CenterCrop(224), by hand.
        width, height = rgb.size
        short = min(width, height)
        width, height = int(256 * width / short), int(256 * height / short)
        left, top = round((width - 224) / 2), round((height - 224) / 2)
        rgb = rgb.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(rgb.crop((left, top, left + 224, top + 224))) / 255
        expected = ((pixels - mean) / std).transpose(2, 0, 1)
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)
    grey = images[2] * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    assert torch.allclose(grey[0], grey[1], atol=1e-5), "grey has three equal channels"


def test_test_images_come_in_parts(folder):
    dataset = replace(webvision.load(folder), image_size=32, workers=0)
    whole = torch.cat(list(dataset.test_batches([slice(0, 30), slice(30, 50)])))
    assert whole.shape == (50, 3, 32, 32)
    assert torch.equal(next(dataset.test_batches([slice(1, 50, 2)])), whole[1::2])


def test_the_augmentation_is_the_papers():
    train, test = map(repr, webvision.transforms(224))
    assert "RandomResizedCrop(size=(224, 224), scale=(0.08, 1.0), ratio=(0.75, 1.3333)" in train
    assert "RandomHorizontalFlip(p=0.5)" in train
    jitter = "brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.6, 1.4), hue=(-0.2, 0.2)"
    assert f"ColorJitter({jitter})" in train
    assert "Resize(size=256" in test and "CenterCrop(size=(224, 224))" in test


def test_an_image_is_augmented_by_seed_epoch_and_index_alone(folder):
    os.remove(folder / "google/q0001/1.jpg")
    os.link(folder / "google/q0000/0.jpg", folder / "google/q0001/1.jpg")
    dataset = replace(webvision.load(folder), image_size=32, workers=0)
    places = [slice(0, 30), slice(30, 64)]

    def epochs(dataset, places, seed=5, order=None):
        generator = torch.Generator().manual_seed(seed)
        batches = [batch(dataset, places, generator, order) for _ in range(2)]
        return [torch.cat([images for _, images in epoch]) for epoch in batches]

    before = torch.random.get_rng_state()
    first, second = epochs(dataset, places)
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was used"
    for_each = (first != second).flatten(1).any(1)
    assert for_each.all(), "every epoch draws anew, for every image"
    assert not torch.equal(first[0], first[1]), "one image twice has two draws"
    assert not torch.equal(epochs(dataset, places, seed=6)[0], first)
    # Neither loader processes, nor the order, nor what was done before an interruption matter.
    for workers in (1, 2):
        again = epochs(replace(dataset, workers=workers), places)
        assert torch.equal(again[0], first) and torch.equal(again[1], second)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(epochs(dataset, places, order=order)[1], second[order])
    assert torch.equal(epochs(dataset, places[1:])[1], second[30:])
    assert torch.equal(epochs(dataset, [slice(1, 64, 2)])[0], first[1::2])


def test_cifar_images_are_images_like_others(folder):
    require(CIFAR.exists(), str(CIFAR))
    pixels = np.load(CIFAR)["test_x"][0]
    Image.fromarray(pixels).save(folder / "google" / "cifar.png")
    add(folder, b"google/cifar.png 3")
    ((_, images),) = batch(replace(webvision.load(folder), workers=0), [slice(64, 65)])
    assert images.shape == (1, 3, 224, 224)


# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_verify_finds_every_damaged_image(folder, workers):
    dataset = replace(webvision.load(folder), workers=workers, image_size=32)
    assert webvision.verify(dataset, progress=False) == 114
    truncate(folder / "google/q0003/3.jpg")
    (folder / "val_images_256/val000004.jpg").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"2 of 114 images .*3.jpg: .*truncated.*val000004.jpg: "):
        webvision.verify(dataset, progress=False)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


def hostile(path, kind):
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "postscript":
        path.write_bytes(POSTSCRIPT)
    else:
        Image.new("1", {"line": (1, 60_000), "bomb": (20_000, 20_000)}[kind]).save(path, "PNG")
        assert path.stat().st_size < 60_000


@pytest.mark.parametrize("kind", ["line", "bomb", "postscript", "pipe"])
def test_a_hostile_image_is_named_at_once(folder, tmp_path, monkeypatch, kind):
    """Resized, the line would take 16 GB; PostScript would start Ghostscript; a pipe never ends."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = folder / "google/q0003/3.jpg"
    hostile(path, kind)
    dataset = replace(webvision.load(folder), workers=0, image_size=32)
    (place,) = (i for i, file in enumerate(dataset.train_files) if file == str(path))
    start = time.monotonic()
    with pytest.raises(
        ValueError, match=f"^{path}: this image cannot be decoded .*Mend or replace"
    ):
        batch(dataset, [slice(place, place + 1)])
    assert time.monotonic() - start < 5 and not (tmp_path / "started").exists()


def test_a_damaged_image_stops_the_run_which_then_goes_on(small, tmp_path):
    config, checkpoint = short(batch_size=10), tmp_path / "run.ckpt"
    whole = train(config)
    loop.load_once.cache_clear()
    # An image that comes late in the first epoch, after checkpoints.
    order = torch.randperm(64, generator=training.stream("order", 0))
    path = Path(webvision.load().train_files[order[45]])
    content = path.read_bytes()
    truncate(path)
    with pytest.raises(ValueError, match=rf"^{path}: .*truncated.*Mend or replace"):
        train(config, checkpoint=checkpoint)
    assert position(checkpoint)[1] == 4
    path.write_bytes(content)
    loop.load_once.cache_clear()
    # Also stopped in the middle of the second epoch, whose draws are not those of a fresh run.
    steps = iter(range(100))
    with pytest.raises(training.Stopped, match="epoch 2"):
        train(config, checkpoint=checkpoint, should_stop=lambda: next(steps) == 5)
    assert position(checkpoint)[0] == 1
    resumed = train(config, checkpoint=checkpoint)
    assert resumed.train_loss == whole.train_loss
    assert resumed.test_accuracy == whole.test_accuracy
    assert resumed.mixed, "it began on other files"


def test_the_command_says_what_is_wrong(folder, capsys, tmp_path):
    assert main(["webvision", "verify"]) == 0 and "114 images" in capsys.readouterr().out
    truncate(folder / "google/q0003/3.jpg")
    assert main(["webvision", "verify"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: 1 of 114 images")
    # A part of the data must not make a record that looks like the paper's.
    assert main(["webvision", "train", "--results", str(tmp_path / "results")]) == 2
    assert "expected 60000 to 70000" in capsys.readouterr().err


def test_the_processes_of_a_machine_share_its_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert webvision._loader(range(9), None).num_workers == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert [webvision._loader(range(n), None).num_workers for n in (9, 1)] == [2, 1]


def test_a_row_is_estimated_in_hours(monkeypatch, capsys):
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *_, **more: 36.0)
    assert main(["webvision", "estimate", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "36 s per epoch, 2.5 hours per run on one cpu\n"


def test_the_command_trains_and_writes_the_record_once(small, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(webvision, "TRAIN_IMAGES", range(64, 65))
    monkeypatch.setattr(webvision, "TEST_IMAGES", 50)
    monkeypatch.setitem(protocol.PROTOCOLS["webvision"], "epochs", 2)
    assert main(["webvision", "estimate"]) == 0
    assert "s per epoch" in capsys.readouterr().out
    command = [
        "webvision",
        "train",
        "--row",
        "SCE",
        "--seed",
        "2",
        "--results",
        str(tmp_path / "results"),
    ]
    assert main(command) == 0 and main(command) == 0
    assert capsys.readouterr().out.count("already done") == 1
    (run,) = records.load(tmp_path / "results").to_dict("records")
    assert (run["dataset"], run["noise"], run["eta"]) == ("webvision-mini", "none", 0)
    assert run["loss"] == str(from_paper("SCE", "webvision")) and run["init_seed"] == 2
    assert run["processes"] == 1 and len(run["test_accuracy"]) == 2


# --- training -------------------------------------------------------------------------------


def test_noise_is_refused_where_labels_are_noisy_as_they_come():
    for changes, message in [
        ({"noise": "symmetric"}, "noise: expected 'none' for 'webvision-mini', .* got 'symmetric'"),
        ({"eta": 0.2}, "eta: expected 0.0"),
        ({"counts": "exact"}, "counts 'iid'"),
        ({"momentum": 0}, "momentum: expected a positive number with nesterov"),
        ({"nesterov": 1}, "nesterov: expected True or False, got 1"),
        ({"schedule": "step"}, "schedule: expected one of"),
        ({"dataset": "cifar10"}, "noise: expected another kind than 'none' for 'cifar10'"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            replace(short(), **changes)
    with pytest.raises(ValueError, match="expected a kind drawn from a matrix"):
        training.transition_matrix(short())


def test_labels_noisy_as_they_come_have_no_noise_model(small):
    history = train(short(batch_size=32))
    assert len(history.test_accuracy) == 2 and history.noise_rate == 0 and not history.memorised
    assert math.isnan(history.noisy_validation)
    record = records.make(history)
    assert records.write(record, small / "results").exists()
    (row,) = records.load(small / "results").to_dict("records")
    assert row["last"] == history.last and math.isnan(row["noisy_validation"])


def test_resnet50_is_torchvisions():
    from alfs_utils.data._torchvision import torchvision

    network = models.build("resnet50", 50, seed=0).eval()
    theirs = torchvision.models.resnet50(num_classes=50).eval()
    assert sum(p.numel() for p in network.parameters()) == 23_610_482
    assert list(network.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(images), theirs(images))
        features = models.features(network, images)
        assert features.shape == (2, 2048) and torch.equal(network.fc(features), network(images))
    # Its own initial weights: normal, by fan out.
    weight = network.layer4[0].conv2.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.01)
    assert weight.abs().max() > math.sqrt(6 / (512 * 9)), "Kaiming uniform would end here"


def test_resnet50_takes_the_steps_that_torch_takes(folder, monkeypatch):
    load = webvision.load
    monkeypatch.setattr(webvision, "load", lambda: replace(load(), image_size=32, workers=1))
    history = train(short(batch_size=16, lr=0.02, train_size=16, augment=False))
    # The first step's order and layout: at this size rounding alone moves a loss by a percent.
    order = torch.randperm(16, generator=training.stream("order", 0))
    ((index, images),) = batch(webvision.load(), [slice(0, 16)], order=order)
    labels = webvision.load().train_labels[index]
    network = models.build("resnet50", 50, seed=0).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.02, 0.9, weight_decay=3e-5, nesterov=True)
    losses = []
    for _ in range(2):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    assert history.train_loss == pytest.approx(losses, rel=1e-3)
    assert abs(losses[1] - losses[0]) > 0.02 and len(history.test_accuracy) == 2


# --- several processes ----------------------------------------------------------------------

# Two networks on the digits, one with and one without batch norm, in the given number of processes.
TWO_NETWORKS = """
    import json, sys
    import torch
    from torch import distributed, nn

    from alfs_utils import models, training

    rank, processes, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if processes > 1:
        place = f"file://{folder}/rendezvous"
        distributed.init_process_group("gloo", place, rank=rank, world_size=processes)
    out = {}
    for name, extra in (("plain", []), ("norm", [nn.BatchNorm1d(64)])):
        def build(name, k, seed, extra=extra):
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Flatten(), nn.Linear(64, 64), *extra, nn.ReLU(), nn.Linear(64, k)
            )
        models.build = build
        # 1437 images in batches of 239: shares of 120 and 119, and in the last batch of 2 and 1.
        batch = 239 if name == "plain" else 256
        config = training.RunConfig("CELoss()", epochs=2, batch_size=batch, clip_norm=0.5, lr=0.2)
        history = training.train(config, weights=f"{folder}/{name}.pt")
        out[name] = [history.train_loss, history.fitted, history.test_accuracy]
        out[name] += [history.half_accuracy, history.memorised]
    if rank == 0:
        json.dump(out, open(f"{folder}/out.json", "w"))
    if processes > 1:
        distributed.destroy_process_group()
"""


def environment(**more):
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def results_in(folder):
    weights = {name: torch.load(folder / f"{name}.pt") for name in ("plain", "norm")}
    return json.loads((folder / "out.json").read_text()), weights


@pytest.mark.slow
def test_two_processes_take_the_same_steps_as_one(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(TWO_NETWORKS))
    command = [sys.executable, script]
    started = [
        subprocess.Popen([*command, rank, "2", tmp_path], env=environment()) for rank in "01"
    ]
    monkeypatch.setattr(models, "build", None)  # the script sets its own
    monkeypatch.setattr(sys, "argv", [str(script), "0", "1", str(tmp_path / "one")])
    (tmp_path / "one").mkdir()
    runpy.run_path(str(script))
    assert [process.wait(300) for process in started] == [0, 0]
    (one, one_weights), (two, two_weights) = map(results_in, (tmp_path / "one", tmp_path))
    for ours, theirs in zip(two["plain"], one["plain"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for key, weight in two_weights["plain"].items():
        torch.testing.assert_close(weight, one_weights["plain"][key], rtol=1e-4, atol=1e-5)
    # Batch norm sees shares of a batch: another run, but a run of one network all the same.
    assert two["norm"] != one["norm"]
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    network.append(nn.Linear(64, 10)).load_state_dict(two_weights["norm"])
    assert training.accuracy(network, data.load("digits")) == two["norm"][2][-1]


def test_every_process_must_have_a_share(monkeypatch):
    monkeypatch.setattr(loop, "process", lambda: (0, 4))
    with pytest.raises(ValueError, match="each of 4 processes in the last batch, got 478 for 1437"):
        train(RunConfig("CELoss()", batch_size=478))


# The command on the small folder: images of 32 x 32, ResNet-50 with 4 of its 16 blocks, one of each
# width, two epochs of two steps, a checkpoint after each step; killed after some. Then resumed, and
# run once more without an interruption.
COMMAND = """
    import contextlib, os, signal, sys
    from dataclasses import replace
    from functools import partial

    from alfs_utils.__main__ import main
    from alfs_utils.data import webvision
    from alfs_utils.data._torchvision import torchvision
    from alfs_utils.paper import protocol, table_3
    from alfs_utils.training import loop
    from alfs_utils.training.environment import processes

    load, save = webvision.load, loop.Run.save
    webvision.load = lambda: replace(load(), image_size=32, workers=1)
    webvision.TRAIN_IMAGES, webvision.TEST_IMAGES = range(64, 65), 50
    protocol.PROTOCOLS["webvision"] |= {"epochs": 2, "batch_size": 36, "lr": 0.02}
    loop.CHECKPOINT_SECONDS = 0.0
    resnet = torchvision.models.resnet
    torchvision.models.resnet50 = partial(resnet.ResNet, resnet.Bottleneck, [1, 1, 1, 1])
    left = int(os.environ.get("KILL_AFTER", 1000))

    def save_and_die(self, path):
        global left
        save(self, path)
        left -= 1
        if left == 0 and self.rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.Run.save = save_and_die
    with processes("cpu"):  # torchrun's meeting point serves once
        table_3.processes = contextlib.nullcontext
        for results in sys.argv[1:]:
            row = ["--row", "NCE+AGCE", "--device", "cpu"]
            if main(["webvision", "train", *row, "--results", results]):
                sys.exit(1)
"""


@pytest.mark.slow
def test_a_resnet_in_two_processes_killed_and_resumed(folder, tmp_path):
    script = tmp_path / "command.py"
    script.write_text(textwrap.dedent(COMMAND))

    def torchrun(*results, **more):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", "2", script, *(tmp_path / name for name in results)]
        done = subprocess.run(
            command, env=environment(**more), capture_output=True, text=True, timeout=900
        )
        return done.returncode, done.stdout + done.stderr

    def record(results):
        (path,) = (tmp_path / results / "webvision-mini").glob("*.json")
        return records.read(path)

    code, output = torchrun("cut", KILL_AFTER="3")
    assert code != 0 and "SIGKILL" in output, output
    (checkpoint,) = (tmp_path / "cut" / ".work").glob("*.ckpt")
    assert position(checkpoint) == (1, 1)
    code, output = torchrun("cut", "whole")
    assert code == 0 and not checkpoint.exists(), output
    whole, resumed = record("whole"), record("cut")
    assert whole["processes"] == 2 and len(whole["train_loss"]) == 2
    for name in ("train_loss", "fitted", "test_accuracy", "data_sha256"):
        assert resumed[name] == whole[name], name
