"""A claim of the paper beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Finding:
    """A claim of the paper with the measurement; ``appears`` is None if the ``rule`` cannot decide.

    Parameters
    ----------
    claim, paper, measured : str
        What is claimed, what the paper says, and what was measured.
    appears : bool or None
        Whether the measurement fulfils the rule.
    rule : str
        What decides this, chosen before the measurement.
    network : str
        The networks that were measured.
    """

    claim: str
    paper: str
    measured: str
    appears: bool | None
    rule: str
    network: str = ""
