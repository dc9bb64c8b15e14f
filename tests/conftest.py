"""What several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def require(available: bool, what: str) -> None:
    """Skip where something outside the repository is missing; with ALFS_REQUIRE_ALL=1, fail."""
    if not available:
        stop = pytest.fail if os.environ.get("ALFS_REQUIRE_ALL") == "1" else pytest.skip
        stop(f"needs {what}")


def outcome(check):
    """Whether it holds as printed and says something; repaired or with its assumption; control."""
    says = check.printed and not check.empty
    return says, check.assumed if check.repaired is None else check.repaired, check.control
