"""Running a graph node by node, and keeping what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch.fx as fx


class Recorder(fx.Interpreter):
    """Runs a graph; ``kept`` has, for every node, what ``keep`` made of its value.

    Parameters
    ----------
    gm
        The graph, which is run on its own nodes.
    keep
        Called with (node, value); what it returns is kept, unless it is None. While it runs, ``env`` has the
        values of the node's arguments.
    replace
        Called with (node, value) before ``keep``; the run goes on with what it returns.
    """

    def __init__(
        self,
        gm: fx.GraphModule,
        keep: Callable[[fx.Node, Any], Any] = lambda node, value: None,
        replace: Callable[[fx.Node, Any], Any] = lambda node, value: value,
    ):
        super().__init__(gm)
        self.keep, self.replace = keep, replace
        self.kept: dict[fx.Node, Any] = {}

    def run_node(self, node: fx.Node) -> Any:
        """The node's value, kept or replaced."""
        value = self.replace(node, super().run_node(node))
        found = self.keep(node, value)
        if found is not None:
            self.kept[node] = found
        return value


def evaluated(node: fx.Node, args: Any, kwargs: Any) -> Any:
    """The result of a call of a function or method, with values in place of its arguments."""
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return cast(Callable, node.target)(*args, **kwargs)
