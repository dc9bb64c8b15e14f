"""What surrounds every page: description and preview, version and date, links that lead somewhere.

As long as the repository has no public address (`make repository` sets one), links to the
placeholder are taken off the site: buttons, the lines that open a notebook in Colab, and the rest.
"""

import re
import subprocess
from html import escape
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from landing import root_of
from sphinx.transforms import SphinxTransform

PLACEHOLDER = "/OWNER/"


def is_placeholder(url):
    return PLACEHOLDER in url


class DropDeadLinks(SphinxTransform):
    """Remove paragraphs that are one link to the placeholder; elsewhere keep the link's words."""

    default_priority = 800

    def apply(self, **kwargs):
        # The test is on the links alone: with an address, none of them names the placeholder.
        for link in list(self.document.findall(nodes.reference)):
            if not is_placeholder(link.get("refuri", "")):
                continue
            paragraph = link.parent
            if isinstance(paragraph, nodes.paragraph) and len(paragraph.children) == 1:
                paragraph.parent.remove(paragraph)
            else:
                paragraph.replace(link, link.children)


def prepare(app, config):
    options = config.html_theme_options
    if is_placeholder(options.get("repository_url", "")):
        options |= {name: False for name in ("use_repository_button", "use_issues_button")}
        options["launch_buttons"] = {}
    options["extra_footer"] = f"<p>{' · '.join(map(escape, edition(root_of(app))))}</p>"


def edition(root):
    """Version, date and revision of the sources, as far as they are known."""
    package, words = root / "alfs_utils" / "__init__.py", []
    if package.exists():
        text = package.read_text(encoding="utf-8")
        words += [f"Version {v}" for v in re.findall(r'(?m)^__version__ = "(.*)"', text)]
    date, revision = git(root, "log", "-1", "--format=%cs %h").split() or ("", "")
    if revision:
        changed = git(root, "status", "--porcelain", "--untracked-files=no")
        words += [date, f"revision {revision}{', with changes' if changed else ''}"]
    return words


def git(root, *arguments):
    """What git says of the sources; nothing where they are no repository."""
    try:
        run = ["git", "-C", str(root), *arguments]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def description(doctree):
    """The first paragraph that says something, in at most 200 characters."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) > 60 and not isinstance(paragraph.parent, nodes.figure):
            return text if len(text) <= 200 else text[:200].rsplit(" ", 1)[0] + " …"
    return ""


def head(app, pagename, templatename, context, doctree):
    """Fill in what search engines and previews read; name the landing page once."""
    if pagename == app.config.root_doc:
        context["title"] = "Which losses survive wrong labels?"  # else the book's name stands twice
    if doctree is None:
        return
    words = escape(description(doctree), quote=True)
    title = escape(f"{context['title']}", quote=True)
    image = escape(address_of(app, context) + "preview.png")
    context["metatags"] += (
        f'<meta name="description" content="{words}" />\n'
        f'<meta property="og:type" content="article" />\n'
        f'<meta property="og:title" content="{title}" />\n'
        f'<meta property="og:description" content="{words}" />\n'
        f'<meta property="og:image" content="{image}" />\n'
        '<meta name="twitter:card" content="summary_large_image" />\n'
    )


def address_of(app, context):
    """Where _static/ lies: on GitHub Pages once there is an address, else beside the page."""
    url = app.config.html_theme_options.get("repository_url", "")
    if is_placeholder(url) or "github.com/" not in url:
        return context["pathto"]("_static/", 1)
    owner, name = url.rstrip("/").split("/")[-2:]
    return f"https://{owner}.github.io/{name}/_static/"


# name:[width,height,[aliases],"code",path of the drawing], in the theme's script
ICON = re.compile(r'("[\w-]+"|\w+):\[\d+,\d+,(\[[^\]]*\]),"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?')


def keep_used_icons(app, exception):
    """Leave in the theme's script, which every page loads, the icons that the site shows."""
    script = Path(app.outdir) / "_static" / "scripts" / "fontawesome.js"
    if exception is not None or not script.exists():
        return
    theme = Path(find_spec("pydata_sphinx_theme").origin).parent / "theme/pydata_sphinx_theme"
    pages = [*Path(app.outdir).rglob("*.html"), *script.parent.glob("*theme.js")]
    used = {name for page in pages for name in re.findall(r"\bfa-([\w-]+)", page.read_text())}

    def kept(icon):
        return icon[0] if used & {*re.findall(r"[\w-]+", icon[1] + icon[2])} else ""

    whole = (theme / "static" / "scripts" / "fontawesome.js").read_text(encoding="utf-8")
    script.write_text(ICON.sub(kept, whole), encoding="utf-8")


def setup(app):
    app.connect("build-finished", keep_used_icons)
    app.connect("config-inited", prepare, priority=900)
    app.connect("html-page-context", head, priority=900)
    app.add_transform(DropDeadLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
