"""What an explanation costs where it is served.

emit="row" is compared with the plain forward pass, in every runtime, by batch.

    python tests/bench/serve.py [--networks NAME,...] [--json FILE]

One row an image (K = 1). Per runtime the plain network goes the same way: both eager, both compiled by
Inductor, both an AOTInductor package, both in onnxruntime. "autograd" is the gradient of the output by torch
in eager mode: y0 and the row, no r, and nothing that could be exported. Medians of interleaved runs; one file
serves all batches.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
import torchvision
from asked import asked, keep
from products import medians
from torch.export import Dim

import fxscope
from fxscope import models

NETWORKS = {
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), 224),
    "edsr_baseline": (models.edsr_baseline, 48),
}
BATCHES = (1, 8, 32)


def exported(module, example, dynamic):
    return torch.export.export(module, example, dynamic_shapes=dynamic)


def aoti(module, example, dynamic, path):
    torch._inductor.aoti_compile_and_package(exported(module, example, dynamic), package_path=path)
    return torch._inductor.aoti_load_package(path)


def onnx(module, example, dynamic, path):
    import onnxruntime

    if isinstance(module, torch.fx.GraphModule):
        fxscope.save(module, path, example)
    else:
        torch.onnx.export(exported(module, example, dynamic), dynamo=True, verbose=False).save(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return lambda *given: session.run(None, dict(zip(names, (g.numpy() for g in given))))


def gradient(model, x, index):
    """y0 and the row by autograd."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y0 = model(x)
        picked = y0.flatten(1).gather(1, index.T)
        return y0, torch.autograd.grad(picked.sum(), x)[0]


def runtimes(model, row, x0, index, folder: Path):
    """(runtime, plain, row), both callables of (x0, index)."""
    batch = Dim("B", min=1, max=64)
    plain_example, row_example = ((x0,), ({0: batch},)), ((x0, index), ({0: batch}, {1: batch}))
    yield "autograd", lambda x, i: model(x), lambda x, i: gradient(model, x, i)
    yield "eager", lambda x, i: model(x), row
    compiled, compiled_row = torch.compile(model, dynamic=True), torch.compile(row, dynamic=True)
    yield "compile", lambda x, i: compiled(x), compiled_row
    for name, build in (("aoti", aoti), ("onnxruntime", onnx)):
        suffix = "pt2" if name == "aoti" else "onnx"
        plain = build(model, *plain_example, str(folder / f"plain.{suffix}"))
        yield (
            name,
            lambda x, i, plain=plain: plain(x),
            build(row, *row_example, str(folder / f"row.{suffix}")),
        )


def measure(name: str, runs: int) -> list[dict]:
    make, size = NETWORKS[name]
    model = make().eval().requires_grad_(False)
    row = fxscope.transform(model, "row", probes="stacked")
    rows = []
    with torch.no_grad(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for runtime, plain, explain in runtimes(
            model, row, torch.randn(2, 3, size, size), torch.zeros(1, 2, dtype=torch.int64), Path(folder)
        ):
            for batch in BATCHES:
                x0, index = torch.randn(batch, 3, size, size), torch.full((1, batch), 7)
                found = medians({"plain": lambda: plain(x0, index), "row": lambda: explain(x0, index)}, runs)
                rows.append(
                    {
                        "network": name,
                        "size": size,
                        "runtime": runtime,
                        "batch": batch,
                        "plain_ms": found["plain"] * 1e3,
                        "row_ms": found["row"] * 1e3,
                        "ratio": found["row"] / found["plain"],
                    }
                )
                print(
                    "{network:14s} {size:4d} px  {runtime:12s} batch {batch:3d}  plain {plain_ms:8.1f} ms "
                    " y0, row and r {row_ms:8.1f} ms  ratio {ratio:.2f}".format(**rows[-1]),
                    flush=True,
                )
    return rows


def main() -> None:
    args = asked(__doc__, networks=NETWORKS, runs=5)
    rows = [row for name in args.networks for row in measure(name, args.runs)]
    keep(rows, args.json)


if __name__ == "__main__":
    main()
