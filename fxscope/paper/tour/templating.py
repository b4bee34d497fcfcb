"""The HTML templates of the pages, ``templates/*.html``."""

from __future__ import annotations

import html
from typing import Any

from ...errors import FxscopeError


def environment() -> Any:
    """The jinja2 ``Environment`` of the pages; it escapes every value that is not marked ``safe``."""
    try:
        import jinja2
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise FxscopeError("pages need jinja2: pip install 'fxscope[plot]'") from error

    def escaped(value: Any) -> Any:
        """Escape as ``html.escape`` does, whose entities differ from those of markupsafe."""
        return value if hasattr(value, "__html__") else Markup(html.escape(str(value)))

    return jinja2.Environment(
        loader=jinja2.PackageLoader("fxscope.paper.tour"),
        autoescape=True,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
