"""Write the repository's public address, or a release, into every place that needs it.

    python tools/repository.py https://github.com/OWNER/NAME
    python tools/repository.py --release v1.0

The one source of the address is `repository.url` in _config.yml; all other places are rewritten
from it. A release is a tag: it goes to the first code cell of the notebooks, which fetches it where
a notebook is alone. An empty one stands for the default branch. Run it through
`make repository URL=...` or `make repository RELEASE=...`.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = [
    "_config.yml",
    "README.md",
    "CITATION.cff",
    "pyproject.toml",
    "book/*.md",
    "notebooks/**/*.ipynb",
]
COLAB = "https://colab.research.google.com/github/"


def current(root: Path = ROOT) -> str:
    """The address that _config.yml names."""
    return re.search(r"(?m)^  url: (\S+)$", (root / "_config.yml").read_text()).group(1)


def files(root: Path = ROOT) -> list[Path]:
    """Every file that carries the address."""
    return [path for pattern in PLACES for path in sorted(root.glob(pattern))]


def slug(url: str) -> str:
    """OWNER/NAME of an address, as Colab links have it."""
    return "/".join(url.removesuffix(".git").rstrip("/").split("/")[-2:])


def rewrite(url: str, root: Path = ROOT) -> list[Path]:
    """Replace the present address by `url` everywhere; returns the files that changed."""
    old, changed = current(root), []
    # Longest first: a Colab link holds OWNER/NAME without the host.
    replacements = {COLAB + slug(old): COLAB + slug(url), old: url.rstrip("/")}
    for path in files(root):
        text = new = path.read_text(encoding="utf-8")
        for before, after in replacements.items():
            new = new.replace(before, after)
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def release(tag: str, root: Path = ROOT) -> list[Path]:
    """Let notebooks that are alone fetch a tag, or "" the default branch; returns what changed."""
    changed = []
    for path in sorted(root.glob("notebooks/**/*.ipynb")):
        text = path.read_text(encoding="utf-8")
        new = re.sub(r'(?<=RELEASE = \\")[^"\\]*(?=\\")', tag, text)
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--release"] and re.fullmatch(r"(v[\w.]+)?", "".join(arguments[1:])):
        for path in release("".join(arguments[1:])):
            print(path.relative_to(ROOT))
        return 0
    if len(arguments) != 1 or not re.match(r"(https|file)://[^\s\"']+/[^\s\"']+$", arguments[0]):
        usage = "usage: make repository URL=https://github.com/OWNER/NAME, or RELEASE=v1.0"
        print(usage, file=sys.stderr)
        return 2
    for path in rewrite(arguments[0]):
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
