"""Losses, label noise, asymmetry certificates and training for learning with noisy labels.

Each room is a module of its own (`alfs_utils.losses`, `alfs_utils.noise`, ...), loaded when it is
first asked for; importing the package loads none of them, so it costs nothing.

- Take away (torch and NumPy): `losses`, `noise`, `instance_noise`, `asymmetry`,
  `estimation`, `recommend`, `lost_classes`, `suspicious`; `plots`.
- Train (also torchvision, scikit-learn, pandas, tqdm, filelock): `data`, `models`, `training`,
  `records`, `sweep`.
- Judge the paper: `paper`, which an installed package does not have.
"""

from importlib import import_module

__version__ = "1.0.0"

_ROOMS = (
    "asymmetry",
    "classes",
    "data",
    "estimation",
    "instance_noise",
    "losses",
    "lost_classes",
    "models",
    "noise",
    "paper",
    "plots",
    "recommend",
    "records",
    "suspicious",
    "sweep",
    "training",
)


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f"alfs_utils.{name}")
    raise AttributeError(f"module 'alfs_utils' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
