"""The hostile zoo: small modules with one habit of real code each.

``tests/test_zoo.py`` walks them over every public entry point.

Every module of this package registers its cases with ``case``; nothing else is to be edited.
"""

from __future__ import annotations

import importlib
import pkgutil

from .case import CASES, Case, case

__all__ = ["CASES", "Case", "case"]

for _entry in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_entry.name}")
