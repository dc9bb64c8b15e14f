"""What `pytest --nbval` must know here."""

import os

# As in tools/build.py: some runs of the pages lose classes, as the pages say.
os.environ["PYTHONWARNINGS"] = (
    "ignore::RuntimeWarning:alfs_utils.training.loop"
)


def pytest_collectstart(collector):
    """A vector drawing is text, but no more the same on every machine than a PNG is."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("image/svg+xml",)
