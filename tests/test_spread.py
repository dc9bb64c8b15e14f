"""Where the spread of runs comes from."""

import math
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT
from scipy import stats

from alfs_utils import data, records
from alfs_utils.losses import CELoss
from alfs_utils.paper import people, spread, which_runs
from alfs_utils.paper.together import Job, train
from alfs_utils.training import RunConfig
from alfs_utils.training import train as one_run

RNG = np.random.default_rng(0)
WORDS = spread.read(ROOT / "results" / "spread" / "words.json")


def effects(sds, shape, rest=1.0, rng=RNG):
    """A crossed design with normal main effects and a normal rest."""
    x = rest * rng.normal(size=shape)
    for axis, (sd, n) in enumerate(zip(sds, shape, strict=True)):
        place = [1] * len(shape)
        place[axis] = n
        x = x + sd * rng.normal(size=n).reshape(place)
    return x


def test_each_factor_has_its_own_axis():
    for axis, name in enumerate(spread.DIGITS_FACTORS):
        sds = np.eye(4)[axis] * 50
        found = spread.split(effects(sds, (3, 4, 5, 6)), spread.DIGITS_FACTORS)
        assert found["share"].idxmax() == name and found.loc[name, "p"] < 1e-10
        assert found["share"].sum() == pytest.approx(1)
        assert found["by chance"].sum() == pytest.approx(1)


def test_two_factors_are_the_textbook_anova():
    x = effects((1, 0.5), (5, 4))
    found = spread.split(x, ("a", "b"))
    rows = x.mean(1, keepdims=True)
    rest = ((x - rows - x.mean(0) + x.mean()) ** 2).sum() / 12
    F = 4 * x.mean(1).var(ddof=1) / rest
    assert found.loc["a", "p"] == pytest.approx(stats.f.sf(F, 4, 12))
    assert found.loc["interactions", "sd"] == pytest.approx(math.sqrt(rest))
    assert found.loc["a", "sd"] == pytest.approx(math.sqrt(max(0, (F - 1) * rest / 4)))


def test_the_interval_covers_the_standard_deviation_of_a_factor():
    rng, hits, draws = np.random.default_rng(1), 0, 200
    for _ in range(draws):
        x = effects((1.0, 0.3, 0), (6, 6, 6), rng=rng)
        found = spread.split(x, spread.WORDS_FACTORS).loc["noise draw"]
        hits += found["low"] <= 1.0 <= found["high"]
    assert 0.95 - 3 * 0.0154 <= hits / draws


def test_an_interaction_is_not_taken_for_a_main_effect():
    """Draws that differ by the weights alone: at 5 %, few of them seem to differ by themselves."""
    rng, found, trials = np.random.default_rng(2), 0, 200
    for _ in range(trials):
        x = effects((0, 0, 0), (6, 6, 6), rest=0.3, rng=rng) + rng.normal(size=(6, 6, 1))
        found += spread.split(x, spread.WORDS_FACTORS).loc["noise draw", "p"] < 0.05
    assert found / trials <= 0.05 + 3 * 0.0154


def test_three_runs_on_one_draw_do_not_see_the_draw():
    only_draw = np.arange(6.0)[:, None, None] + 1e-3 * RNG.normal(size=(6, 6, 6))
    one, own = spread.three_runs(only_draw)
    assert one == 0 and own > 80
    one, own = spread.three_runs(RNG.normal(size=(6, 6, 6)))
    assert one > 80 and own > 80


def test_order_and_ratio_see_what_two_losses_do_not_share():
    x, shared = RNG.normal(size=(6, 6, 6)), 100 * RNG.normal(size=(6, 1, 1))
    assert spread.right_order(x + 1e4, x) == spread.right_order(x, x + 1e4) == 100
    quiet = spread.ratio((x + shared) - shared, spread.WORDS_FACTORS)
    assert quiet < 0.5 < 100 < spread.ratio(x + shared, spread.WORDS_FACTORS)


def test_without_variance_every_sentence_survives():
    found = spread.survival(-1 / 3, redraws=3)
    silent = found["with the draw"].isna()
    assert found.loc[silent, "reading"].tolist() == ["both above the three in Table 3"]
    assert (found.loc[~silent, "with the draw"] == 100).all()
    assert found["weights and order"].dropna().between(0, 100).all()


def test_the_runs_that_two_designs_share_are_the_same():
    for name in spread.WORDS_LOSSES:
        crossed, alone = WORDS["crossed"][name], WORDS["alone"][name]
        assert crossed.shape == (6, 6, 6) and alone.shape == (3, 20)
        lines = crossed[:, 0, 0], crossed[0, :, 0], crossed[0, 0, :]
        assert all(np.array_equal(line, x[:6]) for line, x in zip(lines, alone, strict=True))


def test_the_order_has_a_seed_of_its_own():
    words, fixed = data.load("words"), {"epochs": 2, **people.SHARED}
    config = RunConfig(
        CELoss(), "words", "words_mlp", "words-one", 0.0, False,
        lr=0.1, weight_decay=0.0, init_seed=1, order_seed=2, **fixed,
    )  # fmt: skip
    labels = torch.tensor(data.words.given("words-one", "words", 0).labels)
    seeds = ((1, 2), (1, None), (1, 1))
    jobs = [Job(CELoss(), labels, 0.1, *pair) for pair in seeds]
    found = train(words, jobs, "words_mlp", **fixed).accuracy
    assert np.allclose(found[0], one_run(config, progress=False).test_accuracy, atol=0.2)
    assert torch.equal(found[1], found[2]) and not torch.equal(found[0], found[1])


def test_a_record_of_the_digits_has_each_run_at_its_seeds(monkeypatch, tmp_path):
    """With a network whose accuracy spells its seeds."""

    def spelled(config, progress):
        seeds = config.noise_seed, config.init_seed, config.order_seed, config.augment_seed
        return SimpleNamespace(test_accuracy=[0.0, float("".join(map(str, seeds)))])

    monkeypatch.setattr(spread, "train_one", spelled)
    record = spread.read(spread.write_digits(tmp_path / "digits.json"))
    for x in record["crossed"].values():
        assert all(value == float("".join(map(str, seeds))) for seeds, value in np.ndenumerate(x))
    committed = spread.read(ROOT / "results" / "spread" / "digits.json")
    assert record.keys() - {"seconds"} == committed.keys() - {"seconds"}
    assert record["config"] == committed["config"]


def test_a_record_of_the_words_has_each_run_at_its_seeds(monkeypatch, tmp_path):
    """With a network whose accuracy spells its seeds, and a step size for each loss."""
    given = SimpleNamespace(given=lambda kind, name, seed: SimpleNamespace(labels=[seed]))
    tuned, steps = [], []

    def spelled(dataset, jobs, model, **settings):
        last = [[float(10_000 * j.labels[0] + 100 * j.seed + j.order_seed)] for j in jobs]
        steps.extend({j.lr for j in jobs})
        return SimpleNamespace(accuracy=torch.tensor(last, dtype=torch.float64))

    monkeypatch.setattr(spread, "words", given)
    monkeypatch.setattr(people, "tune", lambda dataset, labels, *_: tuned.append(labels.item()))
    numbered = {name: number for number, name in enumerate(spread.WORDS_LOSSES)}
    monkeypatch.setattr(people, "chosen", lambda _: numbered)
    monkeypatch.setattr(spread, "train", spelled)
    record = spread.read(spread.write_words(tmp_path / "words.json"))
    assert tuned == [spread.TUNING_SEED] and steps == [0, 1, 2, 3]
    assert [*record["crossed"]] == [*spread.WORDS_LOSSES]
    for x in record["crossed"].values():
        assert all(value == 10_000 * n + 100 * i + o for (n, i, o), value in np.ndenumerate(x))
    for x in record["alone"].values():
        assert np.array_equal(x, np.outer([10_000, 100, 1], range(spread.ALONE)))


def test_the_grid_varies_the_draw_or_weights_and_order():
    first, *others = which_runs.spread()
    assert len(others) == len(set(others)) == 8
    for number, run in enumerate(others):
        changed = {f.name for f in fields(run) if getattr(run, f.name) != getattr(first, f.name)}
        assert changed == ({"noise_seed"} if number < 4 else {"init_seed", "order_seed"})
        assert len({getattr(run, name) for name in changed}) == 1


def test_the_draw_on_mnist_is_held_against_weights_and_order():
    """One-sided: a draw that varies more than the others has a small p."""
    configs = which_runs.spread()
    rows = [{"id": records.run_id(c), "status": "finished", **vars(c)} for c in configs]
    runs = spread.mnist(pd.DataFrame(rows).assign(last=0.0))
    seeds = {"noise draw": "noise_seed", "weights and order": "init_seed"}
    assert runs["varied"].value_counts().to_dict() == {"none": 1} | dict.fromkeys(seeds, 4)
    assert all(row[seeds[row["varied"]]] for _, row in runs[1:].iterrows())
    draw, rest = [0, 3, -3, 6, -6], [0, 1, -1, 2, -2]
    last = dict.fromkeys(range(9), 0.0)
    last |= dict(zip(runs.index[runs["varied"] == "noise draw"], draw[1:], strict=True))
    others = runs["varied"] == "weights and order"
    last |= dict(zip(runs.index[others], rest[1:], strict=True))
    p = spread.mnist_answer(runs.assign(last=pd.Series(last)))
    assert p == pytest.approx(stats.f.sf(9, 4, 4)) and p < 0.05
