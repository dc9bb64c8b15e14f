"""Serve MathJax from the built site, so that a page needs no network.

The wheel `sphinx-mathjax-offline` carries the whole of MathJax (23 MB). One of its files holds
every TeX extension and draws SVG, which needs no fonts: that one is copied.
"""

from importlib.util import find_spec
from pathlib import Path

from sphinx.util.fileutil import copy_asset

FILE = "tex-svg-full.js"


def copy_mathjax(app, exception):
    if exception is None and app.builder.format == "html":
        wheel = Path(find_spec("sphinx-mathjax-offline").origin).parent
        copy_asset(wheel / "static" / "mathjax" / FILE, Path(app.outdir) / "_static" / "mathjax")


def setup(app):
    app.config.mathjax_path = f"mathjax/{FILE}"
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
