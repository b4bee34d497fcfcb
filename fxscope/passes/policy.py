"""Policies: which variant of a freezing rule applies where, by presets and exceptions."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

import torch.fx as fx

from ..errors import PolicyError
from ..graph.ir import info
from ..rules import Rule, registry
from ..rules.declare import DERIVATIVE

PRESETS = ("freeze", "detach", "taylor")
_ALIASES = {"paper": "freeze"}


@dataclass(frozen=True)
class Policy:
    """A preset and the exceptions to it.

    Parameters
    ----------
    preset : str
        * "freeze" (alias "paper"): masks, statistics and gates are frozen (Fig. 2).
        * "detach": norms are frozen by their scale only, and gates are frozen, also the activated operand of
          a gated MLP (the detached Jacobian).
        * "taylor": eq. 4, so that F is the Jacobian.
    choices : dict of str to str
        {key: variant}. A key is the place of a node ("layer1.0.relu"), a glob over places ("features.*"), or
        the name of an operator ("layer_norm"). A node takes precedence over the longest glob, then the
        operator, then the preset.

    Raises
    ------
    PolicyError
        If a preset or variant is unknown, or if a key matches nothing in the model.

    References
    ----------
    "A Tour of Convolutional Networks Guided by Linear Interpreters", eq. 4 and Fig. 2.

    Examples
    --------
    >>> Policy.of({"default": "detach", "layer1.*": "taylor"})
    Policy(preset='detach', choices={'layer1.*': 'taylor'})
    """

    preset: str = "freeze"
    choices: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        preset = _ALIASES.get(self.preset, self.preset)
        if preset not in PRESETS:
            raise PolicyError(f"unknown policy {self.preset!r}; presets are {', '.join(PRESETS)}, 'paper'")
        object.__setattr__(self, "preset", preset)

    @classmethod
    def of(cls, policy: str | dict | Policy | None) -> Policy:
        """A policy from its short forms: a preset's name, or {key: variant} with a preset as "default"."""
        if policy is None:
            return cls()
        if isinstance(policy, cls):
            return policy
        if isinstance(policy, str):
            return cls(policy)
        if isinstance(policy, dict):
            choices = dict(policy)
            return cls(choices.pop("default", "freeze"), choices)
        raise PolicyError(
            f"policy is a preset's name, a dict or a fxscope.Policy, got {type(policy).__name__}"
        )

    def variant(self, node: fx.Node, rule: Rule) -> str:
        """The variant of ``rule`` at ``node``; "derivative" where "taylor" is asked for, and it has none."""
        key = self._key(info(node).place, rule)
        if key is None:
            return rule.presets[self.preset]
        wanted = self.choices[key]
        preset = _ALIASES.get(wanted, wanted)
        if wanted not in rule.variants and preset in PRESETS:
            wanted = rule.presets[preset]
        if wanted not in rule.variants and wanted != DERIVATIVE:
            if key != rule.name or key == info(node).place:
                # a glob, or a place that several operators share, also covers operators without the variant
                return rule.presets[self.preset]
            raise PolicyError(
                f"{rule.name} has no variant {self.choices[key]!r} (asked for by {key!r}); it offers"
                f" {', '.join(rule.variants)}"
            )
        return wanted

    def _key(self, place: str, rule: Rule) -> str | None:
        if place in self.choices:
            return place
        globs = [k for k in self.choices if fnmatch.fnmatchcase(place, k) and _is_glob(k)]
        if globs:
            return max(globs, key=len)
        return rule.name if rule.name in self.choices else None

    def check(self, gm: fx.GraphModule) -> None:
        """Raise ``PolicyError`` if a key matches nothing, or nothing that it matches has the variant."""
        marks = [info(n) for n in gm.graph.nodes]
        nodes = [(m.place, registry().rules[m.rule]) for m in marks if m.rule]
        for key, variant in self.choices.items():
            hit = [
                r
                for place, r in nodes
                if key in (place, r.name) or (_is_glob(key) and fnmatch.fnmatchcase(place, key))
            ]
            if not hit:
                raise PolicyError(
                    f"policy key {key!r} matches no place and no operator of this model;"
                    " fxscope.places(model) lists the places"
                )
            offered = {v for r in hit for v in r.variants} | set(PRESETS) | set(_ALIASES)
            if variant not in offered:
                raise PolicyError(
                    f"nothing that {key!r} covers has a variant {variant!r}; offered:"
                    f" {', '.join(sorted(offered))}"
                )


def _is_glob(key: str) -> bool:
    return any(c in key for c in "*?[")
