"""fxscope: linear interpreters of convolutional networks, as a compiler pass over torch.fx."""

import sys as _sys
from pathlib import Path as _Path

from ._version import __version__

try:
    from . import analysis, errors, models, plot, studies, testing
    from . import viewer as _viewer  # noqa: F401  it gives interpreters their page
    from .analysis.compare import compare
    from .analysis.storage import storage
    from .emit.pipeline import places, transform
    from .errors import FxscopeError
    from .export import check_saved, save
    from .images.preprocess import Preprocess
    from .linop import interpret, local_column, local_columns, local_row, local_rows, open_map, prepare
    from .passes.policy import Policy
    from .render import draw, summary, to_networkx
    from .rules import register_rule
    from .studies import mean_map, study
    from .testing.network import verify
except KeyboardInterrupt:
    # these imports take seconds; interrupted in them, the command line ends as it does later
    if _Path(_sys.argv[0]).stem != "fxscope":
        raise
    print("fxscope: interrupted", file=_sys.stderr)
    raise SystemExit(130) from None

__all__ = [
    "FxscopeError",
    "Policy",
    "Preprocess",
    "__version__",
    "analysis",
    "check_saved",
    "compare",
    "draw",
    "errors",
    "interpret",
    "local_column",
    "local_columns",
    "local_row",
    "local_rows",
    "mean_map",
    "models",
    "open_map",
    "places",
    "plot",
    "prepare",
    "register_rule",
    "save",
    "storage",
    "studies",
    "study",
    "summary",
    "testing",
    "to_networkx",
    "transform",
    "verify",
]
