"""The viewer in a notebook: a widget whose frame asks the kernel."""

from __future__ import annotations

from typing import Any

from .._version import __version__
from ..errors import FxscopeError
from . import front
from .answers import answered
from .live import Live


def widget(live: Live) -> Any:
    """An ``anywidget.AnyWidget`` of live networks.

    Raises
    ------
    FxscopeError
        If anywidget is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ModuleNotFoundError as error:
        raise FxscopeError("lin.view() needs anywidget: pip install 'fxscope[notebook]'") from error

    class Viewer(anywidget.AnyWidget):  # type: ignore[misc]
        """Rows and columns of networks, live."""

        _esm = front.text("widget.js")
        _page = traitlets.Unicode(_page(live)).tag(sync=True)

    made = Viewer()
    made.on_msg(lambda shown, wish, _: shown.send({}, [_granted(live, wish)]))
    return made


def _granted(live: Live, wish: Any) -> bytes:
    number = wish.get("id") if isinstance(wish, dict) else None
    if not isinstance(number, int) or not 0 <= number < 2**32:
        number, wish = 0, {}
    return answered(live, number, wish.get("verb"), wish.get("given"))


def _page(live: Live) -> str:
    title = front.title_of([network.name for network in live.networks])
    footer = f"<p>fxscope {__version__} computes in the kernel of this notebook.</p>"
    told = live.told()
    data, kind = front.as_data("fxscope-about", told), front.about(told[0][0])
    return front.page("framed.js", title, "in the kernel of this notebook", footer, data=data, about=kind)[0]
