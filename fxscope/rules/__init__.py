"""The table of rules: every module of this package contributes the rules it defines; nothing else is to be edited."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable

from torch import nn

from ..graph.overridden import own_class
from .declare import Rule

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

    def add(self, rule: Rule) -> None:
        """Add a rule; a name or spelling that another rule has is an error."""
        self._claim(self.rules, rule.name, rule, rule)
        if isinstance(rule.target, str):
            self._claim(self.methods, rule.target, rule, rule)
        else:
            self._claim(self.functions, rule.target, rule, rule)
        for function in rule.functions:
            self._claim(self.functions, function, rule, rule)
        for method in rule.methods:
            self._claim(self.methods, method, rule, rule)
        for module, adapter in rule.modules.items():
            self._claim(self.modules, module, (rule, adapter), rule)

    def _claim(self, table: dict, key, value, rule: Rule) -> None:
        if key in table and table[key] is not value and table[key] != value:
            raise ValueError(f"two rules spell {key}: {rule.name} and {table[key]}")
        table[key] = value

    def of_function(self, function: Callable) -> Rule | None:
        """The rule of a function: by identity, or by qualified name for functions of packages that may be absent."""
        found = self.functions.get(function)
        return found or self.functions.get(
            f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}"
        )

    def of_module(self, module: nn.Module) -> tuple[Rule, Callable | None] | None:
        """The rule of a module: that of its class, where nothing that its forward uses was overridden or patched."""
        base = own_class(module, self.modules)
        return None if base is None else self.modules[base]


@functools.cache
def registry() -> Registry:
    """All rules, those that ``register_rule`` added included."""
    rules = []
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        rules += [value for value in vars(module).values() if isinstance(value, Rule)]
    unique = {id(rule): rule for rule in rules}
    return Registry(list(unique.values()))


def register_rule(rule: Rule) -> Rule:
    """Add a rule of your own to the table, for this process; returns it."""
    registry().add(rule)
    return rule
