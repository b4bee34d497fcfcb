"""``python -m fxscope.testing.fuzz --n 1000 --seed 0 [--policy NAME] [--json] [--out FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ...passes.policy import PRESETS
from ...results.progress import steps
from .report import Report, fuzz

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit("the command line needs click: pip install 'fxscope[cli]'") from missing


@click.command()
@click.option("--n", "count", default=1000, show_default=True, help="how many networks")
@click.option("--seed", default=0, show_default=True, help="the seed of the first one; the others follow it")
@click.option(
    "--policy",
    type=click.Choice([*PRESETS, "paper"]),
    default="freeze",
    show_default=True,
    help="which freezing rules",
)
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="a folder for a file of every failure, shrunk, which reproduces it",
)
@click.option(
    "--shrink/--no-shrink",
    "small",
    default=True,
    show_default=True,
    help="make failing networks small",
)
def main(count: int, seed: int, policy: str, as_json: bool, out: Path | None, small: bool) -> None:
    """Draw networks as source text, hold every law against them, and shrink those that fail.

    Every network is right, refused with an error of fxscope, wrong, or a crash. The exit status is 1 if one
    is wrong or crashed. Ctrl-C prints what was found so far.
    """
    torch.set_num_threads(1)  # the networks are small
    report = Report(policy)
    try:
        with steps(count, "networks", not as_json) as bar:
            for report in fuzz(range(seed, seed + count), policy, small):
                if out is not None:
                    report.write(out, len(report.failures) - 1)
                bar.update()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    click.echo(report.to_json() if as_json else str(report))
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
