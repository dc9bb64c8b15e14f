"""Links between a statement, its verdict, the check and the check's entry in the reference.

They are made while the site is built, from `alfs_utils.paper.verdicts`: each chapter says beside a
statement what the verdict is, and the reference says beside a check which verdicts rest on it.
"""

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

CHECKS = "alfs_utils.paper.checks"
NUMBERED = re.compile("Theorem|Definition|Assumption|Corollary|Equation")
VERDICT_PAGE, REFERENCE = "notebooks/17-verdict", "book/api/checks"


def anchor(verdict):
    """The anchor of a verdict's statement in its chapter."""
    return f"claim-{verdict.check.replace('.', '-')}"


class LinkClaims(SphinxPostTransform):
    default_priority = 50

    def run(self, **kwargs):
        name = self.env.docname
        if name != REFERENCE and not name.startswith("notebooks/"):
            return
        # Late: `api` makes the library importable.
        from alfs_utils.paper.verdicts import VERDICTS

        self.verdicts = list(enumerate(VERDICTS, start=1))
        if name == REFERENCE:
            self.mark_checks()
        else:
            self.mark_statements(name.removeprefix("notebooks/"))

    def mark_checks(self):
        for entry in self.document.findall(addnodes.desc):
            name = (entry[0].get("ids") or [""])[0].removeprefix(f"{CHECKS}.")
            resting = [(number, v) for number, v in self.verdicts if v.check == name]
            if resting:
                lines = "; ".join(map(self.verdict_link, *zip(*resting, strict=True)))
                place = f"notebooks/{resting[0][1].notebook}"
                chapter = f'<a href="{self.uri(place)}#{anchor(resting[0][1])}">chapter</a>'
                entry[-1].insert(
                    0, raw(f"Behind the verdict: {lines}. Explained in its {chapter}.")
                )

    def mark_statements(self, notebook):
        here = [(number, v) for number, v in self.verdicts if v.notebook == notebook]
        if not here:
            return
        cells = json.loads(Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8"))
        sources = ["".join(c["source"]) * (c["cell_type"] == "code") for c in cells["cells"]]
        found = {}
        for number, verdict in here:
            place = place_of(verdict, self.document, sources)
            found.setdefault(id(place), (place, []))[1].append((number, verdict))
        for place, resting in found.values():
            ids = dict.fromkeys(anchor(verdict) for _, verdict in resting)
            place["ids"] += [name for name in ids if name not in place["ids"]]
            lines = "; ".join(map(self.verdict_link, *zip(*resting, strict=True)))
            checks = ", ".join(
                f'<a href="{self.uri(REFERENCE)}#{CHECKS}.{check}"><code>{check}</code></a>'
                for check in dict.fromkeys(verdict.check for _, verdict in resting)
            )
            text = raw(f"Verdict: {lines}. Check: {checks}.")
            if isinstance(place, nodes.section):
                place.insert(1, text)
            else:
                place.parent.insert(place.parent.index(place) + 1, text)

    def verdict_link(self, number, verdict):
        from alfs_utils.paper.pages import verdict_word

        word = verdict_word(verdict.verdict)
        href = f"{self.uri(VERDICT_PAGE)}#verdict-{number}"
        return f'<a href="{href}">{verdict.statement}</a> {word}'

    def uri(self, docname):
        return self.app.builder.get_relative_uri(self.env.docname, docname)


def raw(html):
    return nodes.raw("", f'<p class="alf-claim">{html}</p>', format="html")


def place_of(verdict, document, sources):
    """The node that states what a verdict is on.

    It is the statement with the same number; else, in the section that runs the check, the last one
    above it of the same origin (the paper's, or ours); else that section.
    """
    statements = [n for n in document.findall() if "realtype" in getattr(n, "attributes", {})]
    name = re.escape(verdict.statement)
    for statement in statements if NUMBERED.match(verdict.statement) else ():
        if re.match(rf"paper, {name}(?![\w, ])", title_of(statement), re.IGNORECASE):
            return statement
    cell = cell_with(verdict.check, document, sources)
    if cell is None:
        return next(document.findall(nodes.section))
    above, nodes_in_order = cell, list(document.findall())
    while not isinstance(above, nodes.section):
        above = above.parent
    before = set(map(id, nodes_in_order[: nodes_in_order.index(cell)]))
    origin = "ours" if verdict.ours else "paper"
    near = [s for s in statements if id(s) in before and s.parent is above]
    return next((s for s in reversed(near) if title_of(s).startswith(origin)), above)


def title_of(statement):
    """Sphinx-proof keeps it in brackets."""
    return statement["title"].strip(" ()")


def cell_with(check, document, sources):
    """The first code cell on the page that runs a check."""
    module, function = check.split(".")
    for pattern in (rf"\b{module}\.{function}\b", rf"\b{function}\("):
        for index, source in enumerate(sources):
            if re.search(pattern, source):
                for node in document.findall(nodes.container):
                    if node.get("cell_index") == index:
                        return node
    return None


def add_filter(app, pagename, templatename, context, doctree):
    if pagename == VERDICT_PAGE:
        app.add_js_file("verdicts.js", loading_method="defer")


def setup(app):
    app.add_post_transform(LinkClaims)
    app.connect("html-page-context", add_filter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
