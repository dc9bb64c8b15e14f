"""Reading times: `{{ minutes }}` behind a link to a page, `{{ total }}` for all links of a section.

The rule, which `how-to-read.md` states: the words of the text at WORDS_A_MINUTE, a formula counts
as a word, and half a minute for each figure or table. Code, proofs and what else is folded, and
the sources at the end are left out. Times are computed whenever the site is built.
"""

import json
import re
from pathlib import Path

PAGE = "book/how-to-read"
WORDS_A_MINUTE = 150
TIMED = re.compile(r"(\]\((\S+\.(?:ipynb|md))\)) \{\{ minutes \}\}")
LEFT_OUT = re.compile(
    r"^(`{3,}|:{3,})\{dropdown\}.*?^\1 *$"  # a proof, a solution
    r"|^`{3,}(?!\{).*?^`{3,} *$"  # code
    r"|^## Sources.*\Z",
    re.DOTALL | re.MULTILINE,
)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)


def minutes(path):
    """The reading time of a notebook or a page, in whole minutes, at least one."""
    text, shown = path.read_text(encoding="utf-8"), 0
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        words = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        figures = [cell["metadata"].get("mystnb", {}).get("figure") for cell in cells]
        captions = [figure["caption"] for figure in figures if figure]
        text, shown = "\n\n".join([*words[:-1], *captions, words[-1]]), len(captions)
    return max(1, round(words_of(text) / WORDS_A_MINUTE + shown / 2))


def words_of(text):
    """How many words a reader of the text reads, a formula being one."""
    text = FORMULA.sub(" x ", LEFT_OUT.sub("", text))
    text = re.sub(r"\]\([^)]*\)|<[^>]*>|^:{3,}.*$|^:\w+:.*$", " ", text, flags=re.MULTILINE)
    return len(re.findall(r"[^\W_]+(?:[-'’][^\W_]+)*", text))


def fill_in(text, folder):
    """The text with its times, each section with the sum of its own; links start at `folder`."""
    sections = []
    for section in re.split(r"(?m)^(?=#)", text):
        times = {link: minutes(folder / link) for _, link in TIMED.findall(section)}
        section = TIMED.sub(lambda found: f"{found[1]} ({times[found[2]]} min)", section)  # noqa: B023
        sections.append(section.replace("{{ total }}", str(sum(times.values()))))
    return "".join(sections)


def read(app, docname, source):
    if docname == PAGE:
        source[0] = fill_in(source[0], Path(app.env.doc2path(docname)).parent)


def setup(app):
    app.connect("env-get-outdated", lambda app, *_: [PAGE])  # any page may have grown
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
