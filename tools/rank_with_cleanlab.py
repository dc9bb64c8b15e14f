"""Rank labels with cleanlab, from the outputs that `alfs_utils.paper.cleaning.write` kept.

    python tools/rank_with_cleanlab.py OUTPUTS.npz results/suspicious/cleanlab.json

It needs cleanlab 2.9.0 and scikit-learn in an environment of their own, and nothing of this book.
"""

import json
import sys

import cleanlab
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import average_precision_score

WAYS = {
    "self_confidence": {"method": "self_confidence"},
    "normalized_margin": {"method": "normalized_margin"},
    "confidence_weighted_entropy": {"method": "confidence_weighted_entropy"},
    "self_confidence, adjusted": {"method": "self_confidence", "adjust_pred_probs": True},
    "normalized_margin, adjusted": {"method": "normalized_margin", "adjust_pred_probs": True},
}

kept, rows = np.load(sys.argv[1]), []
for name in kept.files:
    setting, outputs = name.split("/")
    if outputs in ("labels", "wrong"):
        continue
    pairs = zip(kept[f"{setting}/labels"], kept[f"{setting}/wrong"], kept[name], strict=True)
    for seed, (given, wrong, logits) in enumerate(pairs):
        u = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
        u /= u.sum(1, keepdims=True)
        row = {"setting": setting, "outputs": outputs, "seed": seed}
        for way, options in WAYS.items():
            score = get_label_quality_scores(given, u, **options)
            row[way] = round(100 * average_precision_score(wrong, -score), 3)
        flagged = find_label_issues(given, u, n_jobs=1)
        row |= {"flagged": int(flagged.sum()), "wrong among them": int((flagged & wrong).sum())}
        rows.append(
            row
            | {
                "contradicted": int((u.argmax(1) != given).sum()),
                "wrong among the contradicted": int((wrong & (u.argmax(1) != given)).sum()),
                "wrong": int(wrong.sum()),
            }
        )
text = json.dumps({"cleanlab": cleanlab.__version__, "rows": rows})
with open(sys.argv[2], "w") as file:
    file.write(text.replace('{"setting"', '\n{"setting"') + "\n")
