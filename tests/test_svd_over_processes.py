"""Singular values over two real processes (gloo) are those of one; each has its rows of every vector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import fxscope
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError
from fxscope.linop.svd.spread import ALONE

HERE = Path(__file__).parent
PROCESSES = 2


def _setup():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, 1, 1),
        nn.PixelShuffle(2),
    )
    x0 = torch.randn(1, 1, 27, 14, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return fxscope.interpret(model.double().eval(), x0, tile=7)


def _in_a_process(out: str) -> None:
    """What each of the two processes does."""
    torch.distributed.init_process_group("gloo")
    lin = _setup()
    rank = torch.distributed.get_rank()
    runs = []
    through = lin._through
    lin._through = lambda windows, *a: (runs.append(len(windows)), through(windows, *a))[1]
    found = lin.svd(3, tol=1e-9, progress=False)
    numbers = {
        "s": found.s.tolist(),
        "errors": found.errors.tolist(),
        "orthogonality": found.orthogonality,
        "passes": found.passes,
        "tiles": max(runs),
        "v": found.v.tolist(),
        "u": found.u.tolist(),
        "refused": _refused(lin),
    }
    Path(out, f"{rank}.json").write_text(json.dumps(numbers))
    torch.distributed.destroy_process_group()


def _refused(lin) -> list[str]:
    said = []
    for options in ({"method": "power"}, {"start": lin.F.svd(1, progress=False)}):
        try:
            lin.svd(1, **options)
        except FxscopeError as error:
            said.append(str(error))
    return said


NET = """
import torch
from torch import nn

def image():
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 12, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), last, nn.PixelShuffle(2)).double()
"""


def _torchrun(*command: str) -> subprocess.CompletedProcess:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    return subprocess.run(
        [*start, *command], capture_output=True, text=True, timeout=300, env=env, check=False
    )


@pytest.mark.full
def test_two_processes_give_what_one_gives(tmp_path):
    ran = _torchrun(__file__, str(tmp_path))
    assert ran.returncode == 0, ran.stderr[-2000:]
    one = _setup().F.svd(3, tol=1e-9, progress=False)
    each = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(PROCESSES)]
    assert each[0] == each[1] | {"tiles": each[0]["tiles"]} and each[0]["tiles"] + each[1]["tiles"] == 8
    found = each[0]
    assert (torch.tensor(found["s"], dtype=torch.float64) - one.s).abs().max() < 1e-10
    assert max(found["errors"]) < 1e-9 * one.s[0] and found["orthogonality"] < 1e-10
    F = _setup().F
    for s, v, u in zip(found["s"], *(torch.tensor(found[n], dtype=torch.float64) for n in ("v", "u"))):
        assert (F @ v - s * u).norm() < 1e-8 and (F.T @ u - s * v).norm() < 1e-8
    assert len(found["refused"]) == 2 and "lanczos" in found["refused"][0]


def test_one_process_needs_no_group():
    lin = _setup()
    assert lin.F.spread is ALONE and torch.equal(lin.svd(2, progress=False).s, lin.F.svd(2, progress=False).s)


@pytest.mark.full
def test_the_verb_under_torchrun_answers_once_with_the_values_of_one_process(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 28, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    verb = ["svd", f"{tmp_path}/net.py:image", f"{tmp_path}/photo.png", "--crop", "none"]
    given = [*verb, "--tile", "12", "-k", "3", "--tol", "1e-9", "--json"]
    ran = _torchrun("-m", "fxscope", *given, "--save", str(tmp_path / "two.safetensors"))
    assert ran.returncode == 0, ran.stderr[-2000:]
    alone = CliRunner().invoke(cli, [*given, "--save", str(tmp_path / "one.safetensors")])
    assert alone.exit_code == 0, alone.output
    one, two = json.loads(alone.stdout), json.loads(ran.stdout)
    assert one.keys() == two.keys()
    two, one = (fxscope.linop.SVD.load(tmp_path / f"{n}.safetensors") for n in ("two", "one"))
    assert two.s.dtype == torch.float64 and len(two.s) == 3
    assert (two.s - one.s).abs().max() < 1e-10
    whole = CliRunner().invoke(cli, [*verb, "--tile", "none", "-k", "3", "--tol", "1e-9", "--json"])
    assert json.loads(whole.stdout)["s"] == pytest.approx(two.s.tolist(), abs=1e-10)


if __name__ == "__main__":
    _in_a_process(sys.argv[1])
