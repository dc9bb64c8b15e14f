"""The grids beside the tables: their size, their thresholds, their controls, their readings."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from alfs_utils import noise, records
from alfs_utils.asymmetry import asymmetry_ratio, certify
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    BiasedMAELoss,
    from_paper,
    loss_from_string,
)
from alfs_utils.paper import protocol, sentences, which_runs

ROW = [Fraction(1, 5)] + [Fraction(4, 45)] * 9  # a class under symmetric noise 0.8
AGCE_HALF, AGCE_CONCAVE, AUL_CONCAVE, AUL_TWO, AEL = which_runs.FIGURE_3
every_panel = pytest.mark.parametrize("panel", which_runs.FIGURE_3, ids=lambda p: p.name)


def test_the_panels_are_the_papers():
    names = [panel.name for panel in which_runs.FIGURE_3]
    assert names == ["AGCE, q = 0.5", "AGCE, q = 1.5", "AUL, p = 0.5", "AUL, p = 2", "AEL"]
    assert str(AUL_TWO.losses[1]) == str(AULLoss(a=1.5, p=2))
    assert [loss.a for loss in AEL.losses] == [0.5, 1, 1.5, 3]
    assert 0.3 in AGCE_HALF.values  # the one value that the paper's text has


def test_the_grid_is_20_losses_and_5_controls_in_the_papers_protocol():
    configs = which_runs.figure_3(seeds=(0, 1))
    assert len(configs) == len(set(configs)) == 2 * (20 + 5)
    for config in configs:
        again = protocol.run("cifar10", config.loss, "symmetric", 0.8, config.init_seed)
        assert config == again and config.epochs == 120 and config.model == "cifar_cnn"
    assert [c.init_seed for c in configs] == [0] * 25 + [1] * 25
    assert which_runs.figure_3("cifar10-npz")[0].dataset == "cifar10-npz"
    scaled = [loss_from_string(c.loss) for c in configs[20:25]]
    for panel, control in zip(which_runs.FIGURE_3, scaled, strict=True):
        assert str(control) == str(panel.control(10))
        assert control.terms[0][1].a == panel.values[-1]


def test_the_thresholds_are_exact():
    """c^2 = 81/16: a/(a + 1) = 16/81 gives 16/65, (a - 1)/a = 16/81 gives 81/65."""
    found = [panel.threshold(ROW) for panel in (AGCE_HALF, AGCE_CONCAVE, AUL_CONCAVE, AUL_TWO)]
    assert found == [Fraction(16, 65), Fraction(16, 65), Fraction(81, 65), Fraction(9, 5)]
    assert AEL.threshold(ROW) == pytest.approx(1 / np.log(9 / 4), rel=1e-12)


@every_panel
def test_the_printed_ratio_crosses_1_over_c_at_the_threshold(panel):
    threshold = float(panel.threshold(ROW))
    loss = which_runs.Panel(panel.family, (threshold,), panel.fixed).losses[0]
    assert 9 / 4 * asymmetry_ratio(loss, "printed") == pytest.approx(1, rel=1e-12)
    assert panel.values[0] < threshold < panel.values[-1], "the values lie on one side"


@pytest.mark.parametrize("panel", [AGCE_HALF, AUL_TWO, AEL], ids=lambda p: p.name)
def test_convex_panels_are_asymmetric_from_the_threshold_on(panel):
    T = noise.symmetric(10, 0.8)
    verdicts = [certify(loss, T).asymmetric for loss in panel.losses]
    assert verdicts == [a >= panel.threshold(ROW) for a in panel.values]
    assert certify(panel.control(), T).asymmetric, "a factor changes no certificate"


@pytest.mark.parametrize("panel", [AGCE_CONCAVE, AUL_CONCAVE], ids=lambda p: p.name)
def test_concave_panels_are_asymmetric_throughout(panel):
    assert all(certify(loss, noise.symmetric(10, 0.8)).asymmetric for loss in panel.losses)


@every_panel
@pytest.mark.parametrize("k", [2, 10, 100])
def test_controls_have_the_slope_of_the_smallest_a(panel, k):
    slopes = {
        AGCELoss: lambda a, x: (a + 1 / k) ** (x - 1),
        AULLoss: lambda a, x: (a - 1 / k) ** (x - 1),
        AELLoss: lambda a, x: np.exp(-1 / (k * a)) / a,
    }
    wanted = slopes[panel.family](panel.values[0], dict(panel.fixed).get("q", 2))
    if panel.family is AULLoss:
        wanted = slopes[AULLoss](panel.values[0], dict(panel.fixed)["p"])
    control = loss_from_string(str(panel.control(k)))  # as a record stores it
    assert -control.slope(1 / k) == pytest.approx(wanted, rel=1e-12)
    assert -control.slope(1 / k) == pytest.approx(-panel.losses[0].slope(1 / k), rel=1e-12)
    ratios = [asymmetry_ratio(loss, "printed") for loss in (control, panel.losses[-1])]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-12)


def test_figure_5_is_ten_cells_of_table_1():
    configs = which_runs.figure_5()
    assert [c.eta for c in configs] == [0, 0.2, 0.4, 0.6, 0.8] * 2
    losses = {c.loss for c in configs}
    assert losses == {str(from_paper(name, "mnist")) for name in ("GCE", "AGCE")}
    assert configs[0].loss.startswith("GCE")
    # The ids under which these two were trained.
    assert records.run_id(configs[4]) == "f37d3a0dfa08"
    assert records.run_id(configs[9]) == "489a691d8b9e"


def test_collapse_has_the_tables_setting_between_both_sides_of_the_threshold():
    T = noise.asymmetric("cifar10", 0.4)
    for panel, method in zip(which_runs.COLLAPSE, ("AGCE", "AUL", "AEL"), strict=True):
        assert str(panel.losses[1]) == str(from_paper(method, "cifar10"))
        assert [certify(loss, T).asymmetric for loss in panel.losses] == [False, True, True]
        assert certify(panel.control(), T).asymmetric
    runs = which_runs.collapse(seeds=(0, 1))
    assert len(set(runs)) == 2 * (3 * 4 + 2)
    assert {str(from_paper(name, "cifar10")) for name in ("CE", "GCE")} < {c.loss for c in runs}
    assert {(c.noise, c.eta, c.counts, c.epochs) for c in runs} == {
        ("asymmetric", 0.4, "official", 120)
    }


def test_superclass_runs_are_table_2_with_another_noise():
    blocks = {replace(c, counts="iid") for c in which_runs.table(2, "cifar100", (0,))}
    runs = which_runs.superclass()
    assert {replace(c, noise="asymmetric") for c in runs} == blocks and len(runs) == len(blocks)
    assert {c.noise for c in runs} == {"asymmetric-superclass"}


def test_reduced_runs_differ_from_the_protocol_in_four_fields_only():
    runs = which_runs.reduced("cifar10-npz", (0, 1))
    assert len(runs) == len(set(runs)) == 2 * 3 * 5
    recipe = {"model": "cifar_cnn", "train_size": 0, "epochs": 120, "augment": True}
    for config in runs:
        again = (config.dataset, config.loss, config.noise, config.eta, config.init_seed)
        assert replace(config, **recipe) == protocol.run(*again)
    assert {(c.noise, c.eta, c.counts) for c in runs} == {
        ("symmetric", 0.4, "official"),
        ("asymmetric", 0.4, "official"),
        ("cifar10n-worst", 0.0, "iid"),
    }
    # The id under which one of them was trained.
    assert records.run_id(runs[0]) == "d2a388b74d51"


def test_tuning_crosses_the_settings():
    mnist, cifar = which_runs.tuning("mnist"), which_runs.tuning("cifar10")
    assert [c.loss for c in mnist] == [c.loss for c in cifar]
    assert {c.model for c in mnist} == {"mnist_cnn"} and {c.model for c in cifar} == {"cifar_cnn"}
    for own, other in zip(mnist[::2], mnist[1::2], strict=True):
        # The paper's advice, which its own settings follow: a higher ratio for the simpler data.
        ratios = [asymmetry_ratio(loss_from_string(c.loss), "repaired") for c in (own, other)]
        assert ratios[0] > ratios[1]
    assert len(set(mnist + cifar)) == 12


def test_the_advice_is_right_where_a_data_sets_own_setting_ends_higher():
    configs = which_runs.tuning("mnist") + which_runs.tuning("cifar10-npz")
    own = {
        (name, str(from_paper(method, name)))
        for name in ("mnist", "cifar10")
        for method in ("AGCE", "AUL", "AEL")
    }
    mine = [(c.dataset.removesuffix("-npz"), c.loss) in own for c in configs]
    runs = pd.DataFrame(
        {"dataset": [c.dataset for c in configs], "loss": [c.loss for c in configs]}
    )
    good = runs.assign(last=[90.0 if own else 80.0 for own in mine])
    assert [answer for *_, answer in sentences.tuning_answers(good)] == [True] * 6
    bad = runs.assign(last=80.0)
    assert [answer for *_, answer in sentences.tuning_answers(bad)] == [False] * 6
    half = sentences.tuning_answers(good[good["dataset"] == "mnist"])
    assert {(name, answer) for name, _, answer in half} == {("mnist", True), ("cifar10", None)}
    assert [answer for *_, answer in sentences.tuning_answers(good[mine])] == [None] * 6


def ends(best=60.0, **changes):
    """Runs that drop as the paper describes it, one list per panel in the order of a."""
    told = {
        "half": [30, 12, 3, 1],
        "concave": [1, 5, 0, 2],
        "below_one": [0, 0, 5, 1],
        "two": [20, 9, 4, 4],
        "ael": [30, 20, 9, 1],
    } | changes
    rows = [
        {"loss": str(loss), "best": best, "last": best - drop}
        for panel, found in zip(which_runs.FIGURE_3, told.values(), strict=True)
        for loss, drop in zip(panel.losses, found, strict=True)
        if drop is not None
    ]
    return pd.DataFrame(rows)


def test_answers_to_section_4_1():
    assert [answer for *_, answer in sentences.figure_3_answers(ends())] == [True] * 7
    assert [answer for *_, answer in sentences.figure_3_answers(ends().iloc[:0])] == [None] * 7
    for changes, wrong in [
        ({"concave": [1, 5.1, 0, 2]}, [0]),
        ({"half": [5, 5, 3, 1]}, [1, 2]),
        ({"half": [30, 5, 3, 1]}, [2]),
        ({"half": [30, 12, 12, 13]}, [3]),
        ({"below_one": [0, 0, 0, 6]}, [4]),
        ({"two": [9, 20, 4, 4]}, [5]),
        ({"two": [4, 4, 4, 4]}, [5]),
        ({"ael": [1, 9, 20, 30]}, [6]),
    ]:
        found = [answer for *_, answer in sentences.figure_3_answers(ends(**changes))]
        assert [i for i, answer in enumerate(found) if not answer] == wrong, changes
    some = [answer for *_, answer in sentences.figure_3_answers(ends(two=[20, 9, None, 4]))]
    assert some == [True] * 5 + [None, True]


def test_networks_that_learn_nothing_speak_for_no_sentence():
    assert [answer for *_, answer in sentences.figure_3_answers(ends(best=20.0))] == [None] * 7
    assert [answer for *_, answer in sentences.figure_3_answers(ends(best=20.1))] == [True] * 7


FIGURE_5 = {(c.loss.split("Loss")[0], c.eta): c for c in which_runs.figure_5()}


def seen(drop=6.0, knn=49.0, gce=0.1, agce=0.2):
    """The ten runs of Figure 5 and their features, the same at every rate."""
    rows = [{"id": records.run_id(c), "best": 90.0, "last": 90.0 - drop} for c in FIGURE_5.values()]
    silhouette = {"GCE": gce, "AGCE": agce}
    features = {
        records.run_id(c): {"knn": knn, "silhouette": silhouette[name]}
        for (name, _), c in FIGURE_5.items()
    }
    return pd.DataFrame(rows), features


def test_answers_to_section_4_2_on_figure_5():
    def found(runs, features):
        return [answer for *_, answer in sentences.figure_5_answers(runs, features)]

    assert found(*seen()) == [True] * 9
    assert found(*seen(drop=5.0)) == [False] * 4 + [True] * 5
    assert found(*seen(knn=50.0)) == [True] * 4 + [False] + [True] * 4
    assert found(*seen(agce=0.1)) == [True] * 5 + [False] * 4
    runs, features = seen()
    assert found(runs.iloc[:0], {}) == [None] * 9
    gce, agce = (records.run_id(FIGURE_5[name, 0.8]) for name in ("GCE", "AGCE"))
    assert found(runs[runs["id"] != gce], features) == [True] * 3 + [None] + [True] * 5
    assert found(runs[runs["id"] != agce], features) == [True] * 9, "AGCE's drop is not asked for"
    del features[agce]
    assert found(runs, features) == [True] * 8 + [None]


# --- reduced runs ---------------------------------------------------------------------------


def reduced_ledger(**last):
    """A ledger of reduced runs with these last accuracies; best 3 above, 60 - last repeated."""
    runs = {c.loss: c for c in which_runs.reduced("cifar10-npz") if c.noise == "symmetric"}
    names = [name.replace("_", "+") for name in last]
    configs = [runs[str(from_paper(name, "cifar10"))] for name in names]
    return pd.DataFrame(
        {
            "id": [records.run_id(c) for c in configs],
            "loss": [c.loss for c in configs],
            "init_seed": 0,
            "status": "finished",
            "last": list(last.values()),
            "best": [value + 3 for value in last.values()],
            "repeated": [60 - value for value in last.values()],
        }
    )


ALL = {"NCE_AGCE": 54.0, "AGCE": 52.0, "GCE": 50.0, "CE": 40.0, "AUL": 51.0}


def test_reduced_runs_are_found_and_named():
    ledger = reduced_ledger(**ALL)
    found = which_runs.reduced_runs(ledger, "symmetric")
    assert list(found["method"]) == ["CE", "GCE", "AGCE", "AUL", "NCE+AGCE"]
    assert list(found["last"]) == [40, 50, 52, 51, 54]
    assert not len(which_runs.reduced_runs(ledger, "cifar10n-worst"))
    other = ledger.assign(id="0" * 12), ledger.assign(status="the training loss of epoch 1 is nan")
    assert not any(len(which_runs.reduced_runs(ledger, "symmetric")) for ledger in other)
    assert not len(which_runs.reduced_runs(ledger.iloc[:0], "symmetric"))


def test_official_files_stand_for_arrays():
    arrays = reduced_ledger(**ALL)
    files = [c for c in which_runs.reduced("cifar10") if c.noise == "symmetric"]
    own = {c.loss: records.run_id(c) for c in files}
    official = arrays.assign(id=arrays["loss"].map(own), last=70.0)
    both = which_runs.reduced_runs(pd.concat([arrays, official]), "symmetric")
    assert list(both["last"]) == [70.0] * 5
    assert len(which_runs.reduced_runs(pd.concat([arrays, official[:2]]), "symmetric")) == 5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [False, True, True, True]),
        ({"AUL": 49.9}, [False, True, False, True]),
        ({"AUL": 39.9}, [False, False, False, False]),
        ({"GCE": 39.9}, [False, False, True, False]),
        ({"NCE_AGCE": None}, [False, None, None, None]),
        ({"CE": None}, [None, None, True, None]),
    ],
)
def test_the_readings_can_come_out_either_way(changes, expected):
    last = {name: value for name, value in (ALL | changes).items() if value is not None}
    runs = which_runs.reduced_runs(reduced_ledger(**last), "symmetric")
    assert [answer for _, answer in sentences.reduced_answers(runs)] == expected
    values = [last.get(name) for name in ("AGCE", "AUL", "NCE_AGCE", "GCE")]
    margin = np.nan if None in values else min(values[:3]) - values[3]
    assert sentences.reduced_margin(runs) == pytest.approx(margin, nan_ok=True)
    if "CE" in last:
        higher = runs.assign(best=runs["last"] + 5.1)
        assert sentences.reduced_answers(higher)[0][1] is True
        assert sentences.reduced_answers(higher.assign(best=runs["last"] + 5))[0][1] is False


def test_the_successors_are_certified_and_their_settings_follow_from_c_and_k():
    configs = which_runs.successors()
    assert len(set(configs)) == 8 and len(which_runs.successors(seeds=(0, 1))) == 16
    for config in configs:
        flips = "mnist" if config.noise == "asymmetric" else 10
        T = getattr(noise, config.noise)(flips, config.eta)
        loss = loss_from_string(config.loss)
        assert certify(loss, T).asymmetric, config
        sums = "NCELoss" in config.loss
        assert (config.l1, config.weight_decay) == ((1e-6, 0) if sums else (0, 1e-3))
        changed = replace(config, l1=0.0, weight_decay=1e-3)
        assert changed == protocol.run("mnist", loss, config.noise, config.eta, 0)
        if isinstance(loss, BiasedMAELoss):
            assert loss.eps == np.floor(5 * np.log(noise.clean_level(T))) / 10
