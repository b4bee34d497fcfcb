"""Which freezing rule where: presets, variants, and their precedence."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

import torch.fx as fx

from ..errors import PolicyError
from ..graph.ir import info
from ..rules import Rule, registry

PRESETS = ("freeze", "detach", "taylor")
_ALIASES = {"paper": "freeze"}


@dataclass(frozen=True)
class Policy:
    """A preset and the exceptions to it.

    preset     "freeze" (alias "paper"): masks, statistics and gates frozen (DESIGN: Fig. 2 of the paper);
               "detach": norms by scale only, gates frozen, the activated operand of a gated MLP too (the detached Jacobian);
               "taylor": eq. 4, so that F is the Jacobian
    choices    {key: variant}; a key is the place of one node ("layer1.0.relu"), a glob over places ("features.*"), or the
               name of an operator ("layer_norm"). Precedence: node, then longest glob, then operator, then preset.

    Raises ``PolicyError`` for an unknown preset or variant, and for a key that matches nothing in the model.

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
        """A policy from its short forms: a preset's name, or {key: variant} with the preset under "default"."""
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
        """The variant of ``rule`` at ``node``."""
        key = self._key(info(node).place, rule)
        if key is None:
            return rule.presets[self.preset]
        wanted = self.choices[key]
        wanted = (
            rule.presets[_ALIASES.get(wanted, wanted)]
            if _ALIASES.get(wanted, wanted) in PRESETS and wanted not in rule.variants
            else wanted
        )
        if wanted not in rule.variants:
            if key != rule.name or key == info(node).place:
                # a glob, or a place whose operator is written out in several, covers some that lack it
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
        """Refuse keys that match nothing, and glob choices that no operator they cover offers."""
        nodes = [(info(n).place, registry().rules[info(n).rule]) for n in gm.graph.nodes if info(n).rule]
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
