"""Places: the names that ``inputs=`` and ``outputs=`` take."""

from __future__ import annotations

import difflib

import torch.fx as fx

from ..errors import PlaceError
from ..graph.ir import info


def place_names(gm: fx.GraphModule) -> list[str]:
    """Every place of a traced graph, in order of execution.

    The names are those of torchvision's get_graph_node_names.
    """
    seen: dict[str, None] = {}
    for node in gm.graph.nodes:
        if node.op not in ("output", "get_attr") and info(node).place:
            seen.setdefault(info(node).place)
    return list(seen)


def find_place(gm: fx.GraphModule, name: str) -> fx.Node:
    """The node whose value is the place ``name``.

    The last node of that name is taken, so the name of a module means its output.

    A module's path that is no leaf ("layer1") names its last node. Raises ``PlaceError`` with the nearest
    names.
    """
    nodes = [n for n in gm.graph.nodes if n.op not in ("output", "get_attr")]
    hits = [n for n in nodes if info(n).place == name] or [
        n for n in nodes if info(n).place.startswith(name + ".")
    ]
    if hits:
        return hits[-1]
    names = place_names(gm)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
    raise PlaceError(
        f"the model has no place {name!r}; nearest: {', '.join(near) or 'none'}. fxscope.places(model) lists"
        f" all {len(names)}"
    )
