"""The built site: strict, complete, and right in a browser that has no network."""

import functools
import http.server
import importlib
import inspect
import json
import math
import pkgutil
import re
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from html import unescape
from types import SimpleNamespace
from urllib.parse import quote_plus, unquote

import numpy as np
import pandas as pd
import pytest
import sympy
import torch
import yaml
from helpers import ROOT
from sympy.parsing import sympy_parser

import alfs_utils
from alfs_utils import losses, records
from alfs_utils.paper import census, comparison
from alfs_utils.paper.verdicts import VERDICTS

sys.path.insert(0, str(ROOT / "tools"))
import print_edition

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


def test_notebook_pages_hand_out_the_notebook(site):
    for name in names():
        if name.startswith("notebooks/"):
            assert (ROOT / f"{name}.ipynb").exists()
            assert '"outputs"' in (site / "_sources" / f"{name}.ipynb").read_text()


def test_no_link_leads_to_an_address_that_is_not_there_yet(site):
    """`test_build` sees that the links come once there is one."""
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    for name in names() if "/OWNER/" in url else ():
        assert not re.search(r'href="[^"]*/OWNER/', (site / f"{name}.html").read_text()), name


def test_next_leads_through_quickstart_and_guide_to_the_chapters_before_any_manual():
    first = "preface quickstart which-loss clean-your-labels take-home".split()
    assert [name.split("/")[-1].lstrip("0123456789-") for name in names()[:5]] == first
    manuals = ["book/how-to-run", "book/reproduce", "book/api"]
    chapters = [name for name in names() if re.match(r"notebooks/\d", name)]
    assert names().index(chapters[1]) <= 6
    assert min(map(names().index, manuals)) > max(map(names().index, chapters))


def test_every_page_says_what_it_is_and_which_edition(site):
    version = alfs_utils.__version__
    revision = subprocess.check_output(["git", "log", "-1", "--format=%h"], cwd=ROOT, text=True)
    descriptions = set()
    for name in names():
        text = (site / f"{name}.html").read_text()
        if not name.startswith("book/api"):
            (words,) = re.findall(r'<meta name="description" content="(.*?)"', text)
            assert 60 <= len(unescape(words)) <= 202, name
            descriptions.add(words)
        assert f"Version {version}" in text and revision.strip() in text
        assert 'property="og:image" content="../' in text
    assert len(descriptions) > 0.9 * sum(not name.startswith("book/api") for name in names())
    assert (site / "_static" / "preview.png").stat().st_size > 10_000
    (title,) = re.findall("<title>(.*?)</title>", (site / f"{names()[0]}.html").read_text())
    assert title.count("Asymmetric losses, executed") == 1


def test_the_landing_page_has_the_numbers_of_records_and_verdicts(site):
    text = re.sub(r"<.*?>", "", (site / "book" / "preface.html").read_text())
    text = re.sub(r"\s+", " ", text)
    counts = Counter(v.verdict for v in VERDICTS if not v.ours)
    assert f"We checked {counts.total()} statements of the paper's main text;" in text.replace(
        "’", "'"
    )
    for words, kind in {"True as printed": "true", "After a repair": "repaired"}.items():
        assert f" {words}: {counts[kind]}." in text
    runs = records.load(ROOT / "results").query(
        "dataset == 'mnist' and noise == 'symmetric' and eta == 0.8"
    )
    ends = {loss: group.iloc[0] for loss, group in runs.groupby("loss")}
    ce, agce = ends["CELoss()"], ends[str(losses.from_paper("AGCE", "mnist"))]
    assert f"It ends at {ce['last']:.0f} %, because it has memorised {ce['repeated']:.0f} %" in text
    assert (
        f"AGCE has memorised {agce['repeated']:.0f} % of them and reads {agce['last']:.0f} %"
        in text
    )
    for name in ("AGCE", "CE"):
        found = census.losing(census.runs_of(ROOT / "results", (name,)))
        words = f"{found.k} of {found.n} runs of" if name == "AGCE" else f"none in {found.n} runs"
        assert words in text
    assert "{{ " not in text


@pytest.fixture
def landing(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    return extension("landing")


def test_every_number_of_the_landing_page_has_its_own_name(landing, monkeypatch):
    """Of the verdicts, of the run of CE at its best epoch, of the cells."""
    counts = Counter(v.verdict for v in VERDICTS if not v.ours)
    names = {"holds": "true", "hidden": "true with a hidden assumption", "repaired": "repaired"}
    names |= {"fails": "false", "empty": "vacuous"}
    found = landing.of_the_verdicts()
    assert {name: found[name] for name in names} == {n: str(counts[k]) for n, k in names.items()}
    assert found["ours"] == str(sum(v.ours for v in VERDICTS))

    run = {"eta": 0.8, "accuracy": [1000, 600], "repeated": [0, 250], "last": 60.0, "id": "x"}
    run |= {"best": [[1], 100.0], "chosen": [[1, 2], 80.0]}
    monkeypatch.setattr(landing, "hardest_runs", lambda _: dict.fromkeys(landing.COLOURS, run))
    found = landing.of_the_runs(ROOT)
    names = ("rate", "epochs", "ce_best", "ce_best_epoch", "ce_reads", "ce_repeats", "agce_reads")
    assert [found[name] for name in names] == ["80", "2", "100", "1", "60", "25", "60"]
    assert found["agce_repeats"] == "25"

    cells = pd.DataFrame({"n": [0, 1, 2, 1], "difference": [np.nan, -1.0, 0.2, 1.26]})
    cells = cells.assign(method=[*"abcd"], noise="symmetric", eta=[0.2, 0.4, 0.6, 0.8])
    monkeypatch.setattr(records, "load", lambda _: None)
    monkeypatch.setattr(
        comparison,
        "compare",
        lambda _, name: cells.assign(dataset=name, n=cells["n"] * (name[0] == "m")),
    )
    assert landing.of_the_cells(ROOT) == {
        "cells": "12",
        "cells_run": "3",
        "seeds": "one to 2 seeds",
        "furthest": "d, symmetric 0.8 on MNIST",
        "furthest_points": "1.3",
        "within_one": "2",
    }


def test_the_picture_of_the_landing_page_has_accuracy_above_wrong_labels(landing):
    run = {"accuracy": [1000, 600], "repeated": [0, 250], "last": 60.0}
    svg = landing.picture({"CE": run})
    assert '<g class="alf-CE"><path d="M48.0 44.0L374.0 187.0"/>' in svg
    assert "CE ends with 25 % of the wrong labels repeated and 60 % of the test images right" in svg


def test_the_state_of_the_edition_counts_hours_and_verdicts_in_their_columns(landing, monkeypatch):
    status = extension("status")
    runs = pd.DataFrame({"dataset": "mnist", "precision": "float32", "seconds": [1800.0, 3600.0]})
    runs = runs.assign(device="CPU", torch=["2.1+cpu", "2.1"])
    monkeypatch.setattr(records, "load", lambda _: runs)
    monkeypatch.setattr(status, "of_the_cells", lambda _: {"cells": "", "cells_run": ""})
    assert "| `mnist` | float32 | 2 | 1.5 | 2.1 | 2 on CPU |" in status.of_runs(ROOT)["runs"]
    head, _, *_, together = status.of_verdicts()["verdicts"].splitlines()
    ours = sum(v.ours for v in VERDICTS)
    assert head == "| verdict | of the paper | of our own |"
    assert together == f"| **together** | {len(VERDICTS) - ours} | {ours} |"


@pytest.mark.parametrize(("changed", "words"), [("", ""), (" M book/a.md", ", with changes")])
def test_the_foot_of_a_page_says_whether_the_sources_are_those_of_the_revision(
    landing, monkeypatch, changed, words
):
    frame = extension("frame")
    said = {"log": "2026-01-02 abc1234", "status": changed}
    monkeypatch.setattr(frame, "git", lambda root, command, *_: said[command])
    version = f"Version {alfs_utils.__version__}"
    assert frame.edition(ROOT) == [version, "2026-01-02", f"revision abc1234{words}"]


def test_records_can_be_taken_away_in_one_file(site):
    with zipfile.ZipFile(site / "records.zip") as archive:
        inside = {name for name in archive.namelist() if name.startswith("results/mnist/")}
        assert {f"results/mnist/{p.name}" for p in (ROOT / "results" / "mnist").iterdir()} == inside
        assert b"test_accuracy" in archive.read(min(inside))
    for link in ("ledger.csv", "records.zip"):
        assert f'href="../{link}"' in (site / "book" / "how-to-read.html").read_text()


TABLES_OF_RUNS = {
    "10-robustness": 2,
    "11-mnist": 7,
    "12-cifar10": 6,
    "13-cifar100": 5,
    "14-features": 3,
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


def test_figures_are_counted_by_chapter():
    counted = {
        "notebooks/07-asymmetry-ratio": {"figure": {"late": (11,), "early": (2,)}},
        "notebooks/09b-more": {"figure": {"x": (12,)}, "table": {"y": (3,)}},
        "notebooks/guides/which-loss": {"figure": {"z": (1,)}},
    }
    assert extension("figure_numbers").by_chapter(counted) == {
        "notebooks/07-asymmetry-ratio": {"figure": {"early": ("7", 1), "late": ("7", 2)}},
        "notebooks/09b-more": {"figure": {"x": ("9b", 1)}, "table": {"y": ("9b", 1)}},
        "notebooks/guides/which-loss": {"figure": {"z": (1,)}},
    }


# --- statement, verdict, check ------------------------------------------------------------------


@pytest.mark.parametrize("notebook", sorted({v.notebook for v in VERDICTS}))
def test_a_chapter_and_the_page_of_verdicts_lead_to_each_other(site, notebook):
    chapter = (site / "notebooks" / f"{notebook}.html").read_text()
    verdicts = (site / "notebooks" / "17-verdict.html").read_text()
    beside = "".join(re.findall(r'<p class="alf-claim">.*?</p>', chapter))
    for number, verdict in enumerate(VERDICTS, start=1):
        if verdict.notebook == notebook:
            place = f"claim-{verdict.check.replace('.', '-')}"
            assert f'id="{place}"' in chapter and f'"{notebook}.html#{place}"' in verdicts
            assert f'id="verdict-{number}"' in verdicts
            assert f'"17-verdict.html#verdict-{number}"' in beside
            assert f'#alfs_utils.paper.checks.{verdict.check}"' in beside


def test_the_reference_says_which_verdicts_rest_on_a_check(site):
    page = (site / "book" / "api" / "checks.html").read_text()
    entries = re.split(r'(?=<dt class="sig)', page)
    for number, verdict in enumerate(VERDICTS, start=1):
        (entry,) = (
            e for e in entries if f'id="alfs_utils.paper.checks.{verdict.check}"' in e[:300]
        )
        assert f'href="../../notebooks/17-verdict.html#verdict-{number}"' in entry


@pytest.mark.parametrize(
    ("check", "place"),
    [
        ("tolerance.theorem_4", "thm-4"),  # the statement of that name
        ("symmetric.theorem_3", "thm-3"),  # not the repaired one, which stands below it
        ("ratio.when_the_ratios_agree", "rem-iff"),  # the only one of its section
        ("domination.average_rate", "what-it-does-not-imply"),  # a section without a statement
        ("tolerance.clean_accuracy", "thm-clean-accuracy"),
    ],
)
def test_a_verdict_stands_beside_its_statement(site, check, place):
    (verdict,) = {v.notebook for v in VERDICTS if v.check == check}
    page = (site / "notebooks" / f"{verdict}.html").read_text()
    anchor = page.index(f'id="claim-{check.replace(".", "-")}"')
    assert abs(page.index(f'id="{place}"') - anchor) < 400


def test_verdicts_can_be_chosen_and_the_choice_is_in_the_address(site, browser):
    page = browser.new_page()
    page.goto(f"{(site / 'notebooks' / '17-verdict.html').as_uri()}#verdict=repaired&chapter=7")

    def shown():
        return page.locator("tr[data-verdict]:visible").count()

    chosen = [v for v in VERDICTS if v.verdict == "repaired" and v.chapter == "7"]
    assert shown() == len(chosen) > 0
    page.select_option(".alf-filter select >> nth=1", "")
    assert shown() == sum(v.verdict == "repaired" for v in VERDICTS)
    assert page.url.endswith("#verdict=repaired")
    page.evaluate("location.hash = 'verdict-1'")  # a row's own address shows all rows
    page.wait_for_function("document.querySelectorAll('tr[data-verdict][hidden]').length === 0")
    assert shown() == len(VERDICTS)
    page.close()


def test_captions_say_table_above_tables_and_figure_below_figures(site):
    page = (site / "notebooks" / "11-mnist.html").read_text()
    table = r'<figure class="captioned-table[^>]* id="tab-mnist-symmetric">\s*<figcaption'
    assert re.search(table, page)
    assert re.search(r'<figure[^>]* id="fig-mnist-curves">\s*<img', page)


# --- routes, and the words of the glossary -----------------------------------------------------


def test_no_line_ends_before_a_sign_or_within_an_option():
    plain = (
        '<p title="5 % x">between 95 and 100 % of 1.2 ± 0.3</p><pre>80 % ± 1\n</pre>'
        "<code>make --list -m x--y 5 %</code><svg><text>5 %</text></svg> 3 %"
    )
    joined = extension("unbroken").joined(plain)
    assert joined.replace("\N{NO-BREAK SPACE}", " ") == plain.replace(
        "--list", '<span class="alf-option">--list</span>'
    )
    assert joined.count("\xa0") == 4
    assert all(words in joined for words in ("100\xa0%", "1.2\xa0±\xa00.3<", " 3\xa0%"))


def test_the_words_of_a_page_are_counted_without_code_proofs_and_sources():
    text = (
        "# Two words\n\nThe loss $\\ell(u) = 1 - u$ isn't [here](away.md).\n\n"
        "```python\nno = code\n```\n\n:::{dropdown} Proof\nNo proof.\n:::\n\n"
        ":::{prf:theorem} ours\n:label: thm\n\nFour words of it.\n:::\n\n## Sources\n\nNone.\n"
    )
    assert extension("routes").words_of(text) == 2 + 5 + 4


def test_a_figure_is_half_a_minute_and_150_words_are_one(tmp_path):
    minutes, words = extension("routes").minutes, "word " * 150
    (tmp_path / "page.md").write_text(2 * words)
    figure = {"cell_type": "code", "metadata": {"mystnb": {"figure": {"caption": "x"}}}}
    text = {"cell_type": "markdown", "metadata": {}, "source": [words]}
    (tmp_path / "page.ipynb").write_text(json.dumps({"cells": [text, figure, figure, text]}))
    assert [minutes(tmp_path / f"page.{kind}") for kind in ("md", "ipynb")] == [2, 3]


def test_routes_add_up_and_need_nothing_that_comes_later(site):
    text = (site / "book" / "how-to-read.html").read_text()
    routes = re.findall(r'<section id="(?:my-labels|i-want|i-doubt).*?</section>', text, re.DOTALL)
    for route in routes:
        times = [int(minutes) for minutes in re.findall(r"\((\d+) min\)", route)]
        assert len(times) >= 5 and f"{sum(times)} minutes" in route
    assert len(routes) == 3 and "{{" not in text

    source = (ROOT / "book" / "how-to-read.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\(\.\./(notebooks/\S+)\.ipynb\).*?\| (.*?) \|", source, re.M)
    chapters = {number: page for number, page, _ in rows}
    assert list(chapters.values()) == [n for n in names() if re.match(r"notebooks/\d", n)]
    student = re.findall(r"notebooks/(?:0?(\d+b?))-", source.split("(route-")[2])
    for number, page, needs in rows:
        before = re.findall(r"\w+", needs)
        assert all(names().index(chapters[n]) < names().index(page) for n in before)
        if number in student:
            assert set(before) <= set(student[: student.index(number)]), number


def test_the_page_to_take_home_has_its_numbers(site):
    text = re.sub(r"<.*?>", "", (site / "book" / "take-home.html").read_text())
    assert "{{" not in text
    evenly, to_one = 0.6 / (0.4 / 9), 0.6 / 0.4
    assert f"is {evenly:.3g} if the mistakes are spread evenly, and {to_one:.3g} if each" in text


def test_a_term_is_marked_once_and_everyday_words_never():
    hints = extension("hints")
    terms = {"clean level": 1, "loss": 2, "matrix": 3}
    parts = list(hints.marked("Losses, a clean level; no clean-level loss.", terms))
    assert [p.astext() for p in parts if isinstance(p, hints.glossed)] == ["Losses", "clean level"]
    assert "".join(p.astext() for p in parts) == "Losses, a clean level; no clean-level loss."
    assert terms == {"matrix": 3}


def test_terms_show_what_they_mean_to_pointer_and_keyboard(site, browser):
    page = browser.new_page()
    page.goto((site / "notebooks" / "07-asymmetry-ratio.html").as_uri())
    terms = page.locator(".alf-term")
    words = [word.lower() for word in terms.all_inner_texts()]
    assert len(set(words)) == len(words) >= 3
    assert page.locator(":is(a, h1, h2, h3, code, pre, table, .math) .alf-term").count() == 0
    term = terms.nth(words.index("clean level"))
    meaning = page.locator(f"#{term.get_attribute('aria-describedby')}")
    assert not meaning.is_visible()
    term.hover()
    assert meaning.is_visible() and "strongest rival" in meaning.inner_text()
    page.mouse.move(0, 0)
    assert not meaning.is_visible()
    term.focus()
    assert meaning.is_visible()
    page.keyboard.press("Escape")
    assert not meaning.is_visible()
    page.close()


def test_the_state_of_the_edition_is_that_of_notebooks_records_and_verdicts(
    site, tmp_path, monkeypatch
):
    text = re.sub(r"<.*?>", " ", (site / "book" / "status.html").read_text())
    text = re.sub(r"\s+", " ", text)
    ledger = records.load(ROOT / "results")
    assert f" {len(ledger)} runs are on record." in text and "{{" not in text
    for (dataset, precision), runs in ledger.groupby(["dataset", "precision"]):
        assert f" {dataset} {precision} {len(runs)} " in text
    counts = Counter((v.verdict, v.ours) for v in VERDICTS)
    for verdict, _ in counts:
        assert f" {verdict} {counts[verdict, False]} {counts[verdict, True]} " in text

    (tmp_path / "_toc.yml").write_text("- file: notebooks/a\n- file: notebooks/b\n")
    (tmp_path / "notebooks").mkdir()
    run = {"date": "2026-01-02", "seconds": 7, "python": "3.11.9", "torch": "2.13.0"}
    cells = [
        {"cell_type": "code", "metadata": {"tags": tags}} for tags in ([], ["nbval-ignore-output"])
    ]
    for name, metadata in {"a": {"executed": run}, "b": {}}.items():
        notebook = json.dumps({"cells": cells, "metadata": metadata})
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(notebook)
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    said = extension("status").of_notebooks(tmp_path)
    assert "a.ipynb) | 2026‑01‑02 | 7 | 3.11.9 | 2.13.0 |" in said["executed"]
    assert "For 1 of the 2 pages this is not yet recorded" in said["executed"]
    assert (said["code_cells"], said["compared"]) == ("4", "2")


@pytest.mark.parametrize("chapter", ["12-cifar10", "13-cifar100"])
def test_no_fold_opens_onto_code_alone_that_waits_for_runs(site, chapter):
    cells = json.loads((ROOT / "notebooks" / f"{chapter}.ipynb").read_text())["cells"]
    page = unescape(re.sub("<.*?>", "", (site / "notebooks" / f"{chapter}.html").read_text()))
    kept = {True: 0, False: 0}
    for cell in cells:
        if cell["metadata"].get("tags") == ["hide-input"]:
            waits = not cell["outputs"] and re.search(
                r"display\(|plt\.show", "".join(cell["source"])
            )
            assert (cell["source"][0].strip() in page) is not bool(waits), cell["source"]
            kept[not waits] += 1
    assert kept[True] > 1


# --- the print edition ---------------------------------------------------------------------------


def test_the_print_edition_counts_its_sheets_and_leads_from_page_to_page(site, browser, tmp_path):
    alone, both = {"": ["book/take-home"]}, {"": ["book/take-home"], "Words": ["book/glossary"]}
    sheets = {}
    for name, parts in {"alone": alone, "both": both}.items():
        whole, pdf = site / "print.html", tmp_path / f"{name}.pdf"
        whole.write_text(text := print_edition.one_page(site, parts))
        try:
            sheets[name] = print_edition.print_page(browser, whole.as_uri(), pdf)
        finally:
            whole.unlink()
    counted, places = print_edition.read_places(pdf.read_bytes())
    assert sheets["alone"] == 2, "the contents, and one page to take home"
    assert counted == sheets["both"] > 3
    assert places["book-take-home"] == 2 and places["book-glossary"] == sheets["alone"] + 1

    links = set(re.findall(r'href="([^"]*)"', text.split("</head>")[1]))
    ids = set(re.findall(r' id="([^"]*)"', text))
    assert links and all(link[0] == "#" and link[1:] in ids for link in links)
    assert "clean level" in text and "alf-hint" not in text.split("</head>")[1]

    page = browser.new_page()
    page.set_content(text)
    page.evaluate(print_edition.NUMBER, places)
    last = page.locator(".contents .line").last.inner_text().split()
    assert last == ["Glossary", str(sheets["alone"] + 1)]
    page.close()


def test_the_print_edition_has_every_page_but_the_reference():
    parts = print_edition.parts_of((ROOT / "_toc.yml").read_text())
    printed = [name for part in parts.values() for name in part]
    assert printed == [name for name in names() if not name.startswith("book/api")]


# --- the API reference ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def entries(site):
    """Every entry of the API reference: its full name, and its page."""
    pages = [site / f"{name}.html" for name in names() if name.startswith("book/api/")]
    return {
        entry: page for page in pages for entry in re.findall(r'id="(alfs_.*?)"', page.read_text())
    }


def test_every_public_name_has_an_entry(entries):
    rooms = [m.name for m in pkgutil.walk_packages(alfs_utils.__path__, "alfs_utils.")]
    rooms = [room for room in rooms if "._" not in room]
    public = {
        f"{room}.{name}"
        for room in rooms
        for name in getattr(importlib.import_module(room), "__all__", ())
    }
    assert len(public) > 100
    assert sorted(public - set(entries)) == []


def test_every_entry_is_of_a_thing_that_exists(entries):
    for entry in entries:
        pkgutil.resolve_name(entry)


def test_signatures_can_be_read(entries):
    for page in set(entries.values()):
        signatures = " ".join(re.findall(r"<dt .*?</dt>", page.read_text(), re.DOTALL))
        assert not re.search(r"&lt;|_NestedSequence|>~|Alias for field", signatures), page.name


def test_links_within_the_site_lead_somewhere(site):
    @functools.cache
    def anchors(page):
        return set(re.findall(r'id="([^"]+)"', page.read_text()))

    lost = [
        (name, link)
        for name in names()
        for link in re.findall(r'href="([^":]*\.html#[^"]+)"', (site / f"{name}.html").read_text())
        for page, anchor in [link.split("#")]
        if unquote(anchor) not in anchors((site / name).parent.joinpath(page).resolve())
    ]
    assert lost == []


@pytest.mark.parametrize(
    ("page", "code", "entry"),
    [
        ("notebooks/01-label-noise", "corrupt", "noise.corrupt"),
        ("notebooks/02-asymmetric-losses", "certify", "asymmetry.certify"),
        ("notebooks/02-asymmetric-losses", "admissible(family, T)", "asymmetry.admissible"),
        ("book/losses", "noise.clean_level", "noise.clean_level"),
        ("book/api/recommend", "certify", "asymmetry.certify"),
    ],
)
def test_inline_code_links_to_the_entry_that_it_names(site, page, code, entry):
    room = entry.split(".")[0]
    links = re.findall(
        r'<a [^>]*href="([^"]*)"[^>]*>(<code.*?</code>)', (site / f"{page}.html").read_text()
    )
    shown = {(re.sub("<.*?>", "", text), link.split("api/")[-1]) for link, text in links}
    assert (code, f"{room}.html#alfs_utils.{entry}") in shown


def extension(name):
    """A module of book/_ext."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("noise.corrupt", "noise.corrupt"),
        ("alfs_utils.noise", "noise"),
        ("corrupt(labels, T, seed=1)", "noise.corrupt"),
        ("Labels.save", "noise.Labels.save"),
        ("load", None),  # two rooms have one
        ("data.load", "data.load"),
        ("noise", None),  # may be a parameter
        ("save", None),  # a method needs its class
        ("table", None),  # a name of the top floor needs its room
        ("pages.table", "paper.pages.table"),
        ("2 * corrupt(labels)", None),
        ("orrupt", None),
    ],
)
def test_inline_code_is_linked_where_one_name_fits(text, entry):
    rooms = ["noise", "data", "records", "paper.pages"]
    others = ["noise.corrupt", "noise.Labels", "noise.Labels.save", "data.load", "records.load"]
    known = {f"alfs_utils.{room}": "module" for room in rooms}
    known |= {f"alfs_utils.{name}": "function" for name in [*others, "paper.pages.table"]}
    known = {name: SimpleNamespace(objtype=kind, aliased=False) for name, kind in known.items()}
    assert extension("api").entry_of(text, known) == (entry and f"alfs_utils.{entry}")


@pytest.mark.parametrize(
    ("plain", "drawn"),
    [
        ("iff w_t g(1) >= w_n g(0), which", r"iff :math:`w_t g(1) \ge  w_n g(0)`, which"),
        ("classes, inf [l(u) - l(1)] / r", r"classes, :math:`\inf  [\ell (u) - \ell (1)] / r`"),
        ("- phi(u) != inf: no", r"- :math:`\phi (u) \ne  \infty`: no"),
        ("1 / (1 - c^(-1/(p-1))), q", r":math:`1 / (1 - c^{-1/(p-1)})`, q"),
        ("with r*_k = 2 (Theorem 6)", r"with :math:`r^*_k = 2` (Theorem 6)"),
        ("|c r - 1| <= 1e-12 is", r":math:`|c r - 1| \le  10^{-12}` is"),
        ("P(j | i), f(*a)", r"P(j \| i), f(\*a)"),
        ("`u_y = 1` of CIFAR-10, 3 x 3, (N, C)", "`u_y = 1` of CIFAR-10, 3 x 3, (N, C)"),
        ('"eta", a loss, log_u', '"eta", a loss, log_u'),
    ],
)
def test_formulas_of_docstrings(plain, drawn):
    assert extension("docstring_maths").mend(plain) == drawn


PARAMETERS = {
    "a": 3.0,
    "q": 0.6,
    "p": 1.7,
    "gamma": 0.8,
    "alpha": 0.3,
    "beta": 2.0,
    "A": -4.0,
    "eps": 0.7,
    "b": math.exp(0.7),
}
FORMULAS = {
    name: re.split(r"[:;,]|\.(?:\s|$)| \(C", found[1])[0]
    for name in losses.__all__
    if (found := re.search(r"\bl\(u\) = (.+)", getattr(losses, name).__doc__ or ""))
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula_of_a_docstring_is_that_of_the_code(name):
    assert len(FORMULAS) == 11
    known = {"u": sympy.Symbol("u"), "e": sympy.E, **PARAMETERS}
    formula = sympy_parser.parse_expr(
        FORMULAS[name].replace("^", "**").replace("{", "(").replace("}", ")"),
        local_dict=known,
        transformations=(
            *sympy_parser.standard_transformations,
            sympy_parser.implicit_multiplication_application,
        ),
    )
    loss = getattr(losses, name)
    loss = loss(**{k: v for k, v in PARAMETERS.items() if k in inspect.signature(loss).parameters})
    u = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    expected = [float(formula.subs("u", point)) for point in u.tolist()]
    assert np.allclose(loss.of_probability(u), expected, rtol=1e-12, atol=1e-12)


# --- search -----------------------------------------------------------------------------------

QUERIES = {
    "which loss should I use": "notebooks/guides/which-loss",
    "asymmetry ratio": "notebooks/07-asymmetry-ratio",
    "theorem 4": "notebooks/06-noise-tolerance",
    "install": "book/how-to-run",
    "clean level": "notebooks/01-label-noise",
    "AGCE parameters": "notebooks/reference/agce",
    "human labels": "notebooks/15-real-world-noise",
    "memorise": "notebooks/14-features",
    "learning rate": "book/recipes",
    "reproduce table 1": "book/reproduce",
}
# Not worded as in the index: what ranks has to be a likeness of words, not a list of phrases.
REWORDED = {
    "what loss for noisy labels": "notebooks/guides/which-loss",
    "installing the library": "book/how-to-run",
    "memorize": "notebooks/14-features",
    "parameters of AGCE": "notebooks/reference/agce",
    "Lightning": "book/recipes",
}


@pytest.fixture(scope="module")
def search(site, browser):
    """The pages that a query finds, best first; opened from the disk, as `make book` shows it."""
    page = browser.new_page()
    faults = []
    page.on("console", lambda m: m.type in ("error", "warning") and faults.append(m.text))
    page.on("pageerror", lambda error: faults.append(str(error)))

    def run(query):
        page.goto(f"{(site / 'search.html').as_uri()}?q={quote_plus(query)}")
        page.wait_for_selector("ul.search > li a")
        found = [link.get_attribute("href") for link in page.query_selector_all("ul.search > li a")]
        assert faults == []
        return list(dict.fromkeys(link.split(".html")[0] for link in found))

    yield run
    page.close()


@pytest.mark.parametrize("query", [*QUERIES, *REWORDED])
def test_a_query_finds_its_page_among_the_first_three(search, query):
    assert {**QUERIES, **REWORDED}[query] in search(query)[:3]


def test_the_index_names_pages_that_exist(site):
    entries = extension("search_index").by_page(
        yaml.safe_load((ROOT / "book" / "_ext" / "index.yml").read_text())
    )
    assert {*entries} <= {*names()}
    index = (site / "genindex.html").read_text()
    assert "Theorem 4" in index and "time to start" in index


# --- in the browser ---------------------------------------------------------------------------

# Text against what is behind it, by the formula of WCAG 2; large text needs less.
CONTRAST = """() => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = (top, below) => {
    const a = top[3] ?? 1;
    return [0, 1, 2].map((i) => a * top[i] + (1 - a) * below[i]);
  };
  const behind = (e) => {
    if (!e) return [255, 255, 255];
    const own = numbers(getComputedStyle(e).backgroundColor);
    return (own[3] ?? 1) === 1 ? own : over(own, behind(e.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255).map(
        (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faults = [];
  for (const e of document.querySelectorAll('article *')) {
    const text = [...e.childNodes].filter((n) => n.nodeType == 3).map((n) => n.data).join('');
    if (!/[\\p{L}\\p{N}]/u.test(text) || e.closest('svg, mjx-container, script, style')) continue;
    if (!e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    const style = getComputedStyle(e), below = behind(e), size = parseFloat(style.fontSize);
    const [a, b] = [light(over(numbers(style.color), below)), light(below)].sort((x, y) => y - x);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < needed - 0.005)
      faults.push(`contrast ${ratio.toFixed(2)}: ${text.trim().slice(0, 60)}`);
  }
  return [...new Set(faults)];
}"""
FAULTS = """() => {
  const faults = [];
  const say = (name, nodes) => nodes.forEach(
      n => faults.push(name + ': ' + n.textContent.slice(0, 80)));
  say('broken formula', document.querySelectorAll(
      'mjx-container [data-mml-node=merror], mjx-container [fill=red]'));
  say('formula not rendered', [...document.querySelectorAll('.math')].filter(
      e => !e.querySelector('mjx-container')));
  say('literal markup', [...document.querySelectorAll('article p, article li, article td')].filter(
      e => /\\$\\$|\\\\\\(|:::|\\{(prf|cite|eq|ref)/.test(
          [...e.childNodes].filter(n => n.nodeType == 3).map(n => n.textContent).join(''))));
  say('image not loaded', [...document.images].filter(i => i.complete && !i.naturalWidth
      && !i.src.includes('colab-badge')));
  say('image without alt text', [...document.querySelectorAll('article img')].filter(i => !i.alt));
  say('cut off without a sign', [...document.querySelectorAll(
      '.bd-content :is(mjx-container, .math, pre, .text_html)')].filter(
      e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 2 && !e.closest('.alf-more')
        && getComputedStyle(e).overflowX == 'auto'));
  if (document.documentElement.scrollWidth > window.innerWidth + 1)
    faults.push('wider than the window: ' + document.documentElement.scrollWidth);
  return faults;
}"""


@pytest.fixture(scope="module")
def serve():
    """Serve a folder on the loopback interface; returns its address. Each has one server."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    @functools.cache
    def start(folder):
        handler = functools.partial(Quiet, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


VIEWS = ("dark", 390), ("light", 1280)  # a phone at night first: it is the one that has to fit
PATIENCE = (50, 200, 1000, 4000)  # milliseconds: book.js marks what is cut off a little later


def faults_of(browser, address, patience=PATIENCE):
    """Open one page with the outside network cut off; everything that a reader would trip over."""
    scheme, width = VIEWS[0]
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
    for scheme, width in VIEWS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        for milliseconds in patience:
            page.wait_for_timeout(milliseconds)
            found = page.evaluate(FAULTS)
            if not any(fault.startswith("cut off") for fault in found):
                break
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        found += page.evaluate(CONTRAST)
        faults += [f"{scheme}, {width} px: {fault}" for fault in found]
    context.close()
    return faults


@pytest.mark.parametrize("name", names())
def test_a_page_has_no_faults(site, browser, serve, name):
    assert faults_of(browser, f"{serve(site)}/{name}.html") == []


def test_the_icons_of_a_page_are_drawn_by_a_small_script(site, browser):
    assert (site / "_static" / "scripts" / "fontawesome.js").stat().st_size < 150_000
    page = browser.new_page()
    page.goto((site / "notebooks" / "11-mnist.html").as_uri())
    page.wait_for_selector("svg.svg-inline--fa", state="attached")
    assert page.locator("svg.svg-inline--fa").count() > 5
    assert page.locator("i[class*=fa-], svg.svg-inline--fa .missing").count() == 0
    page.close()


def test_the_page_check_sees_faults(site, browser, serve, tmp_path):
    """A page with one fault of each kind: a check that cannot fail would pass it."""
    page = (site / "book" / "notation.html").read_text()
    bad = (
        r'<p>literal :::{note}</p><div class="math">\(\nosuchmacro\)</div><img src="gone.png">'
        '<script src="https://example.org/x.js"></script><script>console.error("oh")</script>'
        '<script>nothing.here</script><div style="width:3000px">wide</div>'
        '<p style="color:#777;background:#eee">pale</p>'
        '<pre style="overflow:auto"><span style="padding:0 3000px 0 0">long</span></pre>'
    )
    (tmp_path / "_static").symlink_to(site / "_static")
    (tmp_path / "book").mkdir()
    marked = page.replace("</article>", bad + "</article>", 1)
    marked, scripts = re.subn("<script[^>]*book.js[^>]*></script>", "", marked)  # it fades `pre`
    assert marked != page and scripts == 1
    (tmp_path / "book" / "bad.html").write_text(marked)
    found = " ".join(faults_of(browser, f"{serve(tmp_path)}/book/bad.html", PATIENCE[:1]))
    for kind in [
        "literal markup",
        "broken formula",
        "image not loaded",
        "image without alt",
        "request",
        "dark, 390 px: contrast 3.86: pale",
        "light, 1280 px: contrast 3.86: pale",
        "dark, 390 px: wider",
        "cut off without a sign: long",
    ]:
        assert kind in found
    assert "console: oh" in found and "error: nothing is not defined" in found and "wider" in found
