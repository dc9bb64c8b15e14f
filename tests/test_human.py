"""Human labels: nothing is unpickled unverified, every damage is named, the counts are genuine."""

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, require
from test_data import NO_ARRAYS, write_no_arrays
from test_noise import FINE_NAMES

from alfs_utils import data, noise, records, sweep, training
from alfs_utils.__main__ import main
from alfs_utils.classes import CLASS_NAMES
from alfs_utils.data import human
from alfs_utils.data.human import NAMES, convert, load, write_counts
from alfs_utils.paper import which_runs
from alfs_utils.training import loop

SIZE = 300
COUNTS = ROOT / "results" / "human"
SIZE_PER_CLASS = {10: 5000, 100: 500}


def fake_arrays(dataset, seed=0):
    """Arrays like the published ones, with noise, but SIZE of them."""
    k = len(CLASS_NAMES[dataset])
    rng = np.random.default_rng(seed)
    arrays = {key: rng.integers(0, k, SIZE) for key in human.SOURCES[dataset].arrays}
    arrays["clean_label"] = rng.permutation(np.arange(SIZE) % k)
    if dataset == "cifar100":
        arrays["clean_coarse_label"] = list(rng.integers(0, 20, SIZE))  # a list, as published
    return arrays


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Both files, made here, as if they were the published ones; gives their arrays."""
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(human, "SIZE", SIZE)
    made, sources = {}, {}
    for dataset, source in human.SOURCES.items():
        arrays = made[dataset] = fake_arrays(dataset)
        torch.save(arrays, tmp_path / source.file)
        file = hashlib.sha256((tmp_path / source.file).read_bytes()).hexdigest()
        own = b"".join(arrays[key].astype(np.uint8).tobytes() for key in source.arrays)
        sources[dataset] = replace(
            source, sha256=file, arrays_sha256=hashlib.sha256(own).hexdigest()
        )
    monkeypatch.setattr(human, "SOURCES", sources)
    return made


def rewrite(tmp_path, arrays, **changes):
    """The .npz of CIFAR-10 with some arrays replaced; None removes one."""
    arrays = {key: value for key, value in (arrays | changes).items() if value is not None}
    np.savez(tmp_path / "CIFAR-10_human.npz", **arrays)


def images_of(arrays):
    """A data set of grey squares with these clean labels."""
    clean = torch.tensor(arrays["clean_label"])
    shape = 3, 32, 32
    pixels = (25 * clean).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, *shape)
    return data.DataSet("cifar10-npz", pixels, clean, pixels, clean, 10, (0.5,) * 3, (0.2,) * 3)


# --- what is there --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pt", "npz"])
def test_every_set_is_the_array_of_the_file(published, kind):
    if kind == "npz":
        for path in map(convert, CLASS_NAMES):
            path.with_suffix(".pt").unlink()  # the .npz is enough
    files = {
        "cifar10n-aggregate": "aggre_label",
        **{f"cifar10n-random{i}": f"random_label{i}" for i in (1, 2, 3)},
        "cifar10n-worst": "worse_label",
        "cifar100n": "noisy_label",
    }
    assert tuple(files) == NAMES
    for name, key in files.items():
        dataset = "cifar100" if name == "cifar100n" else "cifar10"
        arrays = published[dataset]
        found = load(name, clean=arrays["clean_label"])
        np.testing.assert_array_equal(found.labels, arrays[key])
        np.testing.assert_array_equal(found.clean, arrays["clean_label"])
        T = noise.transition_matrix(
            clean=arrays["clean_label"], noisy=arrays[key], num_classes=len(CLASS_NAMES[dataset])
        )
        np.testing.assert_array_equal(found.T, T)
        assert (found.recipe, found.counts) == (name, "human")


def test_a_run_trains_on_human_labels_and_is_tested_on_clean_ones(published, monkeypatch):
    arrays = published["cifar10"]
    monkeypatch.setattr(loop, "load_once", lambda name: images_of(arrays))
    (config,) = (
        replace(c, epochs=1, train_size=200)
        for c in which_runs.reduced("cifar10-npz")
        if c.noise == "cifar10n-worst" and c.loss == "CELoss()"
    )
    run = loop.Run(config, torch.device("cpu"))
    given, clean = arrays["worse_label"][:200], arrays["clean_label"][:200]
    np.testing.assert_array_equal(run.given, given)
    np.testing.assert_array_equal(run.wrong, given != clean)
    np.testing.assert_array_equal(run.dataset.test_labels, arrays["clean_label"])
    record = records.make(training.train(config, progress=False))
    assert record["noise_rate"] == (given != clean).mean()
    assert record["labels_sha256"] == hashlib.sha256(given.astype("<i8").tobytes()).hexdigest()
    assert len(record["test_accuracy"]) == 1 and record["config"]["noise"] == "cifar10n-worst"
    with pytest.raises(ValueError, match=r"^noise: expected a kind drawn from a matrix, got "):
        training.transition_matrix(config)


def test_a_sweep_asks_for_the_labels_before_it_trains(published, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", lambda name: images_of(published["cifar10"]))
    (tmp_path / "CIFAR-10_human.pt").unlink()
    with pytest.raises(FileNotFoundError, match="CIFAR-10_human"):
        sweep.run(which_runs.reduced("cifar10-npz"), tmp_path / "ledger")
    assert not (tmp_path / "ledger").exists()


def test_a_run_refuses_images_in_another_order(published, monkeypatch):
    images = images_of(published["cifar10"])
    images = replace(images, train_labels=images.train_labels.roll(1))
    monkeypatch.setattr(loop, "load_once", lambda name: images)
    config = which_runs.reduced("cifar10-npz")[-1]
    with pytest.raises(ValueError, match=r"CIFAR-10_human\.pt: .*order"):
        training.train(replace(config, train_size=0), progress=False)


# --- what may be wrong ----------------------------------------------------------------------


def test_an_unverified_pickle_is_never_opened(published, tmp_path):
    trace = tmp_path / "trace"

    class Malicious:
        def __reduce__(self):
            return Path.touch, (trace,)

    torch.save({"clean_label": Malicious()}, tmp_path / "CIFAR-10_human.pt")
    for attempt in (lambda: load("cifar10n-worst"), lambda: convert("cifar10")):
        words = rf"CIFAR-10_human\.pt: expected sha256 {human.SOURCES['cifar10'].sha256}"
        with pytest.raises(ValueError, match=f"{words}, .*not opened.*curl"):
            attempt()
        assert not trace.exists()
    torch.load(tmp_path / "CIFAR-10_human.pt", weights_only=False)
    assert trace.exists()  # the pickle would have done it


def test_the_published_hashes():
    found = [human.SOURCES[name].sha256[:16] for name in ("cifar10", "cifar100")]
    assert found == ["873e69c39cb9b5e9", "bd2d80409754d420"]


def test_a_missing_file_names_licence_and_command(monkeypatch, tmp_path):
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path / "nowhere"))
    path = re.escape(str(tmp_path / "nowhere" / "CIFAR-100_human.pt"))
    message = rf"^{path}: no such file.*CC BY-NC 4.0.*curl .*{path}"
    with pytest.raises(FileNotFoundError, match=message):
        load("cifar100n")


def test_images_in_another_order(published):
    clean = published["cifar10"]["clean_label"]
    shuffled = np.random.default_rng(0).permutation(clean)
    wrong = np.flatnonzero(shuffled != clean)
    with pytest.raises(ValueError, match="order of `clean`") as error:
        load("cifar10n-random1", clean=shuffled)
    words = str(error.value)
    assert f"but {len(wrong)} of {SIZE} differ" in words and "torchvision" in words
    for i in wrong[:3]:
        assert f"{clean[i]} against {shuffled[i]} at {i}" in words
    assert f" at {wrong[3]}" not in words and ", ..." in words
    assert "datasets.CIFAR10" in words and "curl" not in words  # the file is not at fault
    load("cifar10n-random1", clean=torch.tensor(clean))
    pair = clean.copy()
    i = np.flatnonzero(pair != pair[0])[0]
    pair[[0, i]] = pair[[i, 0]]
    with pytest.raises(ValueError, match=f"2 of {SIZE} differ"):
        load("cifar10n-random1", clean=pair)
    with pytest.raises(ValueError, match=rf"clean: expected the {SIZE} .* got shape \(7,\)"):
        load("cifar10n-random1", clean=np.zeros(7, int))


def test_an_npz_in_another_order(published, tmp_path):
    arrays = published["cifar10"]
    order = np.random.default_rng(0).permutation(SIZE)
    rewrite(tmp_path, {key: value[order] for key, value in arrays.items()})
    with pytest.raises(ValueError, match="another order"):
        load("cifar10n-random1")
    with pytest.raises(ValueError, match=r"order of `clean`.*curl"):  # the file is at fault
        load("cifar10n-random1", clean=arrays["clean_label"])


def test_labels_out_of_range(published, tmp_path):
    labels = published["cifar10"]["random_label2"].copy()
    labels[[3, 50, 51, 299]] = [10, -1, 255, 11]
    rewrite(tmp_path, published["cifar10"], random_label2=labels)
    words = (
        r"random_label2: expected labels in \[0, 10\), got 4 others: 10 at 3, -1 at 50, 255 at 51,"
    )
    with pytest.raises(ValueError, match=rf"{words} \.\.\."):
        load("cifar10n-random1")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"aggre_label": np.zeros(SIZE - 1, int)}, r"expected 300 integers, got shape \(299,\)"),
        ({"aggre_label": np.zeros(SIZE)}, "got shape .300,. of float64"),
        ({"aggre_label": np.zeros(SIZE, "m8[s]")}, "got shape .300,. of timedelta64"),
        ({"aggre_label": np.zeros((SIZE, 1), int)}, "got shape .300, 1."),
        ({"aggre_label": None}, r"no arrays \['aggre_label'\], only \['clean_label'"),
        ({"aggre_label": np.array(["a"] * SIZE, object)}, "expected an .npz file of labels"),
        ({"worse_label": np.full(SIZE, 3)}, "expected the published arrays"),
    ],
)
def test_arrays_of_another_kind(published, tmp_path, change, words):
    rewrite(tmp_path, published["cifar10"], **change)
    with pytest.raises(ValueError, match=words) as error:
        load("cifar10n-worst")
    assert "CIFAR-10_human.npz" in str(error.value) and "curl" in str(error.value)


@pytest.mark.parametrize("case", NO_ARRAYS)
def test_an_npz_that_is_none(published, tmp_path, case):
    write_no_arrays(case, tmp_path / "CIFAR-10_human.npz")
    with pytest.raises(ValueError, match=r"CIFAR-10_human\.npz: .*expected .*curl"):
        load("cifar10n-worst")


def test_the_npz_holds_the_same_arrays_and_no_pickle(published):
    with np.load(convert("cifar100"), allow_pickle=False) as file:
        assert sorted(file.files) == ["clean_label", "noisy_label"]
        for key in file.files:
            assert file[key].dtype == np.uint8
            np.testing.assert_array_equal(file[key], published["cifar100"][key])


def test_unknown_names():
    with pytest.raises(ValueError, match=r"^name: expected one of 'cifar10n-agg.* got 'cifar10n'"):
        load("cifar10n")
    with pytest.raises(ValueError, match=r"^dataset: expected one of 'cifar10', .* got 'mnist'"):
        convert("mnist")


# --- the counts -----------------------------------------------------------------------------


def read(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    header, *rows = [line.split(",") for line in lines]
    assert header[1:] == [row[0] for row in rows]
    return tuple(header[1:]), np.array([row[1:] for row in rows], int)


def test_counts_are_written_as_they_are(published, tmp_path, capsys):
    assert main(["human", "convert"]) == 0
    assert "CIFAR-10_human.npz" in capsys.readouterr().out
    assert main(["human", "counts", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.split()) == len(NAMES) + 1
    for name in NAMES:
        dataset = "cifar100" if name == "cifar100n" else "cifar10"
        found = load(name)
        names, count = read(tmp_path / f"{name}.csv")
        assert names == CLASS_NAMES[dataset]
        for i, j in ((1, 2), (3, 3)):
            assert count[i, j] == ((found.clean == i) & (found.labels == j)).sum()
        assert count.sum() == SIZE
    arrays = published["cifar10"]
    both = arrays["random_label1"] == arrays["random_label2"]
    _, agreed = read(tmp_path / "cifar10n-random1-random2.csv")
    assert agreed.sum() == both.sum()
    assert (
        agreed[4, 2] == (both & (arrays["clean_label"] == 4) & (arrays["random_label1"] == 2)).sum()
    )


def test_committed_counts_are_plausible_and_say_where_they_are_from():
    counts = {}
    for path in COUNTS.glob("*.csv"):
        names, counts[path.stem] = read(path)
        dataset = "cifar100" if path.stem == "cifar100n" else "cifar10"
        text = path.read_text()
        assert names == CLASS_NAMES[dataset]
        assert human.SOURCES[dataset].sha256 in text and human.LICENCE in text
    agreed = counts.pop("cifar10n-random1-random2")
    assert sorted(counts) == sorted(NAMES)
    for count in counts.values():
        assert (count.sum(axis=1) == SIZE_PER_CLASS[len(count)]).all()
    randoms = [counts[f"cifar10n-random{i}"] for i in (1, 2, 3)]
    assert (agreed <= np.minimum(randoms[0], randoms[1])).all()
    right = {name: np.diag(count) for name, count in counts.items()}
    for count in randoms:  # "worst" is right only where all three are
        assert (right["cifar10n-worst"] <= np.diag(count)).all()
    rates = [f"{100 - right[name].sum() / 500:.2f}" for name in NAMES]
    assert rates == ["9.01", "17.23", "18.12", "17.64", "40.21", "40.20"]


def test_committed_counts_are_those_of_the_files(tmp_path):
    folder = Path(os.environ.get("ALFS_DATA_DIR", ROOT / "data"))
    there = [
        any((folder / source.file).with_suffix(end).exists() for end in (".pt", ".npz"))
        for source in human.SOURCES.values()
    ]
    require(all(there), "CIFAR-10_human.pt and CIFAR-100_human.pt in ALFS_DATA_DIR (CC BY-NC 4.0)")
    for path in write_counts(tmp_path):
        assert path.read_text() == (COUNTS / path.name).read_text(), path.name


def test_class_names():
    assert list(CLASS_NAMES["cifar100"]) == FINE_NAMES
    assert len(CLASS_NAMES["cifar10"]) == 10 and list(CLASS_NAMES["cifar10"]) == sorted(
        CLASS_NAMES["cifar10"]
    )
