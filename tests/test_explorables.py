"""The pictures to touch: their formulas against the library, and really dragged, typed, scrubbed."""

import gzip
import re
import sys

import nbformat
import numpy as np
import pytest
from conftest import ROOT

from alfs_utils import noise, records
from alfs_utils.asymmetry import asymmetry_ratio, certify, weighted_risk_minimiser
from alfs_utils.estimation import class_clean_level_intervals, clean_level_interval
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    CELoss,
    GCELoss,
    MAELoss,
    loss_from_string,
)
from alfs_utils.recommend import recommend

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import explorables

PLACES = {
    "book/preface.md": ["simplex"],
    "notebooks/00-quickstart.ipynb": ["race"],
    "notebooks/02-asymmetric-losses.ipynb": ["simplex"],
    "notebooks/11-mnist.ipynb": ["race"],
    "notebooks/guides/which-loss.ipynb": ["allow"],
}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>explorables</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="explorables.css">
<style>body {{ font-family: sans-serif; margin: 8px }}</style>
{bodies}
<script defer src="explorables-data.js"></script><script defer src="explorables.js"></script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One page per kind and one for the small variant, with the files that the site gets."""
    folder = tmp_path_factory.mktemp("pages")
    explorables.write(ROOT, folder)
    style = (ROOT / "book" / "static" / "explorables.css").read_bytes()
    (folder / "explorables.css").write_bytes(style)
    for name in ("simplex", "race", "allow"):
        body = f'<div class="alf-explorable" data-kind="{name}"></div>'
        (folder / f"{name}.html").write_text(PAGE.format(bodies=body))
    small = '<div class="alf-explorable" data-kind="simplex" data-size="small"></div>'
    (folder / "small.html").write_text(PAGE.format(bodies=small))
    return folder


@pytest.fixture
def visit(browser, folder):
    """Open a page from the disk; a request elsewhere or a message on the console is a fault."""
    contexts, faults = [], []

    def open_page(name, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 1000}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or faults.append(r.url))
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((folder / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


# --- the formulas -------------------------------------------------------------------------------


def random_loss(rng, family):
    """(name, a, exponent) as the script takes it, and the library's loss."""
    a, exponent = 10 ** rng.uniform(-2, 1), rng.uniform(0.1, 3)
    return {
        "CE": lambda: (("CE", 0, 0), CELoss()),
        "MAE": lambda: (("MAE", 0, 0), MAELoss()),
        "GCE": lambda: (("GCE", 0, min(exponent, 1)), GCELoss(q=min(exponent, 1))),
        "AGCE": lambda: (("AGCE", a, exponent), AGCELoss(a=a, q=exponent)),
        "AUL": lambda: (("AUL", 1 + a, exponent), AULLoss(a=1 + a, p=exponent)),
        "AEL": lambda: (("AEL", a, 0), AELLoss(a=a)),
    }[family]()


def random_weights(rng, loss, close):
    """Weights of 2 to 6 classes; `close`: c within 1e-3 of the clean level that the loss needs."""
    k = int(rng.integers(2, 7))
    if not close:
        return rng.dirichlet(np.ones(k))
    off = rng.choice([-1, 1]) * 10 ** rng.uniform(-9, -3)
    needs = 1 / asymmetry_ratio(loss, "repaired")
    c = needs * (1 + off) if needs > 1.01 else 1 + abs(off)
    return rng.permutation(np.r_[c, 1, rng.uniform(0, 1, k - 2)] / c)


def random_counts(rng):
    """A count matrix, some with empty rows and zeros, some of a whole data set."""
    k = int(rng.integers(2, 7))
    shares = rng.dirichlet(np.ones(k) / 2, size=k) + rng.uniform(0, 3) * np.eye(k)
    size = 10 ** rng.uniform(0.5, 4.3, size=(k, 1)) * (rng.random((k, 1)) > 0.05)
    return np.rint(shares * size).astype(int)


@pytest.fixture(scope="module")
def cases():
    """300 random cases, a third close to the threshold, with what the library says."""
    rng = np.random.default_rng(24)
    asked, told = [], []
    for number in range(300):
        close = number % 3 == 0
        families = ["AGCE", "AUL", "AEL"] + ([] if close else ["CE", "GCE", "MAE"])
        loss = None
        while loss is None or (close and asymmetry_ratio(loss, "repaired") < 1e-6):
            call, loss = random_loss(rng, rng.choice(families))
        w, counts = random_weights(rng, loss, close), random_counts(rng)
        asked.append([*call, w.tolist(), counts.tolist()])
        found = certify(loss, w)
        told.append(
            {
                "minimiser": weighted_risk_minimiser(loss, w).u,
                "ratio": asymmetry_ratio(loss, "repaired"),
                "verdict": found.verdict,
                "c": found.c,
                "interval": clean_level_interval(counts),
                "lows": class_clean_level_intervals(counts).low,
            }
        )
    return asked, told


ASK = """cases => cases.map(([name, a, q, w, counts]) => {
  const {verdict, c} = ALF.certify(name, w, a, q), {low, estimate, high, lows} = ALF.cleanLevel(counts);
  return {minimiser: ALF.minimiser(name, w, a, q), ratio: ALF.ratio(name, a, q), verdict, c,
          interval: [low, estimate, high], lows};
})"""


def differences(page, cases):
    """In how many cases the script and the library differ, by quantity."""
    asked, told = cases
    close = {"minimiser": {"rtol": 0, "atol": 1e-6}}
    found = dict.fromkeys(told[0], 0)
    for theirs, ours in zip(page.evaluate(ASK, asked), told, strict=True):
        for name, value in ours.items():
            if name == "verdict":
                same = theirs[name] == value
            else:
                tolerance = close.get(name, {"rtol": 1e-9, "atol": 0})
                same = np.allclose(theirs[name], value, equal_nan=True, **tolerance)
            found[name] += not same
    return {name: number for name, number in found.items() if number}


def test_the_cases_are_worth_asking(cases):
    verdicts = [told["verdict"] for told in cases[1]]
    for verdict in ("asymmetric", "not asymmetric"):
        assert sum(v == verdict for v in verdicts[::3]) > 20, "close to the threshold"
        assert sum(v == verdict for v in verdicts) > 80
    assert sum(0 < told["minimiser"].max() < 0.999 for told in cases[1]) > 80


def test_the_script_agrees_with_the_library(visit, cases):
    assert differences(visit("simplex"), cases) == {}


MUTANTS = {
    "fill: (w, a, q) => [-a, w ** (1 / (1 - q))]": "fill: (w, a, q) => [a, w ** (1 / (1 - q))]",
    "-(w ** (1 / (1 - q)))": "-(w ** (1 / (2 - q)))",
    "[a * Math.log(w), 1]": "[Math.log(w), 1]",
    "g(1, a, q) / g(0, a, q) : 1": "g(1, a, q) / g(0.001, a, q) : 1",
    "w[t] * r - rival": "w[t] * r - 0.9999 * rival",
    "((n - j) / (j + 1))": "((n - j) / (j + 2))",
    "tail / (k * (k - 1))": "tail / (k * k)",
    "tail = 0.025": "tail = 0.0250001",
    "bend: (q) => Math.sign(q - 1)": "bend: (q) => 1",
}


@pytest.mark.parametrize("old", MUTANTS)
def test_a_mutant_of_the_script_is_seen(visit, cases, old):
    page, source = visit("simplex"), explorables.script()
    assert source.count(old) == 1
    page.evaluate("source => { (0, eval)(source); }", source.replace(old, MUTANTS[old]))
    assert differences(page, cases)


def test_certified_parameters_are_those_of_recommend(visit):
    rng, page = np.random.default_rng(5), visit("simplex")
    refused = 0
    for number in range(60):
        if number % 2:
            counts = random_counts(rng)
            found = recommend(counts=counts)
            low = page.evaluate("counts => ALF.cleanLevel(counts).low", counts.tolist())
        else:
            eta = rng.choice([0.5 + rng.uniform(-1e-3, 1e-3), rng.uniform(0.005, 0.9)])
            found = recommend(T=noise.symmetric(2 if number % 4 else 10, eta))
            low = found.c.low
        losses = page.evaluate("c => ALF.allowed(c)", low)
        expected = [option for option in found.options[:3]]
        assert [repr(loss_from_string(text)) for text, _ in losses] == [o.loss for o in expected]
        assert np.allclose([need for _, need in losses], [o.needs for o in expected], rtol=1e-9)
        refused += not losses
    assert 10 < refused < 50
