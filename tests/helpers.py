"""What several test files import. (Not from conftest: notebooks/ has one of that name, too.)"""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def require(available: bool, what: str) -> None:
    """Skip where something outside the repository is missing; with ALFS_REQUIRE_ALL=1, fail."""
    if not available:
        stop = pytest.fail if os.environ.get("ALFS_REQUIRE_ALL") == "1" else pytest.skip
        stop(f"needs {what}")


def outcome(check):
    """A `Check`'s word, whether its repair or assumption holds, and its control."""
    return check.word, False not in (check.repaired, check.assumed), check.control


# What the children of killed runs need. A worker of pytest has one fork server, and the first test
# to start it decides: without these, a child may be killed before it has imported all it needs.
PRELOADED = ["alfs_utils.paper.which_runs", "alfs_utils.sweep", "psutil", "pytest"]
PRELOADED += ["alfs_utils.training", "torch._dynamo"]
