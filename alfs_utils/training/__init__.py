"""One training run: a frozen configuration in, a history out."""

from alfs_utils.training.config import SEEDS, RunConfig, run_id
from alfs_utils.training.environment import Environment
from alfs_utils.training.history import History
from alfs_utils.training.labels import (
    KINDS,
    noisy_labels,
    sample_posterior,
    transition_matrix,
)
from alfs_utils.training.loop import (
    Stopped,
    accuracy,
    predict,
    seconds_per_epoch,
    stream,
    train,
)

__all__ = [
    "KINDS",
    "SEEDS",
    "Environment",
    "History",
    "RunConfig",
    "Stopped",
    "accuracy",
    "noisy_labels",
    "predict",
    "run_id",
    "sample_posterior",
    "seconds_per_epoch",
    "stream",
    "train",
    "transition_matrix",
]
