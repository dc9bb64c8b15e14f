"""Loss functions for learning with noisy labels, as drop-in replacements of `nn.CrossEntropyLoss`.

Every loss is called as ``loss(input, target)`` with logits of shape ``(C,)``, ``(N, C)`` or
``(N, C, d1, ...)`` and either class indices (``int64``, the shape of `input` without the class
axis) or class probabilities (the shape of `input`). With probabilities y the loss is the
expectation E_y[L(u, y)]. ``weight``, ``ignore_index`` and ``reduction`` mean what they mean in
`torch.nn.functional.cross_entropy`; ``reduction`` may be set later. Half-precision logits are
computed and reduced in float32; the result has the dtype `F.cross_entropy` would give it.
No forward pass waits for the device, so all of them can be captured in a CUDA graph.

Notation: u is the softmax of the logits, u_y its entry at the target, l a loss of u_y alone.
Losses add up: ``1.0 * NCELoss() + 4.0 * AGCELoss(a=6, q=1.5)`` is a loss again.

Equations, theorems and tables are those of Zhou, Liu, Jiang, Gao and Ji, "Asymmetric Loss
Functions for Learning with Noisy Labels", ICML 2021.

A new loss of u_y alone is a `PointwiseLoss` with three short methods; see there.
"""

from alfs_utils.losses.asymmetric import AELLoss, AGCELoss, AULLoss
from alfs_utils.losses.base import CELoss, Loss, LossSum, PointwiseLoss
from alfs_utils.losses.baselines import (
    LOG_1E_4,
    FocalLoss,
    GCELoss,
    MAELoss,
    RCELoss,
    SCELoss,
    UnhingedLoss,
)
from alfs_utils.losses.negative import NLNLLoss, negative_learning
from alfs_utils.losses.normalised import (
    NCELoss,
    Normalized,
    NormalizedFocalLoss,
    NormalizedGCELoss,
)
from alfs_utils.losses.pull import value_and_pull
from alfs_utils.losses.settings import Setting, from_paper, setting
from alfs_utils.losses.successors import AMSELoss, BiasedMAELoss, NNCELoss, NNFLLoss
from alfs_utils.losses.text import LOSSES, loss_from_string

__all__ = [
    "LOG_1E_4",
    "LOSSES",
    "AELLoss",
    "AGCELoss",
    "AMSELoss",
    "AULLoss",
    "BiasedMAELoss",
    "CELoss",
    "FocalLoss",
    "GCELoss",
    "Loss",
    "LossSum",
    "MAELoss",
    "NCELoss",
    "NLNLLoss",
    "NNCELoss",
    "NNFLLoss",
    "Normalized",
    "NormalizedFocalLoss",
    "NormalizedGCELoss",
    "PointwiseLoss",
    "RCELoss",
    "SCELoss",
    "Setting",
    "UnhingedLoss",
    "from_paper",
    "loss_from_string",
    "negative_learning",
    "setting",
    "value_and_pull",
]
