"""Docstrings as they are, with their formulas drawn: w_t g(1) >= w_n g(0) becomes TeX on the page.

A formula is a run of single letters with their subscripts, Greek letters, numbers, brackets and
operators within one line, and there is a relation, a power, a subscript or a Greek letter in it.
Words end it; `inline code`, examples and types are no formulas.
"""

import re
from itertools import pairwise
from pathlib import Path
from zlib import crc32

GREEK = "alpha|beta|gamma|eta|kappa|lambda|phi|psi|rho|theta|Delta"
SUBSCRIPT = r"(?:_\w|_\{[^}]*\})?"
NUMBER = r"(?<![\w.])(?<!\w\w-)\d+(?:\.\d+)?(?:e-?\d+)?(?!\w{2}|\.\d)"
NAME = (  # no part of a word, of an attribute, of a string
    r'(?<![A-Za-z_."])(?<!\w\w-)'
    rf"(?:(?:{GREEK}|sum|min|max){SUBSCRIPT}|ln|log|exp|inf|[A-Za-z](?:'|[*°](?![*°]))?{SUBSCRIPT})"
    r"(?!\w|['.]\w|-\w\w)"
)
OPERATOR = (  # between spaces, but for 1/r, k-1, a power and a sign
    r"(?<!\S)(?:<=|>=|!=|->|[<>=+/-])(?!\S)"
    r"|(?<=[\w)\]}])/(?=[\w({])|(?<=\b\w)-(?=\w\b)|\^|(?<=[\s({[^])-(?=[\w(])"
)
BRACKET = r"[()\[\]{}]|(?<=[)\]])_(?:\w\b|\+)|(?<!\S)\|(?=\w)|(?<=\w)\|(?!\w)"
COMMA = r",(?= [\w.])|(?<= )\.\.\.(?=,)"
TOKEN = f"(?:{NUMBER}|{NAME}|{OPERATOR}|{BRACKET}|{COMMA})"

# What is marked up on purpose; a run of tokens; a sign that would be markup.
PARTS = re.compile(rf"(?P<meant>``.*?``|`.*?`|(?<![\w*])\*\w+\*(?!\w))|{TOKEN}(?: ?{TOKEN})*|[|*]")
MATHS = re.compile(rf"[<>=^]|\w[_*]|\bln\b|\bl'?\(|\b(?:{GREEK})\b")
NAMES = re.compile(r"\s*\*{0,2}\w+(, \*{0,2}\w+)*( : |$)")  # "name : type", for napoleon to mark up
TEX = {
    r"\b1e(-?\d+)": r"10^{\1}",
    r"(\d)e(-?\d+)": r"\1\\cdot 10^{\2}",
    r"\^\(((?:[^()]|\([^()]*\))*)\)": r"^{\1}",
    rf"\b({GREEK}|sum|min|max|ln|log|exp)(?![a-z])": r"\\\1 ",
    r"\binf(?= \[)": r"\\inf ",  # of what follows in brackets; else the number
    r"(?<!\\)\binf\b": r"\\infty ",
    r"\bl(?![a-z])": r"\\ell ",
    r"(\w)\*": r"\1^*",
    "°": r"^\\circ",
    "<=": r"\\le ",
    ">=": r"\\ge ",
    "!=": r"\\ne ",
    "->": r"\\to ",
    r"\bin\b": r"\\in ",
    r"\.\.\.": r"\\dots ",
}


def mend(line):
    """A line of a docstring with its formulas in TeX; a single | or * stays what it is."""

    def part(found):
        return found["meant"] or "".join(map(draw, pieces(found[0])))

    bullet = re.match(r"\s*(?:[-*] )?", line)[0]
    drawn = bullet + PARTS.sub(part, line.removeprefix(bullet))
    drawn = re.sub(r"(?<=\S)(?=:math:`)", r"\\ ", drawn)  # markup needs space around it
    return re.sub(r"(:math:`[^`]*`)(?=[^\s.,:;!?)])", r"\1\\ ", drawn)


def pieces(run):
    """A run, cut at commas outside of brackets and at brackets without a partner."""
    opened, commas, cuts = [], {}, set()
    for at, sign in enumerate(run):
        if sign in "([{":
            opened.append(at)
        elif sign in ")]}" and opened:
            opened.pop()
        elif sign in ")]}":
            cuts.add(at)
        elif sign == ",":
            commas[at] = set(opened)
    cuts |= {*opened, *(at for at, around in commas.items() if around <= set(opened))}
    edges = sorted({0, len(run), *cuts, *(at + 1 for at in cuts)})
    return [run[start:end] for start, end in pairwise(edges)]


def draw(piece):
    """The piece in TeX, if it is a formula; else as it is."""
    formula = piece.strip()
    if not MATHS.search(formula) or not re.search(r"\w", formula) or formula[0] in "=^_":
        return re.sub(r"[|*]", r"\\\g<0>", piece)
    drawn = formula
    for plain, tex in TEX.items():
        drawn = re.sub(plain, tex, drawn)
    return piece.replace(formula, f":math:`{drawn.strip()}`")


def prepare(app, what, name, thing, options, lines):
    """Mend every line but those of examples, of blocks of code, and of types."""
    example, code = False, None  # code: how far a block of code is set in, less one
    for number, line in enumerate(lines):
        if not line.strip():
            example = False
            continue
        indent = len(line) - len(line.lstrip())
        example = example or line.lstrip().startswith(">>>")
        code = None if code is not None and indent <= code else code
        if not example and code is None and not NAMES.match(line):
            lines[number] = mend(line)
            code = indent if line.endswith("::") else None


def setup(app):
    app.connect("autodoc-process-docstring", prepare, priority=400)  # before napoleon's own
    version = crc32(Path(__file__).read_bytes())  # once this file changes, pages are read again
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
