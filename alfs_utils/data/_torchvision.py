"""Import torchvision where its compiled operators do not match the installed torch.

PyPI's torchvision wheel is built for CUDA. Beside a CPU-only torch its operator library cannot be
loaded, and `import torchvision` then stops at `operator torchvision::nms does not exist`, because
it attaches Python code to two operators (`nms`, `qnms`) that were never declared. Declaring their
signatures is enough: data sets, transforms and models need neither. A healthy torchvision imports
at the first try and nothing is declared.

Use it as `from alfs_utils.data._torchvision import torchvision`.
"""

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms does not exist" not in str(error):
        raise
    # The declarations live exactly as long as this object, hence the module-level name.
    _declared = torch.library.Library("torchvision", "DEF")
    for _operator in ("nms", "qnms"):
        _declared.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
