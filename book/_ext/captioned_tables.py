"""Captions and numbers for tables that a cell computes.

MyST-NB makes a figure of any output whose cell has a caption. One with the class `table` becomes a
table here: its caption says "Table", and it is counted with the tables.
"""

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.writers.html5 import HTML5Translator


class captioned_table(nodes.figure):
    """A figure that is a table."""


class FiguresToTables(SphinxTransform):
    default_priority = 700

    def apply(self, **kwargs):
        for figure in list(self.document.findall(nodes.figure)):
            if "table" in figure["classes"]:
                figure["classes"] = ["captioned-table"]  # the theme has rules for "table"
                figure.__class__ = captioned_table


def setup(app):
    html = (HTML5Translator.visit_figure, HTML5Translator.depart_figure)
    app.add_enumerable_node(captioned_table, "table", html=html)
    app.add_transform(FiguresToTables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
