"""``fxscope study report``: the paper's Tables 3 and 4 and Fig. 4 and 8 of a study, as a page and as data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..graph.arguments import checked
from .summary import Study

if TYPE_CHECKING:
    from ..paper.tour.page import Written


@checked
def report(folder: str | Path, progress: bool = True) -> Written:
    """Write the page of a finished study into its folder, as ``report/index.html``.

    Parameters
    ----------
    folder : path
        The folder of the study.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Written
        The path of the page, and its numbers. Beside it are ``tables.parquet``, ``tables.json`` and the
        figures.

    Raises
    ------
    StudyError
        If the study is not finished.
    """
    found = Study.load(folder)
    from .page import write_page  # pages take a while to import, which other uses of fxscope do without

    return write_page(found, progress)
