"""A folded cell that would show something, and has nothing to show yet, is no part of a page.

Such cells wait for runs: the fold would open onto code alone.
"""

from docutils import nodes
from sphinx.transforms import SphinxTransform

SHOWS = ("display(", "plt.show()")


class DropEmptyCells(SphinxTransform):
    default_priority = 700

    def apply(self, **kwargs):
        for cell in list(self.document.findall(nodes.container)):
            if "tag_hide-input" in cell["classes"] and waits(cell):
                cell.parent.remove(cell)


def waits(cell):
    """Whether a cell has no output although its code shows something."""
    outputs = [c for c in cell if "cell_output" in c.get("classes", ())]
    return not outputs and any(word in cell.astext() for word in SHOWS)


def setup(app):
    app.add_transform(DropEmptyCells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
