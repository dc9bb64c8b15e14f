"""Print the site that was built into one PDF, _build/alf-book.pdf, without TeX.

    python tools/print_edition.py

One long page holds the pages of the table of contents in their order, proofs and solutions open,
folded code left out; headless Chromium prints it. The API reference stays on the site. Run it
through `make print`.
"""

import posixpath
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urldefrag

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "alf-book.pdf"
NEEDED = "make print needs Chromium (apt-get install chromium) and playwright (requirements.txt)"
SCALE = 0.8  # of CSS pixels: a column of A4 is as wide as that of the site
# What no printed page has a use for.
LEFT_OUT = ".headerlink, .alf-explorable, .alf-hint, details.hide, script, style, button"
STYLE = """
@page { size: A4; }
html, body { background: #fff; overflow: visible; }
main.bd-content { display: block; }
main > * { break-before: page; }
main > :first-child { break-before: auto; }
pre { font-size: 0.68rem !important; white-space: pre-wrap !important; overflow-wrap: anywhere; }
figure, tr, .cell_input { break-inside: avoid; }
summary { list-style: none; font-weight: 600; }
.sd-summary-icon, .sd-summary-state-marker { display: none !important; }
h1, h2, h3, .admonition-title { break-after: avoid; }
.cell_output, .pst-scrollable-table-container, div.math { overflow: visible !important; }
.bd-content figure img { max-height: 220mm; }
.contents .line { display: flex; gap: 0.5rem; margin: 0 0 0.25rem; }
.contents .line::before { content: ""; order: 2; flex: 1; border-bottom: 1px dotted #999; }
.contents span { order: 3; }
.contents a { text-decoration: none; color: inherit; }
"""
FOOTER = (
    '<div style="width:100%;font-size:8px;text-align:center"><span class="pageNumber"></span></div>'
)
# A table that is wider than the page gets smaller.
SHRINK = """() => document.querySelectorAll('table').forEach((table) => {
  const room = table.parentElement.clientWidth;
  if (table.scrollWidth > room) table.style.zoom = room / table.scrollWidth;
})"""
NUMBER = """(pages) => document.querySelectorAll('.contents .line').forEach((line) => {
  line.lastChild.textContent = pages[line.firstChild.hash.slice(1)];
})"""


def main() -> int:
    if not (SITE / "index.html").exists():
        print("there is no site yet: make site", file=sys.stderr)
        return 1
    try:
        count = write(SITE, parts_of((ROOT / "_toc.yml").read_text()), PDF)
    except ModuleNotFoundError as error:
        print(f"{NEEDED}: {error}", file=sys.stderr)
        return 1
    print(f"{count} pages, {PDF.stat().st_size / 1e6:.1f} MB")
    print(PDF)
    return 0


def parts_of(toc: str) -> dict[str, list[str]]:
    """The pages to print by the caption of their part, from the text of _toc.yml."""
    toc = yaml.safe_load(toc)
    parts = {"": [toc["root"]]}
    for part in toc["parts"]:
        entries = [e for c in part["chapters"] for e in (c, *c.get("sections", ()))]
        names = [entry["file"] for entry in entries]
        parts[part["caption"]] = [name for name in names if not name.startswith("book/api")]
    return parts


def write(site: Path, parts: dict[str, list[str]], pdf: Path) -> int:
    """Print the pages into one PDF; returns how many sheets it has."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise ModuleNotFoundError("no Chromium was found")
    whole = site / "print.html"
    whole.write_text(one_page(site, parts), encoding="utf-8")
    try:
        with sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            count = print_page(browser, whole.as_uri(), pdf)
            browser.close()
    finally:
        whole.unlink()
    return count


def print_page(browser, address: str, pdf: Path) -> int:
    """Print twice: the first time shows on which sheet a page of the site begins."""
    page = browser.new_page(viewport={"width": round(178 / 25.4 * 96 / SCALE), "height": 1000})
    page.set_default_timeout(0)
    page.emulate_media(media="print", color_scheme="light")
    page.goto(address, wait_until="load")
    page.evaluate("window.MathJax ? MathJax.startup.promise.then(() => true) : true")
    page.evaluate(SHRINK)
    margins = {"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
    form = {"format": "A4", "scale": SCALE, "margin": margins, "tagged": False}
    form |= {"display_header_footer": True, "header_template": "<i></i>", "footer_template": FOOTER}
    sheets, places = read_places(page.pdf(**form))
    page.evaluate(NUMBER, places)
    page.pdf(path=pdf, **form)
    page.close()
    return sheets


def read_places(pdf: bytes) -> tuple[int, dict[str, int]]:
    """How many sheets a PDF of Chromium's has, and on which of them each of its names stands."""
    kinds = rb"/Type /Pages?\b"
    objects = dict(re.findall(rb"(?ms)^(\d+) 0 obj\n(.*?)\nendobj", pdf))
    trees = [o for o in objects.values() if re.search(kinds, o) and b"/Kids" in o]
    (root,) = (o for o in trees if b"/Parent" not in o)
    sheets = []

    def walk(tree):
        kids = re.search(rb"/Kids \[(.*?)\]", tree, re.DOTALL)
        for number in re.findall(rb"(\d+) 0 R", kids[1]) if kids else ():
            if b"/Kids" in objects[number]:
                walk(objects[number])
            else:
                sheets.append(number)

    walk(root)
    found = re.findall(rb"/([^\s/\[\]<>()]+) \[(\d+) 0 R /XYZ", pdf)
    names = {re.sub(rb"#(..)", lambda h: bytes.fromhex(h[1].decode()), n): at for n, at in found}
    return len(sheets), {n.decode(): sheets.index(at) + 1 for n, at in names.items()}


def one_page(site: Path, parts: dict[str, list[str]]) -> str:
    """The HTML of all pages in one, behind a title and the contents."""
    names = [name for part in parts.values() for name in part]
    bodies = {name: body(site, name, names) for name in names}
    first = BeautifulSoup((site / f"{names[0]}.html").read_text(encoding="utf-8"), "html.parser")
    edition = first.select_one(".extra_footer p")
    lines = [f"<h1>{first.h1.find(string=True)}</h1>", str(edition or ""), "<h2>Contents</h2>"]
    for caption, part in parts.items():
        lines += [f"<h3>{caption}</h3>"] * bool(caption)
        for name in part:
            title = bodies[name].h1.get_text()
            lines.append(f'<p class="line"><a href="#{slug(name)}">{title}</a><span></span></p>')
    pages = "".join(f'<div id="{slug(name)}">{text}</div>' for name, text in bodies.items())
    return (
        '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{first.h1.find(string=True)}</title>{head(site, names)}"
        f"<style>{STYLE}</style></head>"
        f'<body><main class="bd-content"><div class="contents">{"".join(lines)}</div>'
        f"{pages}</main></body></html>"
    )


def head(site: Path, names: list[str]) -> str:
    """The styles of the site and, where a page has formulas, MathJax.

    On the site it draws formulas as outlines, which make a PDF large. Here it sets them in fonts.
    """
    mathjax = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    found = {}
    for name in names:
        page = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        for tag in page.head.select('link[rel="stylesheet"], script'):
            if tag.name == "link" or "athjax" in str(tag).lower():
                relocate(tag, name, names)
                if tag.get("src"):
                    tag["src"] = (mathjax / "tex-chtml-full.js").as_uri()
                found[str(tag)] = None
    return "".join(found)


def body(site: Path, name: str, names: list[str]):
    """What a page says, for print: folds open, links within the book, nothing to click."""
    page = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    article = page.select_one("article.bd-article")
    for tag in article.select(LEFT_OUT):
        tag.extract()
    for tag in article.find_all(True):
        if tag.name == "details":
            tag["open"] = ""
        if tag.get("id"):
            tag["id"] = f"{slug(name)}--{tag['id']}"
        relocate(tag, name, names)
    return article


def relocate(tag, name: str, names: list[str]) -> None:
    """Let an address that starts at a page of the site start at the one page."""
    for key in ("href", "src"):
        address = tag.get(key)
        if not address or re.match(r"[a-z]+:", address):
            continue
        path, anchor = urldefrag(address)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else ""
        page = path.removesuffix(".html") if path else name
        if page in names:
            tag[key] = f"#{slug(page)}" + (f"--{anchor}" if anchor else "")
        elif tag.name == "a":  # a page that is not printed, a file of the site
            del tag[key]
        else:
            tag[key] = path


def slug(name: str) -> str:
    """The name of a page as an anchor."""
    return re.sub(r"\W+", "-", name)


if __name__ == "__main__":
    sys.exit(main())
