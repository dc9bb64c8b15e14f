"""Figures are numbered by chapter: the third of chapter 7 is Figure 7.3, whatever comes before it.

Sphinx alone would count through the whole book, so that one new figure would rename all later ones.
Pages without a chapter's number count from 1. A link `[Figure](#fig-name)`, which Colab shows as
it is, gets the number on the site: "Figure 7.3".
"""

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform


def chapter_of(docname):
    """The number in a chapter's file name, as a tuple of at most one text: ("7",), ("9b",), ()."""
    number = re.match(r"notebooks/0?(\d+[a-z]?)-", docname)
    return (number[1],) if number else ()


def by_chapter(numbers):
    """Sphinx's numbers {page: {kind: {id: number}}}, counted anew on every page."""
    return {
        page: {
            kind: {
                name: (*chapter_of(page), place)
                for place, name in enumerate(sorted(found, key=found.get), start=1)
            }
            for kind, found in kinds.items()
        }
        for page, kinds in numbers.items()
    }


def before(app, env):
    """Give Sphinx its own numbers back: it compares them, to see which pages to write again."""
    env.toc_fignumbers = getattr(env, "alf_counted_through", {})
    return []


def after(app, env):
    env.alf_counted_through = env.toc_fignumbers
    env.toc_fignumbers = by_chapter(env.toc_fignumbers)
    return []


class NumberLinks(SphinxPostTransform):
    """Write the number of a figure or table behind links that say only "Figure" or "Table"."""

    default_priority = 20  # after links are resolved

    def run(self, **kwargs):
        numbers = {
            name: number
            for kinds in self.env.toc_fignumbers.values()
            for found in kinds.values()
            for name, number in found.items()
        }
        for link in self.document.findall(nodes.reference):
            name = link.get("refid") or link.get("refuri", "").partition("#")[2]
            if name in numbers and link.astext() in ("Figure", "Table"):
                last = list(link.findall(nodes.Text))[-1]
                last.parent.replace(last, nodes.Text(f"{last} {'.'.join(map(str, numbers[name]))}"))


def setup(app):
    app.add_post_transform(NumberLinks)
    app.connect("env-get-updated", before, priority=400)
    app.connect("env-get-updated", after, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
