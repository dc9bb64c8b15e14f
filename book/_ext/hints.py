"""The first use of a glossary term in a page's prose shows its meaning: by pointer, Tab or tap."""

import re
from zlib import crc32

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

GLOSSARY, WITHOUT = "book/glossary", re.compile("book/(glossary|notation|api)")
# Words that the prose also uses in their everyday sense.
EVERYDAY = {"cell", "check", "outcome", "record", "repeated", "robust", "run"}
PROSE = (nodes.section, nodes.list_item, nodes.Admonition)


class glossed(nodes.inline):
    """A word of the glossary; `means` is the paragraph that defines it."""


class MarkTerms(SphinxPostTransform):
    default_priority = 900  # links are made

    def run(self, **kwargs):
        if WITHOUT.match(self.env.docname) or GLOSSARY not in self.env.found_docs:
            return
        items = self.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item)
        meanings = {term.astext(): i[-1][0] for i in items for term in i.findall(nodes.term)}
        if not self.env.get_domain("math").has_equations(self.env.docname):  # no MathJax
            meanings = {term: m for term, m in meanings.items() if not any(m.findall(nodes.math))}
        terms = {term: m for term, m in meanings.items() if term not in EVERYDAY}
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, nodes.paragraph) and isinstance(text.parent.parent, PROSE):
                text.parent.replace(text, list(marked(text.astext(), terms)))


def marked(text, terms):
    """The text as nodes, the terms in it as hints; what is found is taken out of `terms`."""
    words = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
    for part in re.split(rf"(?<![\w-])((?:{words})(?:e?s)?)(?![\w-])", text, flags=re.IGNORECASE):
        word = part.lower()
        term = next((t for t in (word, word[:-1], word[:-2]) if t in terms), "")  # one or many
        yield glossed("", part, means=terms.pop(term)) if term else nodes.Text(part)


def visit(self, node):
    number = self.alf_hints = getattr(self, "alf_hints", 0) + 1
    about = f'role="term" tabindex="0" aria-describedby="hint-{number}"'
    self.body.append(f'<span class="alf-term" {about}>')


def depart(self, node):
    self.body.append(f'</span><span class="alf-hint" role="tooltip" id="hint-{self.alf_hints}">')
    means = node["means"].deepcopy()
    for link in list(means.findall(addnodes.pending_xref)):
        link.replace_self(link.children)
    for part in means:
        part.walkabout(self)
    self.body.append("</span>")


def setup(app):
    app.add_node(glossed, html=(visit, depart))
    app.add_post_transform(MarkTerms)
    glossary = app.srcdir / f"{GLOSSARY}.md"  # once it changes, pages are made again
    version = crc32(glossary.read_bytes()) if glossary.exists() else 0
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
