"""No line of a page ends between a number and its % sign, around a ±, or within `--option`."""

import re

# What is shown as it was typed, and tags with their attributes.
KEPT = re.compile(r"(<(pre|code|script|style|svg|title)\b.*?</\2>|<[^>]*>)", re.DOTALL)
SIGNS = re.compile(r"(?<=\d) (?=%)|(?<=\d) (?=±)|(?<=±) (?=\d)")
CODE = re.compile(r"<(pre|code)\b.*?</\1>", re.DOTALL)
OPTION = re.compile(r"(?<=[\s>])--[a-z][\w-]*")


def joined(body):
    """A page's HTML with those spaces unbreakable and options of commands in one piece."""
    parts = KEPT.split(body)  # text, what is kept, its tag's name, text, ...
    parts[::3] = [SIGNS.sub("\N{NO-BREAK SPACE}", text) for text in parts[::3]]
    del parts[2::3]
    return CODE.sub(
        lambda code: OPTION.sub(r'<span class="alf-option">\g<0></span>', code[0]), "".join(parts)
    )


def join(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = joined(context["body"])


def setup(app):
    app.connect("html-page-context", join, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
