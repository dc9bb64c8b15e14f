"""The API reference: links from inline code to the entry that it names.

Inline code such as `noise.corrupt`, `certify(loss, T)` or `AGCELoss` becomes a link wherever
exactly one public name fits: in chapters, pages and docstrings alike. So the sources need no roles,
which Colab would show literally.
"""

import re
import sys
from pathlib import Path
from typing import TypeVar
from zlib import crc32

from docutils import nodes
from numpy.typing import ArrayLike
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import stringify_annotation

PACKAGE = "alfs_utils"
NAME_OR_CALL = re.compile(r"([A-Za-z_][\w.]*)(\(.*\))?", re.DOTALL)


class LinkNames(SphinxPostTransform):
    """Turn inline code that names one entry of the API into a link to it."""

    default_priority = 5

    def run(self, **kwargs):
        entries = self.env.domaindata["py"]["objects"]
        for literal in list(self.document.findall(nodes.literal)):
            above = list(ancestors(literal))
            signature = next((n[0] for n in above if isinstance(n, addnodes.desc)), None)
            name = entry_of(literal.astext(), entries, signature)
            if name is None or any(isinstance(n, nodes.title | nodes.reference) for n in above):
                continue
            entry = entries[name]
            link = make_refnode(
                self.app.builder, self.env.docname, entry.docname, entry.node_id, [], name
            )
            literal.replace_self(link)
            link += literal


def ancestors(node):
    """The nodes around a node, from the inside out."""
    while node.parent is not None:
        node = node.parent
        yield node


def entry_of(text, entries, signature=None):
    """The full name of the only public entry that `text` can mean, or None.

    In a docstring, `signature` is that of its function or class: its own name and its parameters
    stay as they are, and a neighbour in the same room comes first.
    """
    match = NAME_OR_CALL.fullmatch(text)
    name = match and match[1]
    if signature is not None:
        if name in own_names(signature):
            return None
        if f"{signature['module']}.{name}" in entries:
            return f"{signature['module']}.{name}"
    if match is None or name in entries:
        return name
    found = [full for full in entries if full.endswith(f".{name}") and may_be(full, name, entries)]
    return found[0] if len(found) == 1 else None


def own_names(signature):
    """The name that a signature describes, and those of its parameters."""
    parameters = signature.findall(addnodes.desc_parameter)
    return {signature["fullname"], *(re.search(r"\w*$|\w+", p.astext())[0] for p in parameters)}


def may_be(full, name, entries):
    """Whether a short name may mean this entry.

    A method needs its class, a name of the top floor its room, and a room the package.
    """
    entry, (parent, _, _) = entries[full], full.rpartition(".")
    if entry.aliased or entry.objtype == "module":
        return False
    of_a_room = parent in entries and entries[parent].objtype == "module"
    return "." in name or (of_a_room and not parent.startswith(f"{PACKAGE}.paper"))


ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")  # a union of six
PLAIN = {
    re.escape(ARRAY_LIKE): "~numpy.typing.ArrayLike",
    r"<factory>|<function <lambda>>|array\([^()]*\)": "...",
    r"[(\[](?:\w+\([^()]*\), ){2,}\w+\([^()]*\)[)\]]": "...",  # a sequence of losses or cells
    r"<(?:(?:built-in )?function |class ')([\w.]+)'?>": r"\1",
}


def plain_signature(app, what, name, thing, options, signature, returns):
    """A signature that can be read: defaults by their names, and no long ones."""
    for long, plain in PLAIN.items():
        signature = signature and re.sub(long, plain, signature)
    return signature, returns


def skip_tuple_fields(app, what, name, thing, skip, options):
    """The fields of a named tuple stand in its signature, and have no words of their own."""
    return True if (thing.__doc__ or "").startswith("Alias for field number") else None


def plain_type_variable(app, env, node, content):
    """The name of a type variable, which has no entry."""
    room, _, name = node.get("reftarget", "").rpartition(".")
    return content if isinstance(getattr(sys.modules.get(room), name, None), TypeVar) else None


def setup(app):
    # The package is not installed: it lies beside the folder in which the site is built.
    root = next(folder for folder in Path(app.confdir).parents if (folder / PACKAGE).is_dir())
    sys.path.insert(0, str(root))
    app.add_post_transform(LinkNames)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-skip-member", skip_tuple_fields)
    app.connect("missing-reference", plain_type_variable)
    version = crc32(Path(__file__).read_bytes())  # once this file changes, pages are read again
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
