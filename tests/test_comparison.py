"""Ours beside the paper's: which run is which cell, and what is said of the cells."""

import dataclasses
import io
import math
import re
import statistics

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from alfs_utils import data, records
from alfs_utils.losses import AGCELoss, FocalLoss, from_paper
from alfs_utils.losses.settings import ROWS
from alfs_utils.paper import comparison, figures, pages, precision, protocol
from alfs_utils.paper.printed import CELLS
from alfs_utils.paper.printed import cells as printed_cells
from alfs_utils.training import History, RunConfig
from alfs_utils.training.environment import Environment
from alfs_utils.training.history import failed_epoch

LOSS = from_paper("AGCE", "mnist")
KEY = {"method": "AGCE", "column": "sym .8"}


ENVIRONMENT = Environment("CPU", 1, True, False, "2", "2", "3", "1", False, 1, "")


def a_record(config, last=96.5, status="finished", seconds=1800.0):
    """A whole record of a run that never was: its best epoch is 1 point above the last."""
    curve = [last] * (failed_epoch(status) - 1 if failed_epoch(status) else config.epochs)
    curve[1:2] = [last + 1]
    pairs = [[x, x] for x in curve]
    wrong = {"memorised": curve} if config.eta else {}
    return records.make(
        History(
            config,
            train_loss=curve,
            test_accuracy=curve,
            noise_rate=config.eta,
            seconds=seconds,
            cpu_seconds=2 * seconds,
            fitted=curve,
            half_accuracy=pairs,
            half_agreement=pairs,
            status=status,
            labels_sha256="0" * 64,
            data_sha256="0" * 64,
            lost=[[] for _ in curve],
            environment=ENVIRONMENT,
            **wrong,
        )
    )


@pytest.fixture
def ledger_of(tmp_path):
    """A ledger of (configuration, last accuracy[, status[, seconds]])."""

    def build(*runs):
        for config, *rest in runs:
            records.write(a_record(config, *rest), tmp_path)
        return records.load(tmp_path)

    return build


def three(*means, dataset="mnist", loss=LOSS):
    """A run per mean of AGCE at symmetric 0.8, seeds 0, 1, ..."""
    return [
        (protocol.run(dataset, loss, "symmetric", 0.8, seed), mean)
        for seed, mean in enumerate(means)
    ]


def cell_of(ledger, dataset="mnist"):
    cells = comparison.compare(ledger, dataset)
    (cell,) = cells[(cells["method"] == "AGCE") & (cells["column"] == "sym .8")].itertuples()
    others = cells[(cells["method"] != "AGCE") | (cells["column"] != "sym .8")]
    assert (others["outcome"] == "not yet run").all() and (others["n"] == 0).all()
    return cell


# --- which run is which cell ----------------------------------------------------------------


@pytest.mark.parametrize("dataset", comparison.DATASETS)
def test_without_runs_every_cell_of_the_paper_is_there(ledger_of, dataset):
    cells = comparison.compare(ledger_of(), dataset)
    printed = [c for c in CELLS if c.dataset == dataset]
    for name in ("table", "method", "noise", "eta", "column", "source"):
        assert list(cells[name]) == [getattr(c, name) for c in printed]
    means = [math.nan if c.mean is None else c.mean for c in printed]
    pd.testing.assert_series_equal(cells["paper_mean"], pd.Series(means), check_names=False)
    assert (cells["outcome"] == "not yet run").all()
    assert cells[["mean", "best", "difference", "hours"]].isna().all(axis=None)
    n = len(printed)
    assert comparison.summary(cells) == f"{n} cells, 0 runs of ours: {n} not yet run."


@pytest.mark.parametrize("dataset", comparison.DATASETS)
@pytest.mark.parametrize("seed", [0, 5])
def test_every_run_of_the_tables_finds_its_cell(ledger_of, dataset, seed):
    """As `sweep` makes them, straight from the rows and the columns."""
    settings = [("symmetric", x) for x in (0.0, 0.2, 0.4, 0.6, 0.8)]
    settings += [("asymmetric", x) for x in (0.1, 0.2, 0.3, 0.4)]
    for name in ROWS[dataset][::4]:
        loss = from_paper(name, dataset)
        runs = [(protocol.run(dataset, loss, *s, seed), 10 + i) for i, s in enumerate(settings)]
        cells = comparison.compare(ledger_of(*runs), dataset)
        row = cells[cells["method"] == name]
        assert list(row["mean"]) == [10 + i for i in range(9)]
        assert list(zip(row["noise"], row["eta"], strict=True)) == [("clean", 0.0), *settings[1:]]


CHANGES = {
    "model": "cifar_cnn",
    "augment": False,
    "epochs": 49,
    "batch_size": 64,
    "lr": 0.02,
    "momentum": 0.8,
    "weight_decay": 1e-4,
    "clip_norm": 1.0,
    "init_seed": 1,
    "order_seed": 1,
    "augment_seed": 1,
    "counts": "iid",
    "precision": "bfloat16",
    "train_size": 1000,
    "nesterov": True,
    "schedule": "exponential",
    "l1": 1e-6,
}


def test_the_changes_below_leave_out_no_field():
    fields = {f.name for f in dataclasses.fields(RunConfig)}
    rest = {"loss", "dataset", "noise", "eta", "noise_seed"}
    assert fields - rest == CHANGES.keys()


@pytest.mark.parametrize("name", CHANGES)
def test_one_changed_field_puts_a_run_apart_and_is_named(ledger_of, name):
    changed = protocol.run("mnist", LOSS, "symmetric", 0.8, 0, **{name: CHANGES[name]})
    ledger = ledger_of((changed, 12.0), *three(96.0))
    runs, others = comparison.split(ledger, "mnist")
    assert list(runs["last"]) == [96.0] and dict(runs.iloc[0][list(KEY)]) == KEY
    assert list(others["last"]) == [12.0]
    assert others["reason"].item() == f"{name} = {CHANGES[name]}"
    assert cell_of(ledger).mean == 96.0


@pytest.mark.parametrize("counts", [True, False, None])
def test_bfloat16_is_in_a_cell_if_the_rule_says_so_and_there_is_no_float32(
    ledger_of, monkeypatch, counts
):
    answer = precision.Answer(counts, 12, 0.0, -0.1, 0.1, 0)
    monkeypatch.setattr(precision, "answer", lambda found: answer)

    def low(seed, **changes):
        return protocol.run("mnist", LOSS, "symmetric", 0.8, seed, precision="bfloat16", **changes)

    few = low(2, epochs=20)
    ledger = ledger_of(*three(96.0), (low(0), 12.0), (low(1), 97.0), (few, 13.0))
    cell = cell_of(ledger)
    assert (cell.n, cell.mean) == ((2, 96.5) if counts else (1, 96.0))
    assert cell.precision == ("bfloat16, float32" if counts else "float32")
    _, others = comparison.split(ledger, "mnist")
    assert sorted(others["last"]) == ([12.0, 13.0] if counts else [12.0, 13.0, 97.0])


@pytest.mark.parametrize(
    ("dataset", "loss", "words"),
    [
        (
            "mnist",
            from_paper("SCE", "mnist", "repository"),
            "the repository's setting of SCE",
        ),
        ("mnist", FocalLoss(gamma=0.5), "the formula's gradient of FL"),
        ("mnist", AGCELoss(a=4, q=0.3), "a loss of its own"),
        ("cifar100", AGCELoss(a=4, q=0.2), "a loss of its own"),
    ],
)
def test_another_loss_puts_a_run_apart(ledger_of, dataset, loss, words):
    ledger = ledger_of((protocol.run(dataset, loss, "symmetric", 0.4), 50.0))
    runs, others = comparison.split(ledger, dataset)
    assert not len(runs) and list(others["reason"]) == [words]


def test_other_noise_and_unfinished_runs_stand_apart(ledger_of):
    ce = from_paper("CE", "cifar100")
    superclass = protocol.run("cifar100", ce, "asymmetric-superclass", 0.4, counts="exact")
    ledger = ledger_of(
        (superclass, 40.0),
        (protocol.run("cifar100", ce, "symmetric", 0.5), 30.0),
        (
            protocol.run("cifar100", ce, "symmetric", 0.4),
            20.0,
            "the training loss of epoch 3 is nan",
        ),
    )
    runs, others = comparison.split(ledger, "cifar100")
    assert not len(runs)
    assert sorted(others["reason"]) == [
        "no such rate",
        "noise = asymmetric-superclass, counts = exact",
        "the training loss of epoch 3 is nan",
    ]
    assert "<td" in pages.other_runs_table(others).data
    assert ">nan<" not in pages.other_runs_table(others).data


def test_other_data_sets_do_not_count(ledger_of):
    digits = RunConfig(LOSS, "digits", eta=0.8)
    ce = protocol.run("cifar10", "CELoss()", "symmetric", 0.8)
    ledger = ledger_of((digits, 80.0), (ce, 20.0), *three(96.0))
    runs, others = comparison.split(ledger, "mnist")
    assert list(runs["last"]) == [96.0] and not len(others)
    with pytest.raises(ValueError, match=r"dataset: expected one of 'mnist', .*, got 'digits'"):
        comparison.split(ledger, "digits")


def test_runs_on_arrays_are_preliminary_and_give_way_to_official_files(ledger_of):
    loss = from_paper("AGCE", "cifar10")
    arrays = three(44.0, 44.4, 44.8, dataset="cifar10-npz", loss=loss)
    cell = cell_of(ledger_of(*arrays), "cifar10")
    assert (cell.n, cell.outcome) == (3, "preliminary")
    ledger = ledger_of(*three(45.0, dataset="cifar10", loss=loss))
    cell = cell_of(ledger, "cifar10")
    assert (cell.n, cell.mean) == (1, 45.0)
    _, others = comparison.split(ledger, "cifar10")
    assert len(others) == 3 and others["reason"].str.startswith("arrays").all()


# --- what is said of a cell -----------------------------------------------------------------


def with_classes(ledger, *lost):
    """The ledger with shares by class; `lost` says which runs have lost a class."""
    shares = [[0.0 if gone and c == 7 else 98.0 for c in range(10)] for gone in lost]
    return ledger.assign(per_class=[[{"epoch": 50, "test_accuracy": x}] for x in shares])


def test_a_mixture_shows_every_seed_and_has_no_mean_of_all(ledger_of):
    ledger = ledger_of(*three(96.6, 88.0, 97.0))
    ledger = ledger.sort_values("init_seed", ignore_index=True)
    cell = cell_of(with_classes(ledger, False, True, False))
    words = "2 of 3 seeds keep all classes; those reach 96.80 % (all: 96.60, 88.00, 97.00)"
    assert (cell.outcome, cell.n, cell.mixture) == ("mixture", 3, words)
    assert cell.mean == pytest.approx(96.8) and math.isnan(cell.std)
    assert cell.difference == pytest.approx(96.8 - 96.59)
    cells = comparison.compare(with_classes(ledger, False, True, False), "mnist")
    for page in (pages.comparison_table(cells, 1), pages.runs_table(cells)):
        assert words in page.data
    assert words in comparison.beside(cells, "AGCE", "symmetric", 0.8)
    for same in ((True,) * 3, (False,) * 3):
        cell = cell_of(with_classes(ledger, *same))
        # What a spread of ten points says of a cell otherwise: it hides anything.
        assert (cell.outcome, cell.mixture) == ("reproduced", "")


def test_runs_of_before_the_shares_by_class_are_no_mixture(ledger_of):
    ledger = with_classes(ledger_of(*three(96.6, 88.0)), False, True)
    ledger.at[0, "per_class"] = math.nan
    assert cell_of(ledger).mixture == ""


@pytest.mark.parametrize(
    ("means", "outcome"),
    [
        ((96.59, 96.60, 96.61), "reproduced"),  # the paper: 96.59 ± 0.12
        ((97.39, 97.40, 97.41), "close"),
        ((10.0, 10.1, 10.2), "not reproduced"),
        ((96.59, 96.60), "preliminary"),
    ],
)
def test_a_cell_with_runs(ledger_of, means, outcome):
    cell = cell_of(ledger_of(*three(*means)))
    assert cell.outcome == outcome and cell.n == len(means)
    assert cell.mean == pytest.approx(statistics.mean(means))
    assert cell.std == pytest.approx(statistics.stdev(means))
    assert cell.difference == pytest.approx(statistics.mean(means) - 96.59)
    assert cell.best == cell.noisy_validation == pytest.approx(cell.mean + 1)
    assert cell.hours == 0.5


def test_the_columns_of_a_table_of_runs_have_their_own_numbers(ledger_of):
    ledger = ledger_of(*three(96.4)).assign(best=97.5, noisy_validation=95.5)
    html = pages.runs_table(comparison.compare(ledger, "mnist")).data
    head = re.findall("<th[^>]*>(.*?)</th>", html)
    row = dict(zip(head, re.findall("<td[^>]*>(.*?)</td>", html), strict=True))
    names = ("method", "last epoch", "best epoch", "epoch chosen by noisy labels", "minutes")
    assert [row[name] for name in names] == ["AGCE", "96.40", "97.50", "95.50", "30.0"]


def test_one_run_has_no_spread(ledger_of):
    ledger = ledger_of(*three(96.4))
    assert math.isnan(cell_of(ledger).std)
    cells = comparison.compare(ledger, "mnist")
    lines = comparison.beside(cells, "AGCE", "symmetric", 0.8).splitlines()
    assert lines == [
        "paper,  mnist AGCE sym .8: 96.59 ± 0.12, printed",
        "ledger, mnist AGCE sym .8: 96.40, 1 run(s), preliminary",
    ]
    own = pd.DataFrame({"last": [96.5, 95.25], "best": 99.0, "init_seed": [4, 7]})
    yours = [
        comparison.beside(cells, "AGCE", "symmetric", 0.8, runs).splitlines()[2]
        for runs in (own, own[:0])
    ]
    assert yours == [
        "yours,  mnist AGCE sym .8: 96.50 (seed 4), 95.25 (seed 7)",
        "yours,  mnist AGCE sym .8: not yet run",
    ]
    clean = comparison.beside(cells, "CE", "symmetric", 0.0)
    assert clean.splitlines()[1] == "ledger, mnist CE clean: not yet run"


@pytest.mark.parametrize(
    ("key", "c_r", "verdict"),
    [
        (("mnist", "CE", "symmetric", 0.2), 0.0, "not asymmetric"),
        (("mnist", "AUL", "symmetric", 0.8), 9 / 4, "asymmetric"),
        (("mnist", "AGCE", "symmetric", 0.8), 9 / 4 * 0.8**0.8, "asymmetric"),
        (("cifar10", "AUL", "asymmetric", 0.4), 1.5 * (4.5 / 5.5) ** 2, "asymmetric"),
        (("cifar10", "AEL", "asymmetric", 0.4), 1.5 * math.exp(-0.4), "asymmetric"),
        (("cifar10", "AEL", "clean", 0.0), math.inf, "clean labels"),
        (("cifar10", "NCE+AGCE", "asymmetric", 0.4), math.nan, "asymmetric in the limit"),
        (("cifar100", "NCE+AEL", "asymmetric", 0.4), math.nan, "not asymmetric"),
        (("cifar100", "NLNL", "symmetric", 0.4), math.nan, "n/a"),
    ],
)
def test_certificates(key, c_r, verdict):
    found = comparison.certificate(*key)
    assert found == (pytest.approx(c_r, nan_ok=True), verdict)


# --- what the cells say together ------------------------------------------------------------


def as_if_ours(change=lambda cell: cell.mean):
    cells = [c for c in CELLS if c.table < 3]
    frame = pd.DataFrame(printed_cells())
    return frame.assign(mean=[math.nan if c.mean is None else change(c) for c in cells])


def test_claims_read_ours_as_they_read_the_papers():
    claims = comparison.check_claims(as_if_ours())
    assert list(claims["ours"]) == list(claims["paper"])
    assert list(claims["our_cells"]) == list(claims["paper_cells"])
    assert set(claims["paper"]) == {"holds", "fails"}
    worse = comparison.check_claims(as_if_ours(lambda c: 0 if c.method == "AUL" else c.mean))
    about = claims["reading"].str.startswith("AUL above the four")
    assert claims.loc[about, "ours"].item() == "holds"
    assert worse.loc[about, "ours"].item() == "fails"
    assert worse.loc[about, "our_cells"].item() == "14 against"


def test_claims_of_one_data_set_count_its_cells_alone():
    claims = comparison.check_claims(as_if_ours(), "mnist")
    assert "<b>holds</b>: 7 for" in pages.claims_table(claims).data
    about = claims["reading"].str.startswith("AUL above the four")
    assert claims.loc[about, "our_cells"].item() == "7 for"
    assert not claims["reading"].str.contains("CIFAR settings").any()


@pytest.mark.parametrize("dataset", comparison.DATASETS)
def test_a_cell_is_done_again_in_full_or_in_small(tmp_path, monkeypatch, dataset):
    cell = ("NCE+RCE", "asymmetric", 0.4, 7)
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    config = comparison.redo(dataset, *cell)
    assert config.dataset == "digits" and (config.noise, config.eta) == cell[1:3]
    assert config.loss == str(from_paper(cell[0], dataset)) and config.augment_seed == 7

    asked = []
    monkeypatch.setattr(data, "load", lambda name, download=False: asked.append((name, download)))
    monkeypatch.setattr(comparison, "load_once", data.load)
    config = comparison.redo(dataset, *cell)
    assert config.dataset == dataset and (config.train_size, config.epochs) == (2000, 2)
    small = {"mnist": "mnist_cnn"}.get(dataset, "cifar_cnn_small")
    assert config.model == small and config.order_seed == 7
    config = comparison.redo(dataset, *cell, full=True)
    assert config == protocol.run(dataset, from_paper(cell[0], dataset), *cell[1:])
    assert asked == [(dataset, False), (dataset, True)]


def test_cost(ledger_of):
    runs, _ = comparison.split(ledger_of(*three(96.0, 96.1)), "mnist")
    (row,) = comparison.cost(runs).itertuples()
    assert (row.dataset, row.epochs, row.device, row.threads, row.runs) == (
        "mnist",
        50,
        "CPU",
        1,
        2,
    )
    assert (row.minutes, row.cpu_minutes, row.hours) == (30, 60, 1)
    assert comparison.cost(runs[:0]).empty


# --- what is drawn --------------------------------------------------------------------------


@pytest.mark.parametrize("means", [(), (96.4,), (96.4, 96.6, 96.8)])
def test_tables_show_the_papers_number_ours_and_the_way_to_the_ledger(ledger_of, means):
    ledger = ledger_of(*three(*means))
    cells = comparison.compare(ledger, "mnist")
    text = pages.comparison_table(cells, 1).data
    assert "96.59 ± 0.12" in text and "c r = 1.88" in text
    certified = (cells["table"] == 1) & cells["certificate"].isin(["asymmetric", "boundary"])
    assert text.count("rgba(") == 50 and "not yet run" not in text
    assert text.count("●") == certified.sum() + 1 > 12  # the cells and the legend
    assert ("96.40 (1)" in text) == (len(means) == 1)
    assert ("96.60 ± 0.20 (3)" in text) == (len(means) == 3)
    for difference, state, n in (("-0.19", "~ preliminary", 1), ("+0.01", "✓ reproduced", 3)):
        assert (f">{difference}</span>" in text) == (len(means) == n) == (state in text)
    assert "98.44" not in text and "98.44 ± 0.11" in pages.comparison_table(cells, 2).data
    shown = [text, pages.runs_table(cells).data, pages.other_runs_table(ledger[:0]).data]
    shown.append(pages.claims_table(comparison.check_claims(cells)).data)
    assert "our runs" not in shown[-1]
    assert all('href="../ledger.csv"' in html for html in shown)
    assert ("+1.00" in shown[1], "No cell has a run" in shown[1]) == (False, not means)
    for html in shown:
        assert ' id="T_table' not in html or html.count('id="T_table"') == 1


def test_what_is_not_yet_run_is_counted_and_costed(ledger_of):
    runs, _ = comparison.split(ledger_of(*three(96.4, 96.6)), "mnist")
    text = pages.not_yet_run(runs.assign(seconds=[1800, 5400]), 6, "Table 1.", "sweep").data
    assert "Not yet run: 4 of 6 runs" in text and "<code>sweep</code>" in text
    assert "took 30 to 90 minutes each" in text and "some 4 hours" in text
    alone = pages.not_yet_run(runs[:1].assign(seconds=1800), 2, "Table 1.", "sweep").data
    assert "The one that is done took 30 minutes, so the rest is some 0 hours" in alone
    assert "No such run is on record" in pages.not_yet_run(runs[:0], 6, "", "").data
    assert pages.not_yet_run(runs, 2, "", "").data == ""


def test_cells_without_a_target_and_quoted_ones_are_marked(ledger_of):
    text = pages.comparison_table(comparison.compare(ledger_of(), "cifar100"), 1).data
    assert text.count("no target in hand") == 25 + 1 and text.count("†") == 25 + 1
    fl = from_paper("FL", "cifar100")
    cells = comparison.compare(
        ledger_of((protocol.run("cifar100", fl, "symmetric", 0.4), 40.0)), "cifar100"
    )
    ran = pages.runs_table(cells).data
    assert "no\xa0target\xa0in\xa0hand" in ran and "~ preliminary" in ran
    assert "nan" not in text + pages.comparison_table(cells, 1).data + ran


def test_curves_have_a_panel_per_column_and_one_look_per_method(ledger_of):
    assert figures.accuracy_curves(comparison.split(ledger_of(), "mnist")[0], "mnist") is None
    aul = from_paper("AUL", "mnist")
    ledger = ledger_of(*three(96.0, 96.1), (protocol.run("mnist", aul, "asymmetric", 0.4), 98.0))
    ledger = ledger_of((protocol.run("mnist", LOSS, "asymmetric", 0.4), 97.0))
    figure = figures.accuracy_curves(comparison.split(ledger, "mnist")[0], "mnist")
    shown = {
        ax.get_title(): {line.get_label(): line.get_color() for line in ax.get_lines()}
        for ax in figure.axes
    }
    assert {title: set(lines) for title, lines in shown.items()} == {
        "sym .8": {"AGCE"},
        "asym .4": {"AUL", "AGCE"},
    }
    assert shown["sym .8"]["AGCE"] == shown["asym .4"]["AGCE"] != shown["asym .4"]["AUL"]
    plt.close(figure)


def test_pictures_of_all_cells(ledger_of):
    ledger = ledger_of(*three(96.6, 96.6, 96.6))
    mnist = comparison.compare(ledger, "mnist")
    figure = figures.cell_states(pd.concat([mnist, comparison.compare(ledger, "cifar10")]))
    signs = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert (signs.count("✓"), signs.count("·")) == (1, 90 + 117 - 1)
    both = figures.ours_and_theirs(mnist)
    stars = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for ax in both.axes
        for line in ax.get_lines()
        if line.get_marker() == "*" and len(line.get_xdata())
    ]
    assert stars == [(0.8, pytest.approx(96.6))]
    plt.close("all")


def test_each_panel_draws_what_its_axis_says():
    """Curves of accuracy and of labels repeated, which look alike."""
    run = {"method": "AGCE", "dataset": "cifar10", "train_size": 9, "epochs": 2, "model": "m"}
    run |= {"column": "sym .8", "test_accuracy": [10.0, 80.0], "memorised": [1.0, 7.0]}
    run |= {"fitted": [2.0, 9.0]}
    runs = pd.DataFrame([run, run | {"test_accuracy": [20.0, 90.0]}])
    curves = figures.accuracy_curves(runs, "mnist")
    right, wrong = figures.reduced_figure(runs).axes
    assert right.get_ylabel().startswith("accuracy") and wrong.get_ylabel().startswith("wrong")
    for ax, expected in ((curves.axes[0], [15, 85]), (right, [15, 85]), (wrong, [1, 7])):
        (line,) = ax.get_lines()
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2], expected)
    plt.close("all")


def test_marks_say_which_cells_are_certified():
    rows = [
        ("AGCE", "clean", 0.0, "clean labels"),
        ("AGCE", "symmetric", 0.8, "asymmetric in the limit"),
        ("AGCE", "asymmetric", 0.4, "not asymmetric"),
        ("AGCE", "asymmetric", 0.3, "n/a"),
    ]
    cells = pd.DataFrame(rows, columns=["method", "noise", "eta", "certificate"])
    figure = figures.ours_and_theirs(cells.assign(paper_mean=50.0, n=0, mean=math.nan))
    own = figures.method_look("AGCE")["color"]
    looks = {"o": {own: "filled", "white": "hollow"}, "x": {own: "none"}}
    shown = {
        ax.get_title(): [
            (float(line.get_xdata()[0]), looks[line.get_marker()][line.get_markerfacecolor()])
            for line in ax.get_lines()
            if line.get_marker() in looks
        ]
        for ax in figure.axes
    }
    assert shown == {
        "symmetric noise": [(0, "filled"), (0.8, "filled")],
        "asymmetric noise": [(0, "filled"), (0.4, "hollow"), (0.3, "none")],
    }
    plt.close(figure)


def test_a_picture_of_cells_reads_from_top_to_bottom_in_the_colours_of_its_legend():
    rows = [
        ("a", "CE", "clean", "reproduced"),
        ("a", "CE", "sym .8", "close"),
        ("a", "AGCE", "clean", "mixture"),
        ("a", "AGCE", "sym .8", "not yet run"),
        ("b", "CE", "clean", "preliminary"),
    ]
    cells = pd.DataFrame(rows, columns=["dataset", "method", "column", "outcome"])
    figure = figures.cell_states(cells)
    ax, _ = figure.axes
    mesh = ax.collections[0]
    drawn = [to_hex(colour) for colour in mesh.to_rgba(mesh.get_array()).reshape(-1, 4)]
    assert drawn == [pages.OUTCOME_COLOURS[row[-1]].lower() for row in rows[:4]]
    assert ax.yaxis_inverted()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["CE", "AGCE"]
    plt.close(figure)


def test_the_same_figure_is_the_same_file(ledger_of):
    cells, files = comparison.compare(ledger_of(), "mnist"), []
    for _ in range(2):
        figures.set_style()
        found = io.BytesIO()
        figures.ours_and_theirs(cells).savefig(found, format="svg", metadata={"Date": None})
        files.append(found.getvalue())
        plt.close("all")
    assert files[0] == files[1] and b"<dc:date>" not in files[0]
