"""Run a saved file. This module needs nothing of fxscope: copy it, or the lines below, to where the file is used.

    .pt2            run = torch.export.load("net.pt2").module()
                    y0, y1 = run(x0, x1)

    .ts             run = torch.jit.load("net.ts")
                    y0, y1 = run(x0, x1)

    .pt2 (aoti)     run = torch._inductor.aoti_load_package("net.pt2")     # AOTI_RUNTIME_CHECK_INPUTS=1 checks shapes
                    y0, y1 = run(x0, x1)

    .onnx           session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
                    y0, y1 = session.run(None, {"x0": x0.numpy(), "x1": x1.numpy()})

x0 holds B images. x1 holds K probes of each, (K*B, ...) probe-major for graphs of ``probes="flat"``, (K, B, ...) for
``probes="stacked"``. Outputs that were dataclasses are dicts, namedtuples are tuples; ONNX gives a flat list with dotted names.
"""

import warnings
import zipfile
from pathlib import Path

import torch

SUFFIXES = {".pt2": "pt2", ".ts": "ts", ".onnx": "onnx"}


def runner(path, format=None):
    """The saved graph as a callable of tensors; ``format`` is told from the file ("pt2", "ts", "onnx" or "aoti")."""
    return _LOADERS[format or format_of(path)](str(path))


def format_of(path):
    """The format of a saved file: its suffix, and for .pt2 whether the archive holds compiled code."""
    format = SUFFIXES.get(Path(path).suffix)
    if format is None:
        raise ValueError(f"{Path(path).name}: the suffix tells the form of a saved file: {', '.join(SUFFIXES)}")
    if format == "pt2" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return "aoti" if any("/aotinductor/" in name for name in archive.namelist()) else "pt2"
    return format


def load_pt2(path):
    return torch.export.load(path).module()


def load_ts(path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load`", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load`", category=DeprecationWarning)
        return torch.jit.load(path)


def load_aoti(path):
    return torch._inductor.aoti_load_package(path)


def load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]

    def run(*inputs):
        feeds = {name: x.detach().cpu().numpy() for name, x in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(y) for y in session.run(None, feeds))

    return run


_LOADERS = {"pt2": load_pt2, "ts": load_ts, "aoti": load_aoti, "onnx": load_onnx}
