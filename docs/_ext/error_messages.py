"""A short program for every error, which raises it: the page on errors shows its real message."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

from run import readable

SETUP = """
import dataclasses, torch, fxscope
from torch import nn
from fxscope.errors import *

class Net(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.function = forward
    def forward(self, x):
        return self.function(x)

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)).double()
x0 = torch.randn(1, 1, 8, 8, dtype=torch.float64)
calls = []

def counted(x):
    calls.append(1)
    return x * len(calls)
"""
EXAMPLES = {
    "FxscopeError": "fxscope.summary(net)",
    "WrongArgument": "fxscope.models.dncnn(depth=-1)",
    "WrongInput": "fxscope.transform(net)(x0, x0.float())",
    "TraceFailure": "fxscope.transform(Net(lambda x: x if x.sum() > 0 else -x))",
    "HookedModel": "net[1].register_forward_hook(print)\nfxscope.transform(net)",
    "ModelFails": "fxscope.interpret(net, x0.float())",
    "UnsupportedOperator": "fxscope.transform(Net(lambda x: torch.erfinv(x)))",
    "NoLinearPath": "fxscope.interpret(Net(lambda x: x.argmax(1)), x0)",
    "UnknownRank": "fxscope.transform(Net(lambda x: nn.functional.group_norm(x, 1)))",
    "AliasingWrite": "fxscope.transform(Net(lambda x: nn.init.kaiming_uniform_(x)))",
    "PolicyError": 'fxscope.transform(net, policy={"relu": "bold"})',
    "PlaceError": 'fxscope.transform(net, outputs="4")',
    "UnknownNetwork": 'fxscope.models.load_model("fxscope:edsr_basline")',
    "NotFloating": "fxscope.interpret(Net(lambda x: x / 255 + x.float()), torch.ones(1, 3, dtype=int))",
    "LawBroken": 'fxscope.interpret(Net(counted), x0, frontend="symbolic")',
    "SavedFileDiffers": (
        'pair = fxscope.transform(nn.Linear(4, 2), probes="stacked")\n'
        'fxscope.save(pair, "pair.ts", (torch.ones(1, 4), torch.ones(1, 1, 4)))\n'
        'fxscope.check_saved("pair.ts", nn.Linear(4, 2), torch.ones(1, 4), probes="stacked")'
    ),
    "BrokenInvariant": (
        "from fxscope.graph.check import check_ir\ncheck_ir(torch.fx.symbolic_trace(net), 'classified')"
    ),
    "PlaceIndexError": "fxscope.interpret(net, x0).F.row((7,))",
    "ShapeError": "fxscope.interpret(net, x0).F @ torch.ones(1, 7, 7)",
    "NonFinite": "fxscope.interpret(net, x0 / 0)",
    "StaleInterpreter": ("lin = fxscope.interpret(net, x0)\nnet[0].weight.data.mul_(2)\nlin.F.row((0,))"),
    "NotLocal": "fxscope.interpret(net, x0).F.to_sparse()",
    "OtherInterpretation": (
        'found = fxscope.compare(x0, ["freeze", "taylor"], at=0, model=net)\n'
        "old = dataclasses.replace(found.readings[1], interpretation=1)\n"
        "dataclasses.replace(found, readings=(found.readings[0], old))"
    ),
    "NotConverged": 'fxscope.interpret(net, x0).F.svd(2, "power", max_passes=4, progress=False)',
    "ImagesMix": (
        "batch_norm = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3)).double().train()\n"
        'fxscope.interpret(batch_norm, torch.randn(2, 1, 8, 8).double(), policy="taylor").F.row((0,))'
    ),
    "IllConditioned": (
        "lin = fxscope.interpret(net, x0)\n"
        'lin.pixel_discussion(0, reading="per-layer", condition=1.0001, progress=False)'
    ),
    "MapError": 'fxscope.open_map("missing")',
    "WeightsError": 'fxscope.models.load_weights(net, "missing.pt")',
    "StudyError": 'fxscope.studies.status(".")',
    "ImageError": 'from fxscope.images.photos import read\nread("missing.png")',
}


def said(name: str) -> str:
    """The message that the program of one error gives, run in an empty folder."""
    space: dict = {"__name__": f"docs_error_{name}"}
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            exec(SETUP, space)
            readable(EXAMPLES[name], "example.py")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                exec(compile(EXAMPLES[name], "example.py", "exec"), space)
        except space["FxscopeError"] as error:
            if type(error).__name__ != name:
                raise
            return str(error).replace(str(Path(folder)), "").strip()
        finally:
            os.chdir(here)
    texts = [str(w.message) for w in caught if w.category.__name__ == name]
    assert texts, f"the program of {name} raises nothing"
    return texts[0]
