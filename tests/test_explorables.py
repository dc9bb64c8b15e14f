"""The pictures to touch: their formulas against the library; dragged, typed into, scrubbed."""

import gzip
import re
import sys

import nbformat
import numpy as np
import pytest
from helpers import ROOT

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

SOURCE = ROOT / "book" / "_ext" / "explorables.js"
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
    """One page per picture, one of all and one of none, with the files that the site gets."""
    folder = tmp_path_factory.mktemp("pages")
    explorables.write(ROOT, folder)
    style = (ROOT / "book" / "static" / "explorables.css").read_bytes()
    (folder / "explorables.css").write_bytes(style)
    bodies = {
        "simplex": '<div class="alf-explorable" data-kind="simplex"></div>',
        "small": '<div class="alf-explorable" data-kind="simplex" data-size="small"></div>',
        "race": '<div class="alf-explorable" data-kind="race"></div>',
        "allow": '<div class="alf-explorable" data-kind="allow"></div>',
        "blank": "",
    }
    for name, body in (bodies | {"all": "".join(bodies.values())}).items():
        (folder / f"{name}.html").write_text(PAGE.format(bodies=body))
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
                "interval": clean_level_interval(counts, 0.9),  # 5 % at each end
                "lows": class_clean_level_intervals(counts, 0.9).low,
            }
        )
    return asked, told


ASK = """cases => cases.map(([name, a, q, w, counts]) => {
  const {verdict, c} = ALF.certify(name, w, a, q);
  const {low, estimate, high, lows} = ALF.cleanLevel(counts);
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
    assert differences(visit("blank"), cases) == {}


MUTANTS = {
    "fill: (w, a, q) => [-a, w ** (1 / (1 - q))]": "fill: (w, a, q) => [a, w ** (1 / (1 - q))]",
    "-(w ** (1 / (1 - q)))": "-(w ** (1 / (2 - q)))",
    "[a * Math.log(w), 1]": "[Math.log(w), 1]",
    "g(1, a, q) / g(0, a, q) : 1": "g(1, a, q) / g(0.001, a, q) : 1",
    "w[t] * r - rival": "w[t] * r - 0.9999 * rival",
    "((n - j) / (j + 1))": "((n - j) / (j + 2))",
    "tail / (k * (k - 1))": "tail / (k * k)",
    "tail = 0.05": "tail = 0.0500001",
    "bend: (q) => Math.sign(q - 1)": "bend: (q) => 1",
}


def test_mutants_of_the_script_are_seen(visit, cases):
    page, source = visit("blank"), SOURCE.read_text()
    some = [part[:100] for part in cases]
    for old, new in MUTANTS.items():
        assert source.count(old) == 1, old
        mutant = explorables.shortened(source.replace(old, new))
        page.evaluate("source => { (0, eval)(source); }", mutant)
        assert differences(page, some), f"{old} -> {new}"


def test_certified_parameters_are_those_of_recommend(visit):
    rng, page = np.random.default_rng(5), visit("blank")
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
        expected = [option.loss for option in found.options[:3]]
        assert [repr(loss_from_string(text)) for text in losses] == expected
        refused += not losses
    assert 10 < refused < 50


# --- 1: the largest takes all -------------------------------------------------------------------


def weights_of(page):
    """The noise as the ring tells it to a screen reader."""
    told = page.get_by_role("slider", name="Noise").get_attribute("aria-valuetext")
    return [float(x) for x in re.findall(r"[\d.]+", told)[:3]]


def centre(locator):
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, locator, right, down, steps=8):
    x, y = centre(locator)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y + down, steps=steps)
    page.mouse.up()
    page.wait_for_timeout(50)


def said(page):
    """The verdict that is seen, after the next frame."""
    page.wait_for_timeout(50)
    return page.locator(".alf-say").text_content().replace("\N{NO-BREAK SPACE}", " ")


def told(page):
    """What is said of the ball, after the next frame."""
    page.wait_for_timeout(50)
    return page.locator(".alf-buttons + .alf-note").text_content()


def spoken(page):
    """The live region, once it has caught up."""
    page.wait_for_timeout(500)
    return page.locator("[aria-live=polite]").text_content().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("name", ["simplex", "small"])
def test_dragging_the_noise_flips_the_certificate(visit, name):
    page = visit(name)
    ring = page.locator(".alf-ring")
    loss = AGCELoss(a=0.1, q=0.5)
    for right, down, verdict in [(0, -60, "✓ Certified"), (0, 50, "✗ Not certified")]:
        drag(page, ring, right, down)
        w = weights_of(page)
        assert certify(loss, w).asymmetric == (verdict == "✓ Certified")
        assert said(page).startswith(verdict)
        c = float(re.search(r"c = (\d+\.?\d*)", said(page)).group(1))
        assert c == pytest.approx(w[0] / max(w[1:]), rel=0.01)
        assert (
            page.locator(".alf-explorable").get_attribute("data-ok")
            == str(verdict[0] == "✓").lower()
        )
        assert spoken(page) == said(page)
    drag(page, ring, -60, 80)
    assert weights_of(page)[1] > weights_of(page)[0], "the rival leads"
    assert said(page).startswith("✗ The right label does not lead")


def test_the_dot_is_where_the_library_says(visit):
    page = visit("simplex")
    drag(page, page.locator(".alf-ring"), 15, -20)
    u = weighted_risk_minimiser(AGCELoss(a=0.1, q=0.5), weights_of(page)).u
    shown = re.search(r"\((0\.\d+), (0\.\d+), (0\.\d+)\)", said(page))
    assert np.allclose([float(x) for x in shown.groups()], u, rtol=0, atol=3e-3)
    dot = page.locator(".alf-triangle .alf-dot")
    x = 170 * u[0] + 30 * u[1] + 310 * u[2]
    y = 30 * u[0] + 272 * (u[1] + u[2])
    assert (
        abs(float(dot.get_attribute("cx")) - x) < 1 and abs(float(dot.get_attribute("cy")) - y) < 1
    )


def test_keys_move_the_noise_and_the_loss(visit):
    page = visit("simplex")
    ring = page.get_by_role("slider", name="Noise")
    ring.focus()
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(50)
    assert weights_of(page) == [0.55, 0.285, 0.165]
    slider = page.get_by_role("slider", name=re.compile("^a"))
    slider.focus()
    page.keyboard.press("End")
    assert said(page).startswith("✓ Certified")
    page.get_by_label("loss").select_option("CE")
    words = said(page)
    assert "no finite c will do" in words and "(0.550, 0.285, 0.165)" in words
    assert slider.count() == 0, "CE has no parameter"


def test_the_strongest_rival_is_named_where_it_is(visit):
    page = visit("small")
    corners = page.locator(".alf-triangle text")
    assert corners.all_text_contents() == ["right label", "label B: strongest rival", "label C"]
    drag(page, page.locator(".alf-ring"), 60, 0)
    assert weights_of(page)[2] > weights_of(page)[1]
    assert corners.all_text_contents() == ["right label", "label B", "label C: strongest rival"]


def test_a_clean_level_off_the_axis_points_out_of_it(visit):
    page = visit("simplex")
    ring, mark = page.locator(".alf-ring"), page.locator(".alf-mark")
    drag(page, ring, 0, 300)
    assert weights_of(page)[0] == 0 and "does not lead: c = 0." in said(page)
    assert mark.get_attribute("d") == "M12 18l12 -7v14z"
    assert (
        page.locator(".alf-level").first.text_content() == "c\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0"
    )
    ring.focus()
    for _ in range(30):
        page.keyboard.press("Shift+ArrowUp")
    assert weights_of(page) == [1, 0, 0]
    for loss in ("AGCE", "CE"):
        page.get_by_label("loss").select_option(loss)
        assert said(page) == "✓ Certified: no label is wrong, every loss will do."
    assert mark.get_attribute("d") == "M308 18l-12 -7v14z"


def test_it_says_that_the_ring_can_be_dragged_until_it_was(visit):
    page = visit("small")
    ring = page.locator(".alf-ring")
    hint = "ring => getComputedStyle(ring, '::before').content"
    assert "drag, or arrow keys" in ring.evaluate(hint)
    assert ring.evaluate("ring => getComputedStyle(ring).cursor") == "grab"
    drag(page, ring, 5, 5)
    assert ring.evaluate(hint) == "none"


@pytest.mark.parametrize(("name", "width"), [("simplex", 704), ("simplex", 390), ("small", 390)])
def test_nothing_jumps(visit, name, width):
    """The panel is as high for the longest sentence as for the shortest."""
    page = visit(name, width=width, reduced_motion="reduce")
    panel, ring = page.locator(".alf-explorable"), page.locator(".alf-ring")
    heights = {panel.bounding_box()["height"]}
    ring.focus()
    for key in ["ArrowUp"] * 12 + ["ArrowDown"] * 22:
        page.keyboard.press(f"Shift+{key}")
        page.wait_for_timeout(30)
        heights.add(panel.bounding_box()["height"])
    for loss in ["CE", "GCE", "MAE", "AUL", "AEL"] if name == "simplex" else []:
        page.get_by_label("loss").select_option(loss)
        for button in ("start over", "drop a ball", "set a trap"):
            page.get_by_role("button", name=button).click()
            page.get_by_label("loss").select_option(loss)
            page.wait_for_timeout(50)
            heights.add(panel.bounding_box()["height"])
    assert max(heights) - min(heights) < 1


def test_a_preset_has_the_clean_level_of_its_noise(visit):
    page = visit("simplex")
    for name, c in [
        ("symmetric, rate 0.8", noise.clean_level(noise.symmetric(10, 0.8))),
        ("asymmetric, rate 0.4", noise.clean_level(noise.asymmetric("cifar10", 0.4))),
    ]:
        page.get_by_role("combobox", name="noise").select_option(name)
        page.wait_for_timeout(50)
        assert f"c = {c:.2f}" in said(page)


def test_the_ball_is_caught_by_a_certified_loss(visit):
    """AGCE(1, 2) is certified, and has a local minimum in the corner of the rival (chapter 7)."""
    page = visit("simplex", reduced_motion="reduce")
    page.get_by_role("button", name="set a trap: AGCE(1, 2), c = 1.2").click()
    assert said(page).startswith("✓ Certified: c = 1.20 exceeds 1/r = 1.")
    assert "The ball is caught" in told(page) and told(page) in spoken(page)
    page.get_by_label("loss").select_option("AEL")
    assert "came to rest at the dot" in told(page)


def test_the_ball_is_taken_away_and_all_starts_over(visit):
    page = visit("simplex", reduced_motion="reduce")
    first, weights = said(page), weights_of(page)
    page.get_by_role("button", name="drop a ball").click()
    ball, dot = page.locator(".alf-ball"), page.locator(".alf-triangle .alf-dot")
    assert float(ball.get_attribute("r")) < float(dot.get_attribute("r")), "the dot is seen below"
    page.get_by_role("button", name="take the ball away").click()
    page.wait_for_timeout(50)
    assert ball.count() == 0 and "Tap the triangle" in told(page) and said(page) == first
    page.get_by_role("button", name="set a trap").click()
    page.get_by_role("button", name="start over").click()
    assert said(page) == first and weights_of(page) == weights and ball.count() == 0


def test_a_tap_drops_a_ball_that_rolls(visit):
    page = visit("simplex")
    x, y = centre(page.locator(".alf-triangle"))
    page.mouse.click(x - 20, y + 80)
    page.wait_for_function("document.querySelector('.alf-ball')")
    first = page.locator(".alf-ball").get_attribute("cy")
    page.wait_for_function(
        "document.querySelector('.alf-buttons + .alf-note').textContent.includes('came to rest')"
    )
    assert float(page.locator(".alf-ball").get_attribute("cy")) < float(first)


def test_a_finger_drags_the_ring(visit):
    page = visit("small", width=390, has_touch=True)
    x, y = centre(page.locator(".alf-ring"))
    touch = page.context.new_cdp_session(page)
    for kind, points in [
        ("touchStart", [(x, y)]),
        *[("touchMove", [(x, y - 10 * i)]) for i in range(1, 7)],
        ("touchEnd", []),
    ]:
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]},
        )
    page.wait_for_timeout(50)
    assert weights_of(page)[0] > 0.65
    assert said(page).startswith("✓ Certified")


# --- 2: race to memorise ------------------------------------------------------------------------


def row_of(page, method):
    row = page.get_by_role("row").filter(has=page.get_by_role("button", name=method, exact=True))
    return row.get_by_role("cell").all_text_contents()


def record_of(page, method):
    """The record whose id the caption names."""
    (run_id,) = re.findall(
        rf"[ ]{re.escape(method)} ([0-9a-f]{{12}})", page.locator(".alf-note").last.text_content()
    )
    ledger = records.load(ROOT / "results")
    return ledger.set_index("id").loc[run_id]


def test_scrubbing_shows_the_recorded_epoch(visit):
    page = visit("race")
    slider = page.get_by_role("slider")
    assert slider.input_value() == slider.get_attribute("max"), "the whole race is seen at first"
    for method in ("CE", "AGCE"):
        run = record_of(page, method)
        assert (run["noise"], run["eta"], run["dataset"]) == ("symmetric", 0.8, "mnist")
        slider.focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(50)
        hit, wrong, best, chosen, last = row_of(page, method)[1:]
        assert float(hit) == pytest.approx(run["test_accuracy"][-2], abs=0.051)
        assert float(wrong) == pytest.approx(run["memorised"][-2], abs=0.051)
        assert best.startswith(f"{run['best']:.1f} (") and last == f"{run['last']:.1f}"
        assert f"({1 + int(np.argmax(run['test_accuracy']))})" in best
        assert float(chosen.split()[0]) == pytest.approx(run["noisy_validation"], abs=0.051)
    x, y = centre(slider)
    width = slider.bounding_box()["width"]
    page.mouse.move(x + 0.48 * width, y)
    page.mouse.down()
    page.mouse.move(x, y, steps=5)
    page.mouse.up()
    page.wait_for_timeout(50)
    epoch = int(slider.input_value())
    assert 20 < epoch < 30
    expected = record_of(page, "CE")["test_accuracy"][epoch - 1]
    assert float(row_of(page, "CE")[1]) == pytest.approx(expected, abs=0.051)
    assert f"Epoch {epoch}: CE {expected:.1f} % correct" in spoken(page)


def test_playing_runs_to_the_end_and_one_run_can_be_isolated(visit):
    page = visit("race")
    page.get_by_role("button", name="play").click()
    page.wait_for_timeout(700)
    page.get_by_role("button", name="pause").click()
    now = int(page.get_by_role("slider").input_value())
    assert 2 < now < 40
    page.wait_for_timeout(300)
    assert int(page.get_by_role("slider").input_value()) == now
    assert page.locator("svg .alf-name").count() > 5
    button = page.get_by_role("button", name="GCE", exact=True)
    button.click()
    page.wait_for_timeout(50)
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("svg .alf-name").all_text_contents() == ["GCE"]


def test_without_motion_play_jumps_to_the_end(visit):
    page = visit("race", reduced_motion="reduce")
    page.get_by_role("slider").fill("3")
    page.get_by_role("button", name="play").click()
    page.wait_for_timeout(50)
    assert page.get_by_role("slider").input_value() == "50"
    assert page.get_by_role("button", name="play").count() == 1


def test_every_noise_of_the_ledger_can_be_chosen(visit):
    page = visit("race")
    runs = records.load(ROOT / "results").query("dataset == 'mnist' and eta > 0")
    options = page.get_by_label("noise").locator("option").all_text_contents()
    assert {*options} <= {f"{run.noise}, rate {run.eta}" for run in runs.itertuples()}
    for option in options:
        page.get_by_label("noise").select_option(option)
        page.wait_for_timeout(50)
        named = re.findall("[0-9a-f]{12}", page.locator(".alf-note").last.text_content())
        found = runs.set_index("id").loc[named]
        assert named and {f"{r.noise}, rate {r.eta}" for r in found.itertuples()} == {option}


# --- 3: what does my noise allow? ---------------------------------------------------------------


def test_typed_counts_give_the_losses_of_recommend(visit):
    page = visit("allow")
    rng = np.random.default_rng(3)
    for _ in range(8):
        counts = random_counts(rng)
        text = "\n".join(", ".join(map(str, row)) for row in counts)
        page.get_by_role("textbox").fill(text)
        found, words = recommend(counts=counts), said(page)
        shown = page.locator(".alf-losses code").all_text_contents()
        assert [repr(loss_from_string(x)) for x in shown] == [o.loss for o in found.options[:3]]
        assert words.startswith("✓" if found.choice else "✗ Refused")
        if not found.choice and found.c.high > 1:
            assert f"lead in class {', '.join(map(str, found.doubtful))}." in words
        if np.isfinite(found.c.low) and found.c.low >= 0.001:
            shown = float(re.search("at least ([\\d.]+)", words).group(1))
            assert shown == pytest.approx(found.c.low, rel=6e-3)
    rival = page.locator("svg .alf-rival")
    page.get_by_role("textbox").press_sequentially("x")
    assert said(page).startswith("✗ Row ")
    assert not rival.first.is_visible() and "✗ Row" in spoken(page)


def test_bad_counts_are_refused_by_name(visit):
    page = visit("allow")
    for text, fault in {
        "": "Expected a table of counts",
        "1 2\n3": "Row 2 has 1 numbers; expected 2",
        "1 2\n3 -4": "Row 2 has “-4”; expected a count",
        "a b\n0.5 0.5\n0 1": "Row 1 has “0.5”; expected a count",
        "<b>x</b> 9 1\ny 1 9": "Row 1 has 4 numbers; expected 2",
    }.items():
        page.get_by_role("textbox").fill(text)
        assert said(page).startswith(f"✗ {fault}")
        assert page.locator(".alf-losses code").count() == 0


def test_arrays_and_lists_as_python_prints_them_are_understood(visit):
    page = visit("allow")
    page.get_by_role("textbox").fill("[[90  5]\n [ 10 80]]")
    assert said(page).startswith("✓ c = 8")
    counts = [[80, 15, 5], [10, 85, 5], [20, 10, 70]]
    page.get_by_role("textbox").fill(str(counts))  # a list on one line
    assert said(page).startswith("✓ c = 3.50")
    shown = page.locator(".alf-losses code").first.text_content()
    assert repr(loss_from_string(shown)) == recommend(counts=counts).choice.loss


def test_a_class_without_samples_leaves_c_unknown(visit):
    page = visit("allow")
    page.get_by_role("textbox").fill("one 3 1 0\ntwo 0 5 1\nthree 0 0 0")
    found = recommend(counts=[[3, 1, 0], [0, 5, 1], [0, 0, 0]])
    assert said(page).startswith("✗ Refused. c = unknown, at least 0, at most ")
    assert "lead in class one, two, three." in said(page) and found.doubtful == (0, 1, 2)
    assert "c = unknown" in page.locator(".alf-level").text_content().replace("\xa0", " ")
    assert page.locator(".alf-mark").count() == 0


def test_refusals_name_the_class(visit):
    page = visit("allow")
    page.get_by_label("start from").select_option("tumours")
    words = said(page)
    assert "Class malignant: 48 are labelled benign, 10 are right" in words
    assert f"{clean_level_interval([[10, 48], [1, 91]], 0.9).high:.3g}" in words


def test_noise_models(visit):
    page = visit("allow")
    for kind, T in {
        "symmetric": noise.symmetric(10, 0.8),
        "pair flip": noise.pairflip(10, 0.45),
        "asymmetric, MNIST": noise.asymmetric("mnist", 0.3),
        "asymmetric, CIFAR-10": noise.asymmetric("cifar10", 0.6),
    }.items():
        page.get_by_label("start from").select_option(kind)
        page.get_by_role("slider").fill(str(round(1 - T.diagonal().min(), 2)))
        page.wait_for_timeout(50)
        found = recommend(T=T)
        shown = page.locator(".alf-losses code").all_text_contents()
        assert [repr(loss_from_string(x)) for x in shown] == [o.loss for o in found.options[:3]]
        words = said(page)
        assert f"c = {found.c.estimate:#.3g}".rstrip(".") in words, (kind, words)


def test_a_click_copies_the_loss(visit):
    page = visit("allow")
    page.evaluate("addEventListener('copy', () => { window.copied = String(getSelection()); })")
    page.get_by_role("button", name="copy").first.click()
    copied = page.evaluate("window.copied")
    counts = explorables.count_tables(ROOT)["CIFAR-10N worst"]["counts"]
    assert repr(loss_from_string(copied)) == recommend(counts=counts).options[0].loss
    assert spoken(page) == "copied"


# --- all of them --------------------------------------------------------------------------------


def test_the_script_is_small_and_needs_nothing():
    script = explorables.script()
    assert len(script.encode()) <= 30_000 and len(gzip.compress(script.encode())) <= 10_000
    assert not re.search(r"\bfetch\b|XMLHttpRequest|\bimport\b|\bexport\b|url\(", script)


def test_a_phone_shows_all_of_it(visit):
    page = visit("all", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    pictures = page.locator(".alf-explorable").all()
    assert len(pictures) == 4 and all(p.bounding_box()["height"] > 300 for p in pictures)


def test_on_paper_and_without_javascript_nothing_is_left(visit, browser, folder):
    page = visit("simplex")
    page.emulate_media(media="print")
    assert not page.locator(".alf-explorable").is_visible()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "simplex.html").as_uri())
    assert not page.locator(".alf-explorable").is_visible()
    context.close()


@pytest.mark.parametrize("path", PLACES)
def test_its_place_in_the_book(path):
    """An empty div, in a notebook right after a figure (or the text below it) that stays."""
    text = (ROOT / path).read_text()
    if path.endswith(".ipynb"):
        cells = nbformat.reads(text, as_version=4).cells
        here = [i for i, cell in enumerate(cells) if explorables.MARK in cell.source]
        text = "\n".join(cells[i].source for i in here)
        for i in here:
            outputs = [o for cell in cells[i - 2 : i] for o in cell.get("outputs", [])]
            assert any("image/svg+xml" in output.get("data", {}) for output in outputs)
    assert (
        re.findall(r'<div class="alf-explorable" data-kind="(\w+)"[^>]*></div>', text)
        == PLACES[path]
    )


def test_the_tumours_are_those_of_the_guide():
    cells = nbformat.read(ROOT / "notebooks/guides/which-loss.ipynb", as_version=4).cells
    printed = [
        o.text for cell in cells for o in cell.get("outputs", []) if o.output_type == "stream"
    ]
    assert any(text.startswith(f"{explorables.tumours()}\n") for text in printed)


def test_only_pages_that_ask_for_it_load_it(tmp_path, monkeypatch):
    """A site of two pages; its data are written again although no page is."""
    from sphinx.application import Sphinx

    for name in ("alfs_utils", "results"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "conf.py").write_text("extensions = ['explorables']\n")
    div = f'<div class="{explorables.MARK}" data-kind="race"></div>'
    (source / "index.rst").write_text(
        f"With\n====\n\n.. raw:: html\n\n   {div}\n\n.. toctree::\n\n   two\n"
    )
    (source / "two.rst").write_text("Without\n=======\n")

    def build():
        app = Sphinx(source, source, out, tmp_path / "trees", "html", status=None, freshenv=False)
        app.build()
        assert app.statuscode == 0

    build()
    loaded = "|".join([explorables.DATA, explorables.SCRIPT, "explorables.css"])
    assert len(re.findall(loaded, (out / "index.html").read_text())) == 3
    assert not re.search(loaded, (out / "two.html").read_text())
    data = out / "_static" / explorables.DATA
    written = data.read_text()
    data.write_text("old")
    build()
    assert data.read_text() == written
    assert (out / "_static" / explorables.SCRIPT).read_text() == explorables.script()
