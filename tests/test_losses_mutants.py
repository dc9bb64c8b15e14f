"""Broken copies of `alfs_utils.losses` must fail the checks of `test_losses`.

Each mutant replaces one piece of the source, which must be there exactly once, so a mutant cannot
go stale unnoticed. ``python tests/test_losses_mutants.py`` prints which check kills which mutant.
"""

# ruff: noqa: E501 (one mutant a line)

import importlib
import sys
import tempfile
from pathlib import Path

import pytest
import test_losses as T
import torch

from alfs_utils import losses

SOURCES = {path.name: path.read_text() for path in Path(losses.__file__).parent.glob("*.py")}
FEW = [
    case
    for case in T.CASES
    if case[1].get("q") not in (1e-25,) and case[1].get("a", 1) not in (1e4, 100.0)
]

MUTANTS = {
    # formulas
    "AGCE: wrong exponent": ("power_gap(x, self.q,", "power_gap(x, self.q + 1,"),
    "AGCE: scale of u instead of 1 + a": ("self.q, math.log1p(a), extreme", "self.q, 0.0, extreme"),
    "AGCE: no case of its own for a = 0": ("        if a == 0:\n", "        if a < 0:\n"),
    "AUL: wrong exponent": ("power_gap(torch.log1p(ratio), self.p,", "power_gap(torch.log1p(ratio), self.p - 1,"),
    "AUL: no care near a = 1": ("return self.a < 1.01", "return self.a == 1"),
    "AUL: a = 1 from the rounded 1 - u": (
        "return self._of_log_complement(prediction.log_complement())",
        "return self._of_log_probability(prediction.log_u)",
    ),
    "AEL: not divided by a": ("torch.exp(log_u) * (-1 / self.a)", "torch.exp(log_u) * -1"),
    "AEL: no cap": (".clamp(max=50.0)", ""),
    "MAE: half": ("    scale = 2.0\n", "    scale = 1.0\n"),
    "RCE: the literature's -4": ("LOG_1E_4 = math.log(1e-4)", "LOG_1E_4 = -4.0"),
    "SCE: parts swapped": ("        scale = -self.beta * self.A", "        scale = -self.alpha * self.A"),
    "focal: exponent": ("v.sqrt() if self.gamma == 0.5 else v**self.gamma", "v**self.gamma.__abs__() * v"),
    "focal: no floor": ("        v = v.clamp(min=torch.finfo(v.dtype).eps ** 2)\n", ""),
    "focal: always detached": ("            v = v.detach()\n", "            pass\n        v = v.detach()\n"),
    # gradients
    "power: expm1 alone": ("    if abs(q * extreme) <= 2:", "    if True:"),
    "power: exp alone": ("    if abs(q) >= 0.1 and q * extreme < 0:", "    if q * extreme < 0:"),
    "power: unclamped branch": ("torch.expm1(y.clamp(-1, 1))", "torch.expm1(y)"),
    "linear: expm1": (
        "torch.rsub(torch.exp(log_u), self.scale, alpha=self.scale)", "-self.scale * torch.expm1(log_u)"
    ),
    "log of a rounded softmax": (
        "F.log_softmax(input, 1, dtype=compute)", "F.softmax(input, 1, dtype=compute).log()"
    ),
    # normalisers
    "normalised: label left out of the sum": (
        "return self.loss._per_example(prediction) / total",
        "own = self.loss._per_example(prediction)\n        return own / (total - own)",
    ),
    "normalised: no floor": ("torch.where(total >= torch.finfo(total.dtype).tiny, total, 1.0)", "total"),
    "NCE: mean for sum": (
        "prediction.log_u / torch.where(total < 0, total, -1.0)",
        "prediction.log_u / torch.where(total < 0, total, -1.0) * prediction.log_probs.shape[1]",
    ),
    # successors
    "AMSE: Brier": ("in_float32_range(self, (self.a, 2.0))", "self.a = 1.0"),
    "AMSE: not divided": (" / classes)", ")"),
    "NNCE: no clamp": ("log_u.clamp(min=floor)", "log_u"),
    "NNCE: label left out of the sum": ("counted(1 - prediction.pick(v) / total)", "counted(1 - prediction.pick(v) / (total - prediction.pick(v)))"),
    "biased MAE: half the bias": ("Decimal(self.eps).exp() if isinstance(u, Decimal) else math.exp(self.eps)", "Decimal(self.eps / 2).exp() if isinstance(u, Decimal) else math.exp(self.eps / 2)"),
    "slope of biased MAE": ("return -2 * b / (1 + (b - 1) * u) ** 2", "return -2 * b / (1 + (b - 1) * u)"),
    # compatibility
    "official GCE: other clamp": ("min=math.log(1e-7)", "min=math.log(1e-5)"),
    "official GCE: no clamp": ("            log_u = log_u.clamp(min=math.log(1e-7))", "            pass"),
    "official RCE: no clamp": (".exp().clamp(min=1e-7)\n        return", ".exp()\n        return"),
    "official SCE: no clamp": (".exp().clamp(min=1e-7)\n        reverse", ".exp()\n        reverse"),
    "official focal: not detached": ("            v = v.detach()\n", "            pass\n"),
    "official NLNL: no clamp": ("(1 - torch.exp(prediction.log_u)).clamp(min=1e-5)", "(1 - torch.exp(prediction.log_u))"),
    "official NLNL: divided by weights": ('mean_over_n=self.compat == "official"', "mean_over_n=False"),
    # reduction
    "mean over N despite weights": ("(valid if mean_over_n else scale).sum()", "valid.sum()"),
    "ignored elements count": ("valid = target != ignore_index", "valid = target == target"),
    "mean over nothing is 0": ('elif reduction == "mean" and loss.numel() == 0:', "elif False:"),
    "weight lost for probabilities": ("scale = target if weight is None else", "scale = target if True else"),
    "computed in half": ("return dtype, torch.promote_types(dtype, torch.float32)", "return dtype, dtype"),
    "half under autocast": ("    if dtype.itemsize < 4 and", "    if False and"),
    "host synchronisation": ("        scale = valid.to(compute)\n", "        scale = valid.to(compute)\n        bool(valid.all())\n"),
    # algebra
    "sum: coefficient lost": ("alpha=coefficient)", "alpha=1)"),
    "sum: first coefficient lost": ("            total = total * coefficient\n", "            pass\n"),
    "sum: nested factor lost": ("(factor * c, part)", "(c, part)"),
    "sum: reduction of the first only": ("part.reduction = value", "self._parts()[0].reduction = value"),
    "sum: 0 times infinity": ("for c, loss in self.terms if c)", "for c, loss in self.terms)"),
    # l(u) and l'(u)
    "slope of AGCE": ("return -power(a + u, q - 1)", "return -power(a + u, q)"),
    "slope of AUL": ("return -power(a - u, p - 1)", "return power(a - u, p - 1)"),
    "slope of AEL": ("return -exp(-u / a) / a", "return -exp(-u / a)"),
    "slope of focal": ("return steep - power(1 - u, gamma) / u", "return -power(1 - u, gamma) / u"),
    "curvature of AGCE": ("return (self.q < 1) - (self.q > 1)\n\n    def inverse_slope(self, y: np.ndarray) -> np.ndarray:\n        return y ** (1 / (self.q - 1)) - self.a", "return 1"),
    "inverse slope of AUL": ("return self.a - y ** (1 / (self.p - 1))", "return self.a - y ** (self.p - 1)"),
    "inverse slope of AEL": ("-self.a * np.log(self.a * y)", "-self.a * np.log(y)"),
    "ends: 15 digits": ("prec=60", "prec=15"),
    "ends: 17 digits": ("prec=60", "prec=17"),
    # negative learning
    "NLNL: may draw the label": ("return k + (k >= target)", "return k"),
    "NLNL: off by one": ("return k + (k >= target)", "return k + (k > target)"),
    "NLNL: not uniform": ("return k + (k >= target)", "return k // 2 + (k // 2 >= target)"),
    "NLNL: global generator": ("generator=self.generator, device", "device"),
    "NLNL: clamped": ("return -prediction.log_complement()", "return -torch.log((1 - prediction.log_u.exp()).clamp(min=1e-5))"),
    "NLNL: others' logsumexp alone": ("torch.where(self.log_u >= LOG_HALF, others", "torch.where(self.log_u >= -1e9, others"),
    "NLNL: log1p alone": ("torch.where(self.log_u >= LOG_HALF, others", "torch.where(self.log_u >= 0, others"),
}  # fmt: skip


def checks(L):
    """Every check of `test_losses`, cheap ones first, as (name, call)."""
    yield "cross_entropy", lambda: T.check_cross_entropy(L)
    for name, kwargs in FEW:
        yield f"formula {name}", lambda n=name, k=kwargs: T.check_formula(L, n, k)
        yield (
            f"formula {name}",
            lambda n=name, k=kwargs: T.check_formula(L, n, k, kind="soft", shape=(1, 1)),
        )
    yield "algebra", lambda: T.check_algebra(L)
    yield "reduction", lambda: T.check_reduction(L)
    yield "normalized", lambda: T.check_normalized(L)
    yield "half", lambda: T.check_half(L)
    yield "edges", lambda: T.check_edges(L)
    for name in T.OFFICIAL:
        yield f"official {name}", lambda n=name: T.check_official(L, n)
    yield "negative_learning", lambda: T.check_negative_learning(L)
    yield "nlnl", lambda: T.check_nlnl(L)
    terms = (L.MAELoss(), L.AULLoss(1, 0.5) + L.NCELoss())
    yield "host synchronisation", lambda: T.check_no_host_synchronisation(L, terms)
    for name, kwargs in FEW:
        if name in T.POINTWISE:
            yield f"mathematics {name}", lambda n=name, k=kwargs: T.check_mathematics(L, n, k)
            yield f"inside {name}", lambda n=name, k=kwargs: T.check_inside(L, n, k)
            yield f"ends {name}", lambda n=name, k=kwargs: T.check_ends(L, n, k)
            yield f"gradient {name}", lambda n=name, k=kwargs: T.check_gradient(L, n, k)
    for name in T.NAIVE:
        yield f"finite {name}", lambda n=name: T.check_finite(L, n, cases=500)


def broken(old, new):
    """A copy of the package, imported as `mutant`, with one piece replaced."""
    count = sum(text.count(old) for text in SOURCES.values())
    assert count == 1, f"stale mutant: {old!r} is {count} times in the source"
    for name in [name for name in sys.modules if name.split(".")[0] == "mutant"]:
        del sys.modules[name]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        package = Path(folder, "mutant")
        package.mkdir()
        for name, text in SOURCES.items():
            text = text.replace(old, new).replace("alfs_utils.losses", "mutant")
            (package / name).write_text(text)
        patch.syspath_prepend(folder)
        return importlib.import_module("mutant")


def killer(old, new):
    """Name of the first check that fails on the mutant, or None."""
    for name, check in checks(broken(old, new)):
        torch.manual_seed(0)
        try:
            check()
        except Exception:
            return name
    return None


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_killed(mutant):
    assert killer(*MUTANTS[mutant]), f"survived: {mutant}"


def test_the_checks_pass_without_a_mutation():
    assert killer("import ast", "import ast") is None


if __name__ == "__main__":
    for name, mutant in MUTANTS.items():
        print(f"{name:45} {killer(*mutant)}")
