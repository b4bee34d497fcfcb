"""Time and resident memory of a photograph larger than memory: ``python tests/bench/tiles.py``.

Each number is of a fresh process: the largest resident memory that the system saw (``getrusage``), with the
libraries, x0, and what is returned. Results larger than 256 MiB are files, which the system may drop.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

import fxscope
from fxscope import models

WORK = {
    "import": lambda lin: None,
    "local_row": lambda lin: lin.local_row(_middle(lin)),
    "row": lambda lin: lin.F.row(_middle(lin)),
    "column": lambda lin: lin.F.column((0, *(n // 2 for n in lin.x0.shape[2:]))),
    "contributions": lambda lin: lin.contributions(_middle(lin)),
    "F @ x0": lambda lin: lin.F @ lin.x0[0],
    "F.T @ y": lambda lin: lin.F.T @ torch.ones(lin.F.outputs.shape),
    "y0": lambda lin: lin.y0,
    "error": lambda lin: lin.error,
}


def _middle(lin) -> tuple[int, int, int]:
    return (0, *(n // 2 for n in lin.F.outputs.shape[1:]))


def measured(what: str, name: str, height: int, width: int, tile: int) -> dict:
    """Time and memory of one piece of work in this process."""
    model = models.build(name)
    x0 = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).mul_(255)
    began = time.perf_counter()
    lin = fxscope.interpret(model, x0, tile=tile or "auto") if what != "import" else None
    made = time.perf_counter()
    WORK[what](lin)
    done = time.perf_counter()
    return {
        "what": what,
        "model": name,
        "size": [height, width],
        "tile": getattr(lin, "tile", None),
        "made_s": round(made - began, 1),
        "seconds": round(done - made, 1),
        "processor_s": round(time.process_time(), 1),
        "resident_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Print one line of JSON for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="edsr_small4x")
    parser.add_argument("--size", default="3000x4000", help="HxW")
    parser.add_argument("--tile", type=int, default=256, help="0: as memory says")
    parser.add_argument("--what", choices=list(WORK), action="append")
    parser.add_argument("--here", action="store_true", help="in this process")
    asked = parser.parse_args()
    for what in asked.what or WORK:
        if asked.here:
            height, width = map(int, asked.size.split("x"))
            print(json.dumps(measured(what, asked.model, height, width, asked.tile)), flush=True)
        else:
            same = [f"--model={asked.model}", f"--size={asked.size}", f"--tile={asked.tile}"]
            subprocess.run([sys.executable, __file__, "--here", *same, f"--what={what}"], check=True)


if __name__ == "__main__":
    main()
