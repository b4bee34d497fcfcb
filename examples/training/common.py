"""What the training scripts share: the loop, and the file with its provenance."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

DATA = Path(__file__).parents[2] / "fxscope" / "models" / "data"


def fit(
    model: nn.Module, loss: Callable[[int], torch.Tensor], steps: int, rate: float, decay: float = 0.0
) -> None:
    """Adam with a one-cycle rate; ``loss`` draws its own batch at a step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    bar = tqdm(range(steps), unit="step", mininterval=5)
    for step in bar:
        value = loss(step)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{value.item():.4g}", refresh=False)


def crop(
    low: torch.Tensor, high: torch.Tensor, side: int, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random crop of ``side`` low-resolution pixels and what lies there in ``high``.

    Both are flipped and rotated at random.
    """
    scale = high.shape[1] // low.shape[1]
    y, x = (int(torch.randint(0, s - side + 1, (), generator=rng)) for s in low.shape[1:])
    low = low[:, y : y + side, x : x + side]
    high = high[:, y * scale : (y + side) * scale, x * scale : (x + side) * scale]
    turns, flip = int(torch.randint(0, 4, (), generator=rng)), bool(torch.randint(0, 2, (), generator=rng))
    low, high = (torch.rot90(t, turns, (1, 2)) for t in (low, high))
    return (low.flip(2), high.flip(2)) if flip else (low, high)


def rounded(model: nn.Module) -> nn.Module:
    """The model with its floating-point entries rounded to half precision, as the shipped file holds them."""
    model.load_state_dict(
        {k: v.half().to(v.dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    )
    return model.eval()


def ship(model: nn.Module, name: str, record: dict, dtype: torch.dtype = torch.float16) -> None:
    """Write NAME.safetensors and NAME.json where the networks of fxscope.models lie.

    The floating-point entries are stored in ``dtype``.
    """
    command = " ".join(["python", record["script"], *sys.argv[1:]])
    record = record | {
        "command": command,
        "threads": torch.get_num_threads(),
        "cpu_seconds": round(time.process_time()),
        "torch": torch.__version__,
        "storage": str(dtype).removeprefix("torch."),
    }
    state = {
        k: (v.to(dtype) if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()
    }
    save_file(state, DATA / f"{name}.safetensors", metadata={"provenance": json.dumps(record)})
    (DATA / f"{name}.safetensors").chmod(0o644)  # safetensors writes for its owner alone
    (DATA / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record["held_out"]))
