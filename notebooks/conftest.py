"""What `pytest --nbval` must know here."""


def pytest_collectstart(collector):
    """A vector drawing is text, but no more the same on every machine than a PNG is."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("image/svg+xml",)
