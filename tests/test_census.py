"""Short runs, and how chapter 12b reads them."""

import contextlib
import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch

from alfs_utils import data, records, training
from alfs_utils.__main__ import main
from alfs_utils.classes import CLASS_NAMES
from alfs_utils.losses import AGCELoss, CELoss
from alfs_utils.paper import census, protocol, short_runs
from alfs_utils.paper.short_runs import Trial, watch
from alfs_utils.training import RunConfig

CONFIG = RunConfig(
    3 * AGCELoss(4, 0.2), noise="asymmetric", eta=0.4, epochs=3, batch_size=20, lr=0.02
)


@pytest.fixture(scope="module")
def watched():
    return watch(Trial(CONFIG, epochs=3))


def test_a_trial_that_changes_nothing_is_the_run(watched):
    history = training.train(CONFIG)
    assert watched["test_accuracy"] == pytest.approx(
        history.per_class[-1]["test_accuracy"], abs=0.06
    )
    steps = 1437 // 20 + 1
    assert watched["steps"] == [0, 25, 50, steps, 2 * steps, 3 * steps]
    first = np.average(watched["train_loss"][:3], weights=[500, 500, 437])
    losses = [first, *watched["train_loss"][3:]]
    assert losses == pytest.approx(history.train_loss, rel=1e-4)


def test_what_each_look_counts(watched):
    given = training.noisy_labels(CONFIG, data.load("digits")).labels
    k_counts = np.bincount(given, minlength=10)
    assert (np.sum(watched["given"][:3], axis=0) == k_counts).all()
    assert [sum(p) for p in watched["predicted"]] == [500, 500, 437, 1437, 1437]
    flips = {c for c, lead in enumerate(watched["lead"][0]) if lead is not None}
    assert flips == {2, 3, 5, 6, 7}


def test_lead_and_accuracy_of_the_first_look(watched):
    run = training.loop.Run(CONFIG, torch.device("cpu"))
    images, labels = run.dataset.test_images, run.dataset.test_labels
    with torch.no_grad():  # with batch statistics: the network is in training mode
        parts = run.dataset.normalise(images).split(250)
        logits = torch.cat([run.network(part) for part in parts])[labels == 7]
    assert watched["lead"][0][7] == pytest.approx(
        (logits[:, 7] - logits[:, 1]).mean().item(), abs=2e-3
    )
    right = 100 * (logits.argmax(1) == 7).double().mean().item()
    assert watched["accuracy"][0][7] == pytest.approx(right, abs=0.01)


CHANGES = [
    {"ce_steps": 30},
    {"warm_up": 30},
    {"logit_bias": 2.0},
    {"output_bias": True},
    {"balanced": True},
    {"batch_norm": False},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_each_change_changes_the_run(watched, change):
    changed = watch(Trial(replace(CONFIG, train_size=600), **change))
    same = watch(Trial(replace(CONFIG, train_size=600)))
    assert changed["status"] == "finished"
    assert changed["train_loss"] != same["train_loss"]
    assert changed["id"] != same["id"]


def test_cross_entropy_comes_first_and_then_goes():
    """All steps with CE are a run of CE; the ids of the two differ, the numbers do not."""
    short = replace(CONFIG, train_size=300)
    ours = watch(Trial(short, ce_steps=15))
    theirs = watch(Trial(replace(short, loss=CELoss())))
    assert ours["train_loss"] == theirs["train_loss"]
    assert ours["test_accuracy"] == theirs["test_accuracy"]
    assert watch(Trial(short, ce_steps=14))["train_loss"] != theirs["train_loss"]


def test_a_loss_that_is_not_finite_ends_the_run():
    wild = watch(Trial(replace(CONFIG, loss="1e39 * CELoss()", train_size=300)))
    assert "the training loss is" in wild["status"]


def test_balanced_labels_weigh_one_over_their_count():
    trial = Trial(replace(CONFIG, loss=AGCELoss(4, 0.2)), balanced=True)
    run = short_runs._Watched(trial)
    counts = torch.bincount(run.given, minlength=10)
    total = run.criterion.weight * counts
    assert torch.allclose(total, torch.full((10,), len(run.given) / 10))


def test_when_a_run_is_looked_at():
    due = [step for step in range(1, 301) if short_runs._is_due(step)]
    assert due == [25, 50, 75, 100, 150, 200, 250, 300]


def test_what_each_change_does():
    """The rate of a warm-up, the bias of the last layer, and the lead that a logit bias gives."""
    small = replace(CONFIG, train_size=200)
    run = short_runs._Watched(Trial(small, output_bias=True, warm_up=4))
    shares = torch.bincount(run.given, minlength=10) / 200
    assert torch.allclose(run.network[-1].bias.softmax(0), shares)
    places, rates = [slice(i, i + 20) for i in range(0, 120, 20)], []
    for index, images in run.dataset.train_batches(torch.arange(200), places):
        run.step(index, images)
        run.progress.step += 1
        rates.append(run.optimizer.param_groups[0]["lr"] / small.lr)
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    biased = short_runs._Biased(CELoss(), 2.0)(torch.zeros(1, 3), torch.tensor([1]))
    assert biased.item() == pytest.approx(np.log(1 + 2 * np.exp(-2)))


def test_ids_of_trials_are_their_own():
    trials = census.trials()
    assert len({t.id for t in trials}) == len(trials)
    assert Trial(CONFIG).id == "6ec5e247ca25"
    parts = [set(part) for part in census.PARTS.values()]
    assert len(parts[3] & parts[0]) == 3  # the crossing has three runs of the census


def test_what_is_done_is_not_done_again(tmp_path, capsys):
    trials = [Trial(replace(CONFIG, train_size=200).seeded(s)) for s in (0, 1)]
    assert len(list(short_runs.run(trials[:1], tmp_path))) == 1
    path = tmp_path / short_runs.FILE
    with open(path, "a") as file:  # a writer was killed in its line
        file.write(path.read_text()[:50])
    with pytest.warns(RuntimeWarning, match="line 2: left out"):
        assert len(list(short_runs.run(trials, tmp_path))) == 1
    with pytest.warns(RuntimeWarning):
        frame = short_runs.load(tmp_path, trials)
    assert list(frame["init_seed"]) == [0, 1]
    changed = json.loads(path.read_text().splitlines()[0]) | {"test_accuracy": [100.0] * 10}
    path.write_text(json.dumps(changed) + "\n")
    with pytest.warns(RuntimeWarning, match="checksum"):
        assert short_runs.load(tmp_path, trials).empty


@pytest.mark.parametrize("mine", [True, False])
def test_a_trial_of_another_process_is_not_trained_twice(tmp_path, monkeypatch, mine):
    """It was done while this process waited for its turn, or the other one is at work on it."""
    trial = census.trial("AGCE", "asymmetric", 0.4, 0)

    @contextlib.contextmanager
    def late(*_):
        if mine:
            add(tmp_path, trial, KEPT)
        yield mine

    monkeypatch.setattr(short_runs, "locked", late)
    monkeypatch.setattr(short_runs, "watch", lambda trial: pytest.fail("trained"))
    assert not list(short_runs.run([trial], tmp_path))


def test_float32_stands_for_a_run_that_is_missing(ledger, capsys, monkeypatch):
    low = census.trial("AGCE", "asymmetric", 0.4, 3)
    whole = short_runs.in_float32(low)
    assert (low.config.precision, whole.config.precision) == ("bfloat16", "float32")
    assert whole.id != low.id and replace(whole, config=low.config) == low
    add(ledger, whole, lose(3))
    assert short_runs.load(ledger, [low])["precision"].to_list() == ["float32"]
    add(ledger, low, KEPT)
    assert short_runs.load(ledger, [low])["precision"].to_list() == ["bfloat16"]

    asked = []
    monkeypatch.setattr(short_runs, "run", lambda trials, _: asked.extend(trials) or ())
    part = ["census", "--results", str(ledger), "--part", "asymmetric 0.4", "--float32"]
    assert main(part) == 0
    missing = [t for t in census.PARTS["asymmetric 0.4"] if short_runs.load(ledger, [t]).empty]
    assert len(missing) == 76 and asked == [short_runs.in_float32(t) for t in missing]


def test_the_command_lists_the_parts(tmp_path, capsys):
    assert main(["census", "--results", str(tmp_path), "--list"]) == 0
    assert "   0 of   80  asymmetric 0.4\n" in capsys.readouterr().out


# --- readings ---


def test_lost_and_since():
    looks = [[0, 50, 5], [90, 50, 5], [9, 50, 0], [0, 95, 9.9]]
    steps = [0, 50, 100, 117]
    assert census.lost(looks[-1]) == [0, 2] and census.lost([10.0, 9.99]) == [1]
    assert [census.since(steps, looks, c) for c in range(3)] == [100, None, 0]


def test_split_finds_the_factor_that_made_the_numbers():
    i, j, n = np.indices((6, 6, 3))
    assert census.split(2.0 * i)["initial weights"] == pytest.approx(1)
    assert census.split(j + 0 * i)["order"] == pytest.approx(1)
    both = census.split((i - 2.5) * (j - 2.5))
    assert both["interactions"] == pytest.approx(1)
    mixed = census.split(i + n)
    assert mixed["initial weights"] == pytest.approx((35 / 12) / (35 / 12 + 2 / 3))
    assert census.split(np.ones((2, 2, 2))).isna().all()


def frame(*runs):
    rows = [{"steps": [0, 100], "lead": [None, lead], "test_accuracy": t} for lead, t in runs]
    return pd.DataFrame(rows)


def test_the_rule_of_the_early_leads():
    runs = frame(
        ([None, -1.0, 2.0], [99, 0, 99]),
        ([None, -0.2, -3.0], [99, 97, 0]),
        ([None, 0.5, 1.5], [99, 3, 98]),
    )
    assert census.foreseen(runs) == {
        "classes": 6, "lost": 3, "foreseen": 2, "false": 1, "mistakes": 2, "none": 3,
    }  # fmt: skip
    assert census.threshold(runs) == 1.0
    # A lead that is the limit is not below it.
    assert census.foreseen(runs, limit=0.5)["foreseen"] == 2
    assert census.foreseen(runs, limit=-0.2)["false"] == 0


def test_a_mixture_has_no_mean_of_all():
    kept, gone = [99.0] * 10, [99.0] * 9 + [0.1]
    cell = census.mixture([98.0, 88.0, 99.0, 89.0], [kept, gone, kept, gone])
    assert cell.mixed
    assert str(cell) == "2 of 4 seeds keep all classes; those reach 98.50 %"
    assert cell.three == (1 / 8, cell.kept.low**3, cell.kept.high**3)
    assert not census.mixture([98.0], [kept]).mixed
    assert str(census.mixture([88.0], [gone])) == "0 of 1 seeds keep all classes"


KEPT = [99.0] * 10


def lose(*classes):
    return [0.5 if c in classes else 99.0 for c in range(10)]


def add(folder, trial, shares, **more):
    """Write a made-up run."""
    counts = [0 if share < 10 else 100 for share in shares]
    looks = {"predicted": [counts], "given": [[100] * 10], "steps": [0, 100]}
    looks |= {"test_accuracy": shares, "lead": [None, [None] * 10]} | more
    record = {"id": trial.id, "config": asdict(trial.config), "start": trial.start, **looks}
    records.pack(records.seal(record), folder / short_runs.FILE)


@pytest.fixture
def ledger(tmp_path):
    """Made-up runs: AGCE loses 7 with seeds 0 and 1, and with cross entropy first with neither."""

    for seed, shares in enumerate([lose(7), lose(3, 7), KEPT]):
        add(tmp_path, census.trial("AGCE", "asymmetric", 0.4, seed), shares)
    for seed in range(2):
        add(tmp_path, census.trial("AGCE", "asymmetric", 0.4, seed, ce_steps=100), KEPT)
    return tmp_path


def test_the_tables_of_a_part_of_the_census(ledger):
    table = census.losing_table(ledger)
    assert table.loc["AGCE", "asymmetric 0.4"] == "2 of 3 (9 to 99 %)"
    assert table.loc["CE", "asymmetric 0.4"] == table.loc["AGCE", "symmetric 0.8"] == "–"
    cures = census.changed_table(ledger, census.CURES)
    row = cures.loc["100 steps of CE first"]
    assert row["lose a class"].startswith("0 of 2") and row["same seeds without"] == "2 of 2"
    assert row["p"] == 0.5 and row["accuracy"] == 99
    assert cures.loc["NCE beside it", "lose a class"] == "–"


def test_whole_runs_and_what_a_cure_costs(ledger, capsys, monkeypatch):
    name = "100 steps of CE first"
    trials = census.whole(name)
    assert len(trials) == 6 and {(t.epochs, t.config.epochs) for t in trials} == {(50, 50)}
    assert {(t.ce_steps, t.config.precision) for t in trials} == {(100, "float32")}
    assert census.cost_table(ledger).empty
    assert main(["census", "--results", str(ledger), "--whole", "hope"]) == 2
    assert "--whole: expected one of '100 steps" in capsys.readouterr().err

    # Symmetric 0.8, two seeds; of the second, the run of AGCE alone is missing.
    for trial, overall in ((trials[1], 96.5), (trials[4], 90.0)):
        add(ledger, trial, KEPT, overall=overall)
    tables = census.trial("AGCE", "symmetric", 0.8, 0, precision="float32").config
    assert protocol.differences(tables) == {} and protocol.row_of(tables) == "AGCE"
    alone = {records.run_id(tables): {"test_accuracy": [50.0, 97.0]}}
    monkeypatch.setattr(records, "find", lambda config, _: alone.get(records.run_id(config)))
    table = census.cost_table(ledger)
    assert table.to_numpy().tolist() == [[name, "symmetric", 0.8, 1, 96.5, 97.0, -0.5]]


def test_alarms_of_runs(ledger):
    runs = census.runs_of(ledger, ("AGCE",))
    found = {"kept": 27, "false": 0, "lost": 3, "missing": 0, "between": 0}
    assert census.alarms(runs) == found
    runs.at[2, "predicted"] = [[0] + [100] * 9]
    runs.at[0, "predicted"] = [[100] * 10]
    assert census.alarms(runs) == found | {"false": 1, "missing": 1}
    runs.at[2, "test_accuracy"] = [50.0, 49.9, *KEPT[2:]]  # enough is kept
    assert census.alarms(runs) == found | {"false": 1, "missing": 1, "kept": 26, "between": 1}


def test_mcnemar_by_hand():
    assert census.mcnemar([True] * 5 + [False], [False] * 5 + [False]) == pytest.approx(2 / 32)
    assert census.mcnemar([True, False], [True, False]) == 1


def ends_without(*lost):
    return [50.0 * (name not in lost) for name in CLASS_NAMES["cifar10"]]


@pytest.mark.parametrize(
    ("agce", "ce", "fails"),
    [
        (("cat", "truck", "deer"), (), []),
        (("cat", "truck", "deer", "frog"), (), [2]),
        (("deer", "truck"), (), [3]),
        (("cat",), (), [0, 1]),
        (("cat", "truck", "deer", "bird", "dog"), (), [0, 1]),
        (("cat", "truck", "deer"), ("cat",), [4]),
    ],
)
def test_the_prediction_for_cifar_10_can_fail(agce, ce, fails):
    three = [ends_without("dog", "bird", "deer")]
    ends = {"AGCE": [ends_without(*agce)], "AUL": three, "AEL": three, "GCE": [ends_without()]}
    answers = census.cifar10_answers(ends | {"CE": [ends_without(*ce)]})
    assert [i for i, (_, holds) in enumerate(answers) if not holds] == fails
    assert answers[0][0] == "classes lost per run, mean over runs and losses: 2.5 to 3.5"
