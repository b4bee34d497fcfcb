"""The verb that lists networks: ``models``."""

from __future__ import annotations

import click

from ..models.families import FAMILIES
from ..models.spec import OTHERS
from . import options
from .options import Asked, verb
from .shown import answer


@verb("models", options.as_json)
@click.argument("family", required=False, type=click.Choice(list(FAMILIES)))
def models_verb(asked: Asked, family: str | None) -> None:
    """What MODEL can be in this environment, and what is missing; with FAMILY, the names of its networks."""
    if family is not None:
        FAMILIES[family].check()
        listed = FAMILIES[family].listed
        names = listed() if listed else []
        text = "\n".join(f"{family}:{name}" for name in names) or f"{FAMILIES[family].form} (any)"
        answer(asked, {"family": family, "names": names}, text)
        return
    found, lines = {}, []
    for name, each in FAMILIES.items():
        missing = None if each.is_installed else f"needs {each.package}: {each.install}"
        count = len(each.listed()) if each.listed and not missing else None
        found[name] = {"form": each.form, "missing": missing, "networks": count}
        lines.append(f"{each.form:28s}{missing or ('' if count is None else f'{count} networks')}".rstrip())
    answer(asked, {"families": found, "others": OTHERS}, "\n".join([*lines, *OTHERS]))


VERBS = (models_verb,)
