"""A claim of the paper beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from .verdict import VERDICTS


@dataclass
class Finding:
    """A claim of the paper with the measurement and the verdict.

    Parameters
    ----------
    claim, paper, measured : str
        What is claimed, what the paper says, and what was measured.
    appears : bool or None
        Whether the measurement fulfils the rule; None where that is undecided at this size.
    rule : str
        What decides this, chosen before the measurement.
    network : str
        The networks that were measured.
    why : str
        What the verdict rests on.
    topic : str
        What it is about: a page shows it with the figure or table of this topic.
    """

    claim: str
    paper: str
    measured: str
    appears: bool | None
    rule: str
    network: str = ""
    why: str = ""
    topic: str = ""

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return VERDICTS[self.appears]
