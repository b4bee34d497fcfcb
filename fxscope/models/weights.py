"""Load checkpoints from safetensors files, or by ``torch.load(weights_only=True)``; no code is run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import nn

from ..errors import WeightsError
from ..graph.arguments import checked

DATA = Path(__file__).parent / "data"
_ACCEPTED = (
    "FILE.safetensors and the state_dict of a model in a .pt or .pth file are read; code in a file is"
    " never run"
)


@checked
def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a checkpoint into ``model``.

    The prefix "module." is removed from keys. Running statistics of instance norm, which old CycleGAN files
    hold, are ignored.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is unchanged if the checkpoint does not fit.
    path : str or Path
        A safetensors file, or a state_dict that ``torch.load(weights_only=True)`` reads.

    Returns
    -------
    torch.nn.Module
        The same network.

    Raises
    ------
    WeightsError
        If the file cannot be read, or has missing, unexpected or misshapen keys.
    """
    state = {re.sub(r"^module\.", "", k): v for k, v in _read(Path(path)).items()}
    wanted = model.state_dict()
    state = {
        k: v
        for k, v in state.items()
        if k in wanted or not re.search(r"(running_mean|running_var|num_batches_tracked)$", k)
    }
    missing = sorted(set(wanted) - set(state))
    unexpected = sorted(set(state) - set(wanted))
    shapes = [
        f"{k}: {tuple(state[k].shape)} for {tuple(wanted[k].shape)}"
        for k in wanted
        if k in state and state[k].shape != wanted[k].shape
    ]
    if missing or unexpected or shapes:
        parts = [
            f"{len(keys)} {name}: {', '.join(keys[:6])}{' ...' if len(keys) > 6 else ''}"
            for name, keys in (("missing", missing), ("unexpected", unexpected), ("misshapen", shapes))
            if keys
        ]
        raise WeightsError(
            f"{path} does not fit {type(model).__name__}, it is of another network; {'; '.join(parts)}"
        )
    model.load_state_dict(state)
    return model


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; give the path of one")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError as error:
        raise WeightsError("reading .safetensors needs safetensors: pip install 'fxscope[images]'") from error
    except Exception as error:  # every reader has its own errors for a damaged file
        kind = "safetensors" if path.suffix == ".safetensors" else "what torch.save writes of tensors alone"
        # torch's own text advises to run the file's code
        raise WeightsError(
            f"{path} is not a weights file: it does not read as {kind} ({type(error).__name__}); {_ACCEPTED}"
        ) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds something else than a dictionary of tensors; {_ACCEPTED}")
    return state


@checked
def provenance(name: str) -> dict:
    """How bundled weights were trained: script, data, seed, and results on held-out data.

    Parameters
    ----------
    name : str
        A key of ``STAND_INS``.

    Returns
    -------
    dict
        What the JSON file beside the weights holds.
    """
    known = sorted(path.stem for path in DATA.glob("*.json"))
    if name not in known:
        raise ValueError(f"no bundled weights {name!r}; there are {', '.join(known)}")
    return json.loads((DATA / f"{name}.json").read_text())
