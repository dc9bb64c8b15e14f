"""Broken copies of `fused.cpp` must fail the checks of `test_fused`.

Each mutant replaces one piece of the source; the piece must still be there.
"""

import ctypes
import subprocess

import pytest
import test_fused as T
import torch

from alfs_utils.training import fused

pytestmark = [T.pytestmark, pytest.mark.slow]
FLAGS = [flag for flag in fused.FLAGS if flag not in ("-O3", "-fopenmp")]
LOOP = "for (int t = 0; t < POOL * POOL; t++) {\n                    float here"
MUTANTS = {
    "norm: the variance is the mean square": ("/ all - mean * mean);", "/ all);"),
    "norm: statistics without the last pixels": ("rows > 0; rows--", "rows > 4; rows--"),
    "norm: biased running variance": ("var * (m / (m - 1))", "var"),
    "norm: the running mean without the bias": ("float(mean + bias)", "float(mean)"),
    "norm: evaluation with the bias twice": (" - (k.bias ? k.bias[i] : 0)", ""),
    "norm: pooling forgets a pixel": ("t = 1; t < POOL * POOL;", "t = 1; t < POOL * POOL - 1;"),
    "norm: the last maximum takes the gradient": (
        LOOP,
        LOOP.replace("int t = 0; t < POOL * POOL; t++", "int t = POOL * POOL - 1; t >= 0; t--"),
    ),
    "norm: all maxima take the gradient": ("d -= here;\n                    put", "put"),
    "norm: sums of another maximum": ("at = v[t] > best ? x[t] : at;", ""),
    "norm: ReLU lets all sums through": ("float d = RELU && v <= 0 ? 0 :", "float d ="),
    "norm: the sign of the mean's part": ("scale[i] - one[i]", "scale[i] + one[i]"),
    "norm: the addend is forgotten": ("if (ADD) v += get(add[i]);\n                put", "put"),
    "norm: NaN becomes 0": ("RELU && v <= 0 ? 0 : v", "!RELU || v > 0 ? v : 0"),
    "bfloat16: cut off, not rounded": (
        "(bits + 0x7fff + ((bits >> 16) & 1)) >> 16;",
        "bits >> 16;",
    ),
    "first: pixels beyond the border": ("p[t] = p[9] * load(", "p[t] = load("),
    "first: a tap is left out": ("t < 9; t++) v += p[", "t < 8; t++) v += p["),
    "first: all maxima take the gradient": ("d -= here;\n                    const", "const"),
    "first: ReLU lets all gradients through": ("d = best <= 0 ? V{} : d;", ""),
    "first: no part of the mean in dweight": ("sum * ones[t] / m -", "0 * ones[t] / m -"),
    "first: no part of the variance in dweight": ("dgamma * normed * invstd / m)", "0 * normed)"),
}


def killed_by(library, monkeypatch):
    """The first check of `test_fused` that notices, or None."""
    monkeypatch.setattr(fused, "_library", lambda: (library, "mutant"))
    dtypes = [torch.float32] + [torch.bfloat16] * T.usable()
    checks = [
        (T.test_a_block_against_float64, (case, ties, dtype))
        for dtype in dtypes
        for case in T.BLOCKS
        for ties in (False, True)
    ]
    for dtype in dtypes:
        for ties in (False, True):
            checks.append((T.test_the_first_block_against_float64, (10, ties, dtype)))
        checks.append((T.test_what_is_not_finite_stays_where_torch_has_it, (float("nan"), dtype)))
    for name in ("digits_cnn", "mnist_cnn"):
        checks.append((T.test_evaluation_is_that_of_the_network, (name,)))
    for check, arguments in checks:
        try:
            check(*arguments)
        except AssertionError:
            return check.__name__
    return None


def built(source, tmp_path):
    (tmp_path / "fused.cpp").write_text(source)
    command = ["g++", *FLAGS, "-O1", tmp_path / "fused.cpp", "-o", tmp_path / "fused.so"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(tmp_path / "fused.so"))


@pytest.mark.parametrize("name", [None, *MUTANTS])
def test_a_mutant_is_noticed(name, tmp_path, monkeypatch):
    source = fused.SOURCE.read_text()
    if name is None:
        assert killed_by(built(source, tmp_path), monkeypatch) is None
        return
    if name.startswith("bfloat16") and not fused.kernel(torch.device("cpu"), "bfloat16"):
        pytest.skip("this machine has no kernel for bfloat16")
    piece, broken = MUTANTS[name]
    assert piece in source
    assert killed_by(built(source.replace(piece, broken), tmp_path), monkeypatch)
