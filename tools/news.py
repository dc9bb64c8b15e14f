"""Make the features of the news that `alfs_utils.paper.people` trains on.

    python tools/news.py val.csv test.csv DATA/noisy-agnews-svd.npz

The two files are those of the repository hhf-hd/NoisyAG-News (labels MIT); DATA is the folder of
ALFS_DATA_DIR. The texts are AG's corpus of news, customarily for non-commercial use: neither they
nor these features belong into a repository.

Features: TF-IDF, fitted on the 10,000 validation texts, 100 dimensions by SVD, each row of length
1, as float16. train_x, train_y (true) and train_given (a person's label) in 0..3; test_x, test_y.
"""

import sys

import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

val, test, out = pd.read_csv(sys.argv[1]), pd.read_csv(sys.argv[2]), sys.argv[3]
terms = TfidfVectorizer(min_df=3, max_features=20_000, sublinear_tf=True, stop_words="english")
svd = TruncatedSVD(100, random_state=0)
least = val["gt"].min()


def unit(x):
    return (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9)).astype(np.float16)


def labels(column):
    return (column - least).to_numpy(np.uint8)


np.savez_compressed(
    out,
    train_x=unit(svd.fit_transform(terms.fit_transform(val.text))),
    train_y=labels(val["gt"]),
    train_given=labels(val["label"]),
    test_x=unit(svd.transform(terms.transform(test.text))),
    test_y=labels(test["gt"]),
)
