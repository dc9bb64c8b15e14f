"""The built site: strict, complete, and right in a browser that has no network."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from alfs_utils import records

HTML = ROOT / "_build" / "html"


@pytest.fixture(scope="module")
def site():
    """The site built from the committed outputs, every warning an error."""
    command = [sys.executable, ROOT / "tools" / "build.py", "site"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert built.stdout.splitlines()[-1] == str(HTML / "index.html")
    return HTML


def names():
    """Every page of the table of contents."""
    return re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text())


def test_every_page_is_there_and_reachable(site):
    landing = (site / f"{names()[0]}.html").read_text()
    for name in names():
        assert (site / f"{name}.html").exists()
        assert f"{name.removeprefix('book/')}.html" in landing or name == names()[0]


def test_notebook_pages_link_to_colab_and_hand_out_the_notebook(site):
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    owner_name = config["url"].removeprefix("https://github.com/")
    for name in names():
        if name.startswith("notebooks/"):
            link = f"/github/{owner_name}/blob/{config['branch']}/{name}.ipynb"
            assert link in (site / f"{name}.html").read_text()
            assert (ROOT / f"{name}.ipynb").exists()
            assert '"outputs"' in (site / "_sources" / f"{name}.ipynb").read_text()


TABLES_OF_RUNS = {
    "10-robustness": 2,
    "11-mnist": 6,
    "12-cifar10": 7,
    "13-cifar100": 7,
    "14-features": 2,
    "15-real-world-noise": 2,
    "17-verdict": 2,
}


@pytest.mark.parametrize("chapter", TABLES_OF_RUNS)
def test_tables_of_runs_link_to_the_whole_ledger(site, chapter):
    page = site / "notebooks" / f"{chapter}.html"
    links = re.findall(r'href="([^"]*\.csv)"', page.read_text())
    assert len(links) == TABLES_OF_RUNS[chapter]
    (link,) = set(links)
    table = pd.read_csv((page.parent / link).resolve(), dtype={"id": str})
    ledger = records.load(ROOT / "results")
    assert list(table["id"]) == list(ledger["id"])
    assert np.allclose(table["last"], ledger["last"].astype(float), rtol=0, atol=1e-6)
    assert {"loss", "dataset", "noise", "eta", "best", "noisy_validation"} <= set(table)


# --- in the browser ---------------------------------------------------------------------------

FAULTS = """() => {
  const faults = [];
  const say = (name, nodes) => nodes.forEach(
      n => faults.push(name + ': ' + n.textContent.slice(0, 80)));
  say('broken formula', document.querySelectorAll('mjx-merror, mjx-container [fill=red]'));
  say('formula not rendered', [...document.querySelectorAll('.math')].filter(
      e => !e.querySelector('mjx-container')));
  say('literal markup', [...document.querySelectorAll('article p, article li, article td')].filter(
      e => /\\$\\$|\\\\\\(|:::|\\{(prf|cite|eq|ref)/.test(
          [...e.childNodes].filter(n => n.nodeType == 3).map(n => n.textContent).join(''))));
  say('image not loaded', [...document.images].filter(i => i.complete && !i.naturalWidth
      && !i.src.includes('colab-badge')));
  say('image without alt text', [...document.querySelectorAll('article img')].filter(i => !i.alt));
  if (document.documentElement.scrollWidth > window.innerWidth + 1)
    faults.push('wider than the window: ' + document.documentElement.scrollWidth);
  return faults;
}"""


@pytest.fixture(scope="module")
def serve():
    """Serve a folder on the loopback interface; returns its address."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def start(folder):
        handler = functools.partial(Quiet, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


def faults_of(browser, address, scheme="light", width=1280):
    """Open one page with the outside network cut off; everything that a reader would trip over."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page, faults = context.new_page(), []

    def gate(route):
        url = route.request.url
        if url.startswith(("http://127.0.0.1", "data:", "blob:")):
            route.continue_()
        else:
            faults.append(f"request: {url}")
            route.fulfill(status=200, body="")  # refused, but without a console message of its own

    context.route("**/*", gate)
    page.on(
        "console", lambda m: m.type in ("error", "warning") and faults.append(f"console: {m.text}")
    )
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.goto(address, wait_until="load")
    page.wait_for_function("!window.MathJax || (MathJax.startup && MathJax.startup.document)")
    page.evaluate("window.MathJax ? MathJax.startup.promise.then(() => true) : true")
    faults += page.evaluate(FAULTS)
    context.close()
    return faults


@pytest.mark.parametrize("scheme,width", [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("name", names())
def test_a_page_has_no_faults(site, browser, serve, name, scheme, width):
    assert faults_of(browser, f"{serve(site)}/{name}.html", scheme, width) == []


def test_the_page_check_sees_faults(site, browser, serve, tmp_path):
    """A page with one fault of each kind: a check that cannot fail would pass it."""
    page = (site / "book" / "notation.html").read_text()
    bad = (
        r'<p>literal :::{note}</p><div class="math">\(\nosuchmacro\)</div><img src="gone.png">'
        '<script src="https://example.org/x.js"></script><script>console.error("oh")</script>'
        '<script>nothing.here</script><div style="width:3000px">wide</div>'
    )
    shutil.copytree(site / "_static", tmp_path / "_static")
    (tmp_path / "book").mkdir()
    marked = page.replace("</article>", bad + "</article>", 1)
    assert marked != page
    (tmp_path / "book" / "bad.html").write_text(marked)
    found = " ".join(faults_of(browser, f"{serve(tmp_path)}/book/bad.html"))
    for kind in [
        "literal markup",
        "broken formula",
        "image not loaded",
        "image without alt",
        "request",
    ]:
        assert kind in found
    assert "console: oh" in found and "error: nothing is not defined" in found and "wider" in found
