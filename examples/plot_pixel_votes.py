"""
Pixels that vote
================

Every pixel votes for the label to which it adds most (the paper's Fig. 3). On a digit classifier, a trained
stand-in, one can ask whether the votes for the winner lie on the object: here the object is the ink, and
chance is the ink's share of the picture.
"""

import fxscope
from fxscope import models
from fxscope.paper import datasets
from fxscope.plot.style import COLUMN, TEXT, new_figure

COUNT = 40
ink, labels = (part[:COUNT] for part in datasets.digits("test"))
lin = fxscope.interpret(models.digits_vgg_bn(), datasets.normalised(ink))
print(f"{int((lin.y0.argmax(1) == labels).sum())} of {COUNT} held-out digits are classified rightly")

# %%
# One election a digit, all ten labels standing. What a pixel adds to a score is its pixel discussion, which
# sums to the score.

votes = lin.pixel_votes(progress=False)
popular = [next(iter(votes.of(i).popularity)) for i in range(COUNT)]
print(
    f"largest error of the sums {votes.error:.0e}; the most popular label has the largest score for"
    f" {sum(p == int(t) for p, t in zip(popular, lin.y0.argmax(1)))} of {COUNT} digits"
)
election = votes.of(0).plot(
    photograph=ink[0],
    text=f"votes of the ten labels on a held-out {int(labels[0])}, VGG-like stand-in with batch norm",
)

# %%
# Every label in the order of the scores: which part of its votes lies on ink.

on_ink = ink[:, 0] > 0.5
ranked = lin.y0.argsort(1, descending=True)
shares = [100 * float(on_ink[votes.winners == ranked[:, k, None, None]].double().mean()) for k in range(10)]
chance = 100 * float(on_ink.double().mean())
print(
    f"of the top label's votes {shares[0]:.1f}% lie on ink, of the others' {min(shares[1:]):.1f} to"
    f" {max(shares[1:]):.1f}%; chance {chance:.1f}%"
)

figure = new_figure(COLUMN, 2.2)
axis = figure.subplots()
axis.bar(range(1, 11), shares, color="#4477aa")
axis.axhline(chance, color="0.3", linewidth=0.8, linestyle="--", label="chance")
axis.set_xlabel("label, by its score", fontsize=TEXT)
axis.set_ylabel("votes on ink, %", fontsize=TEXT)
axis.set_xticks(range(1, 11))
axis.set_ylim(0, 1.2 * max(shares))
axis.tick_params(labelsize=TEXT - 1)
axis.legend(fontsize=TEXT - 1, frameon=False)
