"""The command line: the group ``cli`` of all verbs, and its entry point ``main``."""

from __future__ import annotations

import sys

from ..errors import FxscopeError

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit("the command line needs click: pip install 'fxscope[cli]'") from missing

from . import analyses, graphs, linear, pages  # they need click

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fxscope")
def cli() -> None:
    """Linear interpreters of convolutional networks: y1 = F(x0) x1 + r(x0).

    MODEL is torchvision:NAME, fxscope:NAME or path/to/file.py:factory.
    """


for verb in (*graphs.VERBS, *linear.VERBS, *analyses.VERBS, *pages.VERBS):
    cli.add_command(verb)


def main() -> None:
    """Entry point: fxscope's own errors are printed, not traced."""
    try:
        cli(standalone_mode=False)
    except FxscopeError as error:
        click.echo(f"fxscope: {error}", err=True)
        sys.exit(2)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
