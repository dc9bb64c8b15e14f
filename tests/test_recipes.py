"""The recipes page: every Python block runs as a reader would run it, and its asserts hold."""

import ast
import importlib.util
import os
import re
import shutil
import warnings

import pytest
from helpers import ROOT, require

# Lightning and transformers import torchvision where there is one. Imported this way first, it
# works beside a torch that it was not built for, too.
from alfs_utils import losses
from alfs_utils.data._torchvision import torchvision  # noqa: F401

PATH = ROOT / "book" / "recipes.md"
PAGE = PATH.read_text()
SECTIONS = dict(s.split("\n", 1) for s in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:])
# What a block that imports a framework needs beyond requirements.txt.
EXTRAS = {
    "lightning": ["lightning"],
    "transformers": ["transformers", "accelerate"],
    "skorch": ["skorch"],
    "cleanlab": ["cleanlab"],
}


def blocks():
    """The code of every Python block, named by its heading and number."""
    for heading, text in SECTIONS.items():
        found = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for number, code in enumerate(found, start=1):
            slow = [pytest.mark.slow] if "torch.compile" in code else []
            yield pytest.param(code, id=f"{heading} {number}", marks=slow)


BLOCKS = list(blocks())
# Those whose loss has a gradient to lose; the compiled one is left out, being slow.
TRAINED = [block for block in BLOCKS if "criterion" in block.values[0] and not block.marks]


def require_all(code):
    """Skip, with the reason, where something that the block needs is missing."""
    for framework, packages in EXTRAS.items():
        if re.search(rf"^(from|import) {framework}\b", code, re.MULTILINE):
            for package in packages:
                found = importlib.util.find_spec(package) is not None
                require(found, f"{package}: pip install -r requirements-extras.txt")
    if "torch.compile" in code:
        compiler = os.environ.get("CXX", "g++")
        require(shutil.which(compiler) is not None, f"the C++ compiler {compiler}")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Execute a block in a fresh namespace and folder, offline, our own warnings as errors."""

    def refuse(*_):
        raise OSError("a recipe needs no network")

    def run(code):
        require_all(code)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("socket.socket.connect", refuse)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", module=r"alfs_utils|__main__")
            line = PAGE[: PAGE.find(code)].count("\n")  # for tracebacks that point into the page
            exec(compile("\n" * line + code, PATH, "exec"), {"__name__": "__main__"})

    return run


@pytest.mark.parametrize("code", BLOCKS)
def test_a_block_runs_and_achieves_what_it_asserts(code, run):
    assert isinstance(ast.parse(code).body[-1], ast.Assert), "a block ends with an assert"
    run(code)


@pytest.mark.parametrize("code", TRAINED)
def test_its_asserts_notice_a_loss_without_gradient(code, run, monkeypatch):
    forward = losses.Loss.forward

    def flat(self, input, target):
        loss = forward(self, input, target)
        return loss.detach() + 0 * loss

    monkeypatch.setattr(losses.Loss, "forward", flat)
    with pytest.raises(AssertionError):
        run(code)


def test_the_alarm_of_the_trainer_does_not_count_evaluations(run):
    (code,) = (block.values[0] for block in BLOCKS if "TrainerCallback" in block.values[0])
    for old, new in (
        ('"report_to": "none"', '"report_to": "none", "eval_strategy": "steps", "eval_steps": 8'),
        ("train_dataset=data", "train_dataset=data, eval_dataset=data"),
        ("trainer.train()", "trainer.evaluate(); trainer.train()"),
    ):
        code = code.replace(old, new)
    run(code + "\nassert len(torch.cat(watch.given)) == len(data)")


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("plain PyTorch", "clip_grad_norm_"),
        ("Lightning", "L.Trainer("),
        ("Hugging Face", "compute_loss_func="),
        ("skorch", "criterion__a="),
        ("Segmentation", "ignore_index=255"),
        ("Imbalanced", "weight=weight"),
        ("mixup", "one_hot"),
        ("precision", "torch.bfloat16"),
        ("torch.compile", "fullgraph=True"),
        ("Sums", 'reduction = "none"'),
        ("own loss", "(PointwiseLoss)"),
        ("Forward", "forward_corrected"),
        ("Wrong labels", "suspicious("),
    ],
)
def test_the_page_has_a_recipe_for(topic, code):
    assert any(topic in heading and code in text for heading, text in SECTIONS.items())
