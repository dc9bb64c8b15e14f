"""Words with the scores of ten people each: label noise of people, in half a megabyte.

5,460 words of the VADER lexicon with their ten raters' scores in -4..4 (Hutto & Gilbert, ICWSM
2014; MIT) and their 50-dimensional GloVe vectors (Pennington et al., EMNLP 2014; PDDL): `words.npz`
(licences in `words.txt`). Words of mean 0 or a standard deviation above 2.5 are left out.
"""

from pathlib import Path

import numpy as np
import torch

from alfs_utils._arguments import option
from alfs_utils.data.images import DataSet
from alfs_utils.noise import NoisyLabels, transition_matrix

NOISE = {"words-worst": ("words",), "words-one": ("words", "words-4")}  # kind -> data sets
CUTS = {"words": (0,), "words-4": (-1.5, 0, 1.5)}  # of a score; each is the least of its class
TESTS = 1092  # every fifth word


def load(name: str, download: bool = False) -> DataSet:
    """Load vectors as float16 "images" (N, 50, 1, 1); every fifth word tests, the others train."""
    ratings, vectors = _arrays()
    labels = torch.from_numpy(_classes(ratings.mean(1), name))
    images = torch.from_numpy(vectors)[..., None, None]
    mean, std = (tuple(f(vectors[TESTS:].astype(float), 0) / 255) for f in (np.mean, np.std))
    parts = images[TESTS:], labels[TESTS:], images[:TESTS], labels[:TESTS]
    return DataSet(name, *parts, len(CUTS[name]) + 1, mean, std)


def given(kind: str, name: str, seed: int) -> NoisyLabels:
    """Return what people said of the training words, for a kind and a data set of `NOISE`."""
    option("name", name, NOISE[option("kind", kind, NOISE)])
    ratings = _arrays()[0][TESTS:].astype(int)
    truth, rng = ratings.mean(1), np.random.default_rng(seed)
    if kind == "words-worst":  # wrong wherever anybody said the opposite
        score = np.where((ratings * truth[:, None] < 0).any(1), -truth, truth)
    else:  # one of the ten; the truth is the mean of the other nine, where it is not 0
        score = rng.permuted(ratings, axis=1)[:, 0]
        rest = ratings.sum(1) - score
        truth = np.where(rest == 0, truth, rest / 9)
        score = np.where(score == 0, rng.choice([-1, 1], len(score)), score)  # a coin
    clean, labels = _classes(truth, name), _classes(score, name)
    T = transition_matrix(clean=clean, noisy=labels, num_classes=len(CUTS[name]) + 1)
    return NoisyLabels(labels, clean, T, seed, "human", kind)


def _classes(scores, name):
    return np.digitize(scores, CUTS[name])


def _arrays():
    """Read ratings and vectors; every fifth word (in the lexicon's order) comes first."""
    with np.load(Path(__file__).with_name("words.npz")) as file:
        ratings, vectors = file["ratings"], file["vectors"]
    order = np.argsort(np.arange(len(ratings)) % 5, kind="stable")
    return ratings[order], vectors[order]
