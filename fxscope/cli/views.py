"""The verb that serves a live network to the browser: ``view``."""

from __future__ import annotations

import functools
import importlib.util
import webbrowser

import click
import torch

from ..errors import FxscopeError
from ..linop import LinearInterpreter, interpret
from ..paper.tour import Network
from ..viewer import Live, Shown, bound, new_token, serve
from . import options
from .inputs import SHIPPED, checked, names_of, networks_of, photos, read, take
from .options import Asked, verb
from .running import note
from .shown import answer

NEEDS = ("starlette", "uvicorn", "websockets")


@verb(
    "view",
    options.model,
    options.optional_image,
    options.other_models,
    options.many_weights,
    options.seed,
    options.device,
    options.key,
    options.many_policies,
    options.picture,
    options.names,
    options.as_json,
)
@click.option(
    "--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one"
)
@click.option("--no-browser", is_flag=True, help="print the address, and open nothing")
def view_verb(asked: Asked, port: int, no_browser: bool) -> None:
    """Move over IMAGE in the browser and see the rows and columns there, computed on this machine.

    The page is served to this machine alone, at an address with a secret of this run. Photographs can be
    dropped onto it. Ctrl-C ends it.
    """
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise FxscopeError(f"the viewer needs {', '.join(missing)}: pip install 'fxscope[view]'")
    listening, token = bound(port), new_token()
    first = _first(asked)
    live = Live(_shown(asked, *first))
    live.add(*first)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/#token={token}"
    answer(asked, {"address": address}, f"open {address}\nCtrl-C ends it")
    click.get_current_context().obj.flush()
    if not no_browser:
        webbrowser.open(address)
    try:
        serve(live, listening, token)
    except KeyboardInterrupt:
        note("fxscope: the viewer has ended")


def _first(asked: Asked) -> tuple[str, torch.Tensor]:
    """The photograph that it begins with."""
    if asked.image:
        return str(asked.image).rpartition("/")[2], read(str(asked.image))
    return f"{SHIPPED} (scikit-image)", photos.shipped(SHIPPED)


def _shown(asked: Asked, name: str, picture: torch.Tensor) -> list[Shown]:
    """Every network under every policy."""
    policies = list(dict.fromkeys(asked.policies))
    found = []
    for choice, network in zip(asked.choices, networks_of(asked)):
        y0 = checked(asked, network, take(network, name, picture))
        labels = names_of(asked, choice, y0.shape[-1]) if network.kind == "scores" else None
        for policy in policies:
            called = network.name if len(policies) == 1 else f"{network.name}, {policy}"
            at = functools.partial(_interpreted, asked, network, policy)
            note = f"{network.note}, policy {policy}"
            found.append(Shown(called, note, at, network.preprocess, labels))
    return found


def _interpreted(asked: Asked, network: Network, policy: str, picture: torch.Tensor) -> LinearInterpreter:
    """The interpreter at any photograph that comes later, too."""
    x0 = network.take(picture)
    checked(asked, network, x0)
    return interpret(network.module, x0, policy=policy)


VERBS = (view_verb,)
