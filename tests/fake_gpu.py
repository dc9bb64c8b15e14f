"""One training step and one test of every network, and every loss, on a GPU that is not there.

    python tests/fake_gpu.py GUARD LOSS ...    prints a line for each network and loss that passes

Run by `test_gpu.py`, in a process of its own. Under torch's FakeTensorMode a tensor has a shape, a
type and the device "cuda" but no content. An operation on tensors of two devices raises, and so
does whatever makes the host wait for a number. GUARD is a library that torch's CPU build lacks, see
`test_gpu.py`.

Two parts of torch need a real GPU and are replaced: the engine that walks the graph backwards, and
the fused step of SGD. Autocast needs one, too, so all is float32. NLNL draws from a generator on
the device and is left out.
"""

import ctypes
import sys
from dataclasses import replace

import torch
from test_models import SHAPES as IMAGES
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorDeviceMismatchError,
    FakeTensorMode,
)
from torch.nn import Parameter

from alfs_utils import data, models
from alfs_utils.training import RunConfig, fused, loop

CUDA = torch.device("cuda", 0)
SHAPES = IMAGES | {"resnet50": (3, 224, 224)}


def main():
    ctypes.CDLL(sys.argv[1])  # before torch looks for it
    torch.Tensor.backward = backward
    library = torch.library.Library("aten", "IMPL", "Meta")
    library.impl("_fused_sgd_", one_device)
    fused.kernel = lambda *arguments: ""  # a GPU trains stock modules
    for name in models.NAMES:
        one_step(name, "AGCELoss(a=4.0, q=0.2)")
        print(name, flush=True)
    for loss in sys.argv[2:]:
        one_step("words_mlp", loss)
        print(loss, flush=True)


def one_step(model, loss):
    dataset = images(SHAPES[model])
    loop.load_once = lambda name: dataset
    noise = {"noise": "symmetric", "eta": 0.4}
    config = RunConfig(loss, **noise, model=model, batch_size=8)
    run = loop.Run(config, torch.device("cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        move(run, config)
        order = torch.arange(20, device=CUDA)
        places = [slice(0, 8), slice(16, 20)]
        run.network.train()
        for index, batch in run.dataset.train_batches(order, places, run.augmentation):
            run.step(index, batch)
        assert run.test().device == run.totals.device == CUDA
        for mistake, error in (
            (lambda: run.totals.tolist(), DataDependentOutputException),
            (lambda: run.totals + torch.zeros(len(run.totals)), FakeTensorDeviceMismatchError),
        ):
            try:
                mistake()
                raise SystemExit("a mistake was not noticed")
            except error:
                pass


def images(shape):
    """Twenty images that are augmented in every way."""
    k, pictures = 10, torch.zeros(20, *shape, dtype=torch.uint8)
    labels = torch.arange(20) % k
    flat = shape[-1] == 1
    return replace(
        data.load("digits"),
        **{"train_images": pictures, "train_labels": labels, "num_classes": k},
        **{"test_images": pictures, "test_labels": labels},
        **{"mean": (0.5,) * shape[0], "std": (0.3,) * shape[0]},
        **{"crop_padding": 0 if flat else 2, "flip": not flat, "rotation": 0.0 if flat else 10.0},
    )


def move(run, config):
    """Bring a run that was built on the CPU to the device."""
    build = models.build

    def build_there(*arguments):
        network = build(*arguments)
        network.to = lambda device, memory_format: network_to(network, device, memory_format)
        return network

    run.device, run.dataset = CUDA, run.dataset.to(CUDA)
    for name in ("given", "wrong", "validation", "totals"):
        setattr(run, name, getattr(run, name).to(CUDA))
    run.repeated.group = run.repeated.group.to(CUDA)
    models.build = build_there
    run._build(compiled=False)
    models.build = build


def network_to(network, device, memory_format):
    """What `Module.to` does: that would change the parameters in place, which a fake one cannot."""
    for module in network.modules():
        for name, value in [*module._parameters.items(), *module._buffers.items()]:
            if value is None:
                continue
            there = value.detach().to(device)
            if there.dim() == 4:
                there = there.contiguous(memory_format=memory_format)
            parameter = isinstance(value, Parameter)
            values = module._parameters if parameter else module._buffers
            values[name] = Parameter(there) if parameter else there
    return network


def backward(loss):
    """What the engine does: call every node of the graph, from the loss to the parameters."""
    nodes, seen = [], set()

    def visit(node):
        if node is not None and node not in seen:
            seen.add(node)
            for after, _ in node.next_functions:
                visit(after)
            nodes.append(node)

    sys.setrecursionlimit(10_000)
    visit(loss.grad_fn)
    gradients = {loss.grad_fn: {0: torch.ones_like(loss)}}
    for node in reversed(nodes):
        inputs = node._input_metadata
        given = {
            i: gradient.sum_to_size(inputs[i].shape).to(inputs[i].dtype)
            for i, gradient in gradients.pop(node).items()
        }
        if hasattr(node, "variable"):
            node.variable.grad = given[0]
            continue
        found = node(*(given.get(i) for i in range(len(inputs))))
        found = found if isinstance(found, tuple) else (found,)
        for (after, i), gradient in zip(node.next_functions, found, strict=True):
            if after is not None and gradient is not None:
                slot = gradients.setdefault(after, {})
                slot[i] = slot[i] + gradient if i in slot else gradient


def one_device(parameters, gradients, buffers, **options):
    """Stand for the fused step of SGD, which has no fake version: its tensors have equal shapes."""
    for three in zip(parameters, gradients, buffers, strict=True):
        assert len({part.shape for part in three}) == 1


if __name__ == "__main__":
    main()
