"""The table of rules.

Every module of this package contributes the rules that it defines; no list is to be edited.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch import nn

from ..graph.arguments import shown
from ..graph.overridden import own_class
from .declare import Rule

OPTIONAL = ("torchvision",)  # without such a package, no network has the operators that it registers

__all__ = ["Registry", "Rule", "register_rule", "registry"]


class Registry:
    """Rules by spelling: function, method name, module class."""

    def __init__(self, rules: list[Rule]):
        self.rules: dict[str, Rule] = {}
        self.functions: dict[Callable | str, Rule] = {}
        self.methods: dict[str, Rule] = {}
        self.modules: dict[type, tuple[Rule, Callable | None]] = {}
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule, replace: bool = False) -> None:
        """Add a rule under its name and all its spellings.

        Nothing is added where another rule has one of them.

        With ``replace``, a rule of the same name is removed first, and the spellings of others go over to
        this one.
        """
        entries = self._entries(rule)
        for table, key, _, spelling in entries:
            owner = self._owner(table, key)
            if owner is not None and owner is not rule and owner != rule and not replace:
                raise ValueError(
                    f"the rule {rule.name!r} cannot be registered: the rule {owner.name!r} has {spelling}"
                    " already; replace=True puts the new rule in its place"
                )
        if replace:
            self.remove(rule.name)
        for table, key, value, _ in entries:
            table[key] = value

    def remove(self, name: str) -> None:
        """Remove the rule of this name, with all its spellings; nothing where there is none."""
        rule = self.rules.get(name)
        tables: tuple[dict, ...] = (self.rules, self.functions, self.methods, self.modules)
        for table in tables:
            for key in [key for key in table if rule is not None and self._owner(table, key) is rule]:
                del table[key]

    def _entries(self, rule: Rule) -> list[tuple[dict, Any, Any, str]]:
        """(table, key, value, how an error calls the key) of everything that finds a rule."""
        by_name = isinstance(rule.target, str)
        functions = rule.functions if by_name else (rule.target, *rule.functions)
        methods = (rule.target, *rule.methods) if by_name else rule.methods
        return [
            (self.rules, rule.name, rule, "that name"),
            *((self.functions, f, rule, f"the function {_spelled(f)}") for f in functions),
            *((self.methods, m, rule, f"the method Tensor.{m}") for m in methods),
            *((self.modules, m, (rule, a), f"the module {_spelled(m)}") for m, a in rule.modules.items()),
        ]

    @staticmethod
    def _owner(table: dict, key: Any) -> Rule | None:
        found = table.get(key)
        return found[0] if isinstance(found, tuple) else found

    def of_function(self, function: Callable) -> Rule | None:
        """The rule of a function, found by identity.

        Functions of packages that may be absent are found by their qualified name.
        """
        found = self.functions.get(function)
        return found or self.functions.get(
            f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}"
        )

    def of_module(self, module: nn.Module) -> tuple[Rule, Callable | None] | None:
        """The rule of the class of a module.

        None where something that its forward uses was overridden or patched.
        """
        base = own_class(module, self.modules)
        return None if base is None else self.modules[base]


@functools.cache
def registry() -> Registry:
    """All rules, those that ``register_rule`` added included."""
    rules = []
    for entry in pkgutil.iter_modules(__path__):
        try:
            module = importlib.import_module(f"{__name__}.{entry.name}")
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            continue
        rules += [value for value in vars(module).values() if isinstance(value, Rule)]
    unique = {id(rule): rule for rule in rules}
    return Registry(list(unique.values()))


def register_rule(rule: Rule, replace: bool = False) -> Rule:
    """Add a rule of your own to the table, for this process, and return it.

    Parameters
    ----------
    rule
        What a verb of ``fxscope.rules.declare`` returned.
    replace
        Put the rule in the place of others: a rule of the same name is removed, and a spelling that another
        rule has is taken over. Networks that are transformed afterwards use the new rule.

    Raises
    ------
    ValueError
        If another rule has the name or one of the spellings; then nothing is registered.
    """
    if not isinstance(rule, Rule):
        raise TypeError(f"a rule is what a verb of fxscope.rules.declare returns, got {shown(rule)}")
    if not isinstance(replace, bool):
        raise TypeError(f"replace is True or False, got {shown(replace)}")
    registry().add(rule, replace)
    return rule


def _spelled(spelling: Any) -> str:
    """A function or a module class, as an error calls it."""
    if isinstance(spelling, (type, FunctionType)):
        return f"{spelling.__module__}.{spelling.__qualname__}"
    return str(spelling)
