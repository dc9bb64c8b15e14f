"""Figure 5: what a trained network sees, as a stored picture and in numbers.

A run is measured with::

    python -m alfs_utils features --run f37d3a0dfa08 --weights weights/ --results results/

The features of a run are computed once, from its final weights; `metrics` measures them, t-SNE
draws them, and they are dropped. What stays in results/embeddings is id.npz (the picture, at most
200 kB) and id.metrics.json (the numbers, and what they were made with). t-SNE gives other
coordinates on another machine: pictures are looked at, never compared number by number.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from alfs_utils import data, models, records, training
from alfs_utils._files import replacing
from alfs_utils.training import RunConfig

__all__ = ["Embedding", "features", "load", "make", "metrics", "picture"]

MOST_BYTES = 200_000  # of a stored picture
TRAIN_IMAGES = 5000  # so many training images are drawn, and measured
NEIGHBOURS = 10
FOLDS = 5
SEED = 123  # the seed of the paper's script for this figure
LEVELS = 2**16 - 1  # coordinates are stored as uint16


@dataclass(frozen=True)
class Embedding:
    """The stored picture of one run, and its numbers.

    Attributes
    ----------
    xy : (N, 2) float64 ndarray
        t-SNE of the features of all test images, scaled to [0, 1].
    label, prediction : (N,) uint8 ndarray
        True and predicted classes.
    train_xy, train_label, train_given, train_prediction : ndarray
        The same for some training images, of which as large a share has a wrong given label as in
        the whole training set.
    about : dict
        The file id.metrics.json; "metrics" has the results of `metrics` under "test" (features of
        the test images), "picture" (`xy` instead), "untrained" (features before training),
        "train_clean" and "train_given" (features of the training images, by either label).
    """

    xy: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    train_xy: np.ndarray
    train_label: np.ndarray
    train_given: np.ndarray
    train_prediction: np.ndarray
    about: dict


@torch.no_grad()
def features(network, dataset: data.DataSet, images: torch.Tensor) -> np.ndarray:
    """The input of the last linear layer for uint8 images, (N, d) float32; sets evaluation mode."""
    network.eval()
    batches = images.split(1000)
    return torch.cat([models.features(network, dataset.normalise(b)) for b in batches]).numpy()


def metrics(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measure how well features tell labels apart, without any picture.

    Parameters
    ----------
    features : (N, d) array of finite floats
    labels : (N,) array of int
        At least two classes, of at least five samples each.

    Returns
    -------
    dict
        "silhouette": mean silhouette coefficient, Euclidean, from -1 to 1 (dense, distant classes).
        "knn": percent of samples whose label their 10 nearest neighbours choose. "linear": percent
        that logistic regression gets right, on features of unit variance. Both five-fold
        cross-validated, so that no sample votes on itself.

    Raises
    ------
    ValueError
        If the shapes or the values do not fit; the message names the argument.
    """
    features, labels = np.asarray(features, dtype="float64"), np.asarray(labels)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise ValueError(f"features: expected finite values (N, d), got shape {features.shape}")
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels: expected shape {features.shape[:1]}, got {labels.shape}")
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < FOLDS:
        raise ValueError(
            f"labels: expected two classes or more of at least {FOLDS} samples, got {counts}"
        )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    knn = KNeighborsClassifier(NEIGHBOURS)
    return {
        "silhouette": float(silhouette_score(features, labels)),
        "knn": 100 * float(cross_val_score(knn, features, labels, cv=folds).mean()),
        "linear": 100 * float(cross_val_score(probe, features, labels, cv=folds).mean()),
    }


def picture(features: np.ndarray, perplexity: float = 30.0) -> np.ndarray:
    """t-SNE to (N, 2) as the paper's script has it, scaled to [0, 1] with one factor for both."""
    found = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(features)
    found = found.astype("float64")
    return (found - found.min()) / (found.max() - found.min())


# --- from a run to its files ----------------------------------------------------------------


def make(
    run_id: str, weights: str | os.PathLike, results: str | os.PathLike = "results"
) -> Embedding:
    """Compute, measure, draw and store the features of one finished run.

    Parameters
    ----------
    run_id : str
        Twelve hexadecimal digits, see `records.run_id`.
    weights : path
        The final `state_dict` of that run, see `training.train`.
    results : path
        The ledger that has the run's record; the two files go to its folder `embeddings`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such record or file, if they do not belong together (another network, other
        data or labels, another test accuracy), or if the picture is too large to be kept.
    """
    record = _record(run_id, results)
    config, dataset, noisy = _data_of(record)
    network, weights_sha256 = _network(config, dataset, Path(weights))
    some = _subset(noisy.mask, TRAIN_IMAGES)
    images = dataset.test_images, dataset.train_images[some]
    label = dataset.test_labels.numpy()
    predicted = [training.predict(network, dataset, part).numpy() for part in images]
    _check_accuracy(predicted[0] == label, record, weights)

    seen = [features(network, dataset, part) for part in images]
    start = time.perf_counter()
    xy, train_xy = map(picture, seen)
    drawn = time.perf_counter()
    fresh = models.build(config.model, dataset.num_classes, config.init_seed)
    clean, given = noisy.clean[some], noisy.labels[some]
    measured = {
        "test": (seen[0], label),
        "picture": (xy, label),
        "untrained": (features(fresh, dataset, dataset.test_images), label),
        "train_clean": (seen[1], clean),
        "train_given": (seen[1], given),
    }
    measured = {part: _rounded(metrics(*arguments)) for part, arguments in measured.items()}
    seconds = {"tsne": drawn - start, "metrics": time.perf_counter() - drawn}
    about = {
        "id": run_id,
        "metrics": measured,
        "sizes": {"test": len(label), "train": len(some), "features": seen[0].shape[1]},
        "wrong_share": round(float(noisy.mask[some].mean()), 6),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "weights_sha256": weights_sha256,
    }
    labels = {"label": label, "prediction": predicted[0], "train_label": clean}
    labels |= {"train_given": given, "train_prediction": predicted[1]}
    _write(run_id, results, {"xy": xy, "train_xy": train_xy}, labels, about)
    return load(run_id, results)


def _rounded(numbers):
    return {name: float(f"{value:.6g}") for name, value in numbers.items()}


def load(run_id: str, results: str | os.PathLike = "results") -> Embedding | None:
    """Read what `make` stored for a run; None if there is nothing.

    Raises
    ------
    ValueError
        If a file is damaged or belongs to another run; the message names it.
    """
    path, text = _paths(run_id, results)
    if not (path.exists() and text.exists()):
        return None
    try:
        about = json.loads(text.read_text())
        if about["id"] != run_id:
            raise ValueError(f"it belongs to run {about['id']}")
        with np.load(path) as file:
            arrays = {name: file[name] for name in file}
        for name in ("xy", "train_xy"):
            arrays[name] = arrays[name] / LEVELS
        return Embedding(**arrays, about=about)
    except Exception as error:  # a damaged zip file raises one of many kinds
        raise ValueError(f"{path} and {text.name}: not a whole embedding: {error}") from error


def _paths(run_id, results):
    stem = Path(results) / "embeddings" / run_id
    return stem.with_suffix(".npz"), stem.with_suffix(".metrics.json")


def _record(run_id, results):
    found = sorted(Path(results).glob(f"*/{run_id}.json"))
    if not found:
        raise FileNotFoundError(f"run {run_id!r}: no such record in {Path(results) / '*'}")
    record = records.read(found[0])
    if record["status"] != "finished":
        raise ValueError(f"run {run_id}: expected a finished run, got {record['status']!r}")
    return record


def _data_of(record):
    """Configuration, data set and noisy labels of a run, which its record must know."""
    config = RunConfig(**record["config"])
    dataset = data.load(config.dataset)
    noisy = training.noisy_labels(config, dataset)
    for name, found in (("data_sha256", dataset.sha256), ("labels_sha256", noisy.sha256)):
        if record[name] != found:
            raise ValueError(
                f"run {record['id']}: {name} is {record[name]} in its record, {found} here"
            )
    return config, dataset, noisy


def _network(config, dataset, path):
    """The trained network, and the hash of the file."""
    network = models.build(config.model, dataset.num_classes, config.init_seed)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise
    except Exception as error:  # torch.load has no common class for what can be wrong
        raise ValueError(f"{path}: not the weights of a {config.model}: {error}") from error
    return network, hashlib.sha256(path.read_bytes()).hexdigest()


def _check_accuracy(hits, record, path):
    """Compare with the record on both halves of the test set; rounding may tip 0.1 % of it."""
    allowed = max(1, len(hits) // 1000)
    for half, recorded in enumerate(record["half_accuracy"][-1]):
        part = hits[half::2]
        if abs(part.sum() - recorded / 100 * len(part)) > allowed + 1e-3:
            raise ValueError(
                f"{path}: these weights are not those of run {record['id']}: its record has "
                f"{recorded:.2f} % on test images {half}, {half + 2}, ..., they have "
                f"{100 * part.mean():.2f} %"
            )


def _subset(wrong, size):
    """Ascending indices of `size` samples with the same share of wrong labels; or all of them."""
    everything = np.arange(len(wrong))
    if size >= len(wrong):
        return everything
    chosen, _ = train_test_split(everything, train_size=size, stratify=wrong, random_state=SEED)
    return np.sort(chosen)


def _write(run_id, results, points, labels, about):
    """Write both files, each whole or not at all."""
    arrays = {name: np.rint(LEVELS * xy).astype("uint16") for name, xy in points.items()}
    arrays |= {name: values.astype("uint8") for name, values in labels.items()}
    about |= {
        "tsne": "sklearn.manifold.TSNE(2, perplexity=30.0, init='pca', random_state=123)",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path, text = _paths(run_id, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)
        size = file.seek(0, os.SEEK_END)
        if size > MOST_BYTES:
            raise ValueError(f"{path}: expected at most {MOST_BYTES} bytes, got {size}")
    with replacing(text) as file:
        file.write((json.dumps(about, indent=1) + "\n").encode())
