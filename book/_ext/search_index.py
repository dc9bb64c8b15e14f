"""The index of the book, which the search reads: index.yml, and every numbered statement.

Sphinx finds what is written on a page; `search.js` ranks what is *about* the query above it, by
these entries, the glossary and the headings.
"""

import re
from pathlib import Path
from zlib import crc32

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.index_entries import split_index_msg

ENTRIES = Path(__file__).with_name("index.yml")
# The paper's numbers, as they stand in the titles of statements and in headings.
NUMBERED = re.compile(
    r"(?:paper, )?((?:Theorem|Definition|Assumption|Corollary|Figure) \d|equation \(\d\))"
)


def by_page(entries):
    """{page: terms} from {term: page or pages}."""
    pages = {}
    for term, names in entries.items():
        for name in [names] if isinstance(names, str) else names:
            pages.setdefault(name, []).append(term)
    return pages


class EnterIndex(SphinxTransform):
    """Put the entries of a page at its top, and those of its statements where they stand."""

    default_priority = 400  # before Sphinx collects them, after labels are set

    def apply(self, **kwargs):
        known = by_page(yaml.safe_load(ENTRIES.read_text(encoding="utf-8")))
        found = [("", term) for term in known.get(self.env.docname, [])]
        if self.env.docname.startswith("notebooks/"):
            found += [entry for node in self.document.findall(titled) for entry in entry_of(node)]
        if found:
            entries = [("single", term, place, "main", None) for place, term in found]
            self.document.insert(0, addnodes.index(entries=entries))


def titled(node):
    return isinstance(node, nodes.section) or "realtype" in getattr(node, "attributes", {})


def entry_of(node):
    """(anchor, term) of a statement or section with a number of the paper; nothing of others."""
    match = NUMBERED.match(node[0].astext() if len(node) else "")
    return [(node["ids"][0], match[1])] if match and node["ids"] else []


def remember_entries(app, env):
    """Give the search the entries of all pages.

    Sphinx forgets those of pages that it does not write again, since it restores only titles and
    words from the index of the build before.
    """
    for docname, entries in env.get_domain("index").entries.items():
        env._search_index_index_entries[docname] = sorted(
            (term, target or "", main)
            for kind, value, target, main, _ in entries
            for term in split_index_msg(kind, value)
        )


def add_script(app, pagename, templatename, context, doctree):
    if pagename == "search":
        app.add_js_file("search.js", loading_method="defer")


def setup(app):
    app.add_transform(EnterIndex)
    app.connect("env-updated", remember_entries)
    app.connect("html-page-context", add_script)
    version = crc32(ENTRIES.read_bytes() + Path(__file__).read_bytes())
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
