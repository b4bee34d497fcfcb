"""The command line: the group ``cli`` of all verbs, and its entry point ``main``."""

from __future__ import annotations

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit("the command line needs click: pip install 'fxscope[cli]'") from missing

# they need click
from . import analyses, deploy, films, graphs, linear, maps, networks, pages, studies, views
from .running import Verbs

__all__ = ["cli", "main"]


@click.group("fxscope", cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fxscope")
@click.option("--traceback", is_flag=True, help="show the traceback of an unexpected error")
def cli(traceback: bool) -> None:
    """Linear interpreters of convolutional networks: y1 = F(x0) x1 + r(x0).

    MODEL is torchvision:NAME, fxscope:NAME, path/to/file.py:factory, or what fxscope models lists.
    """


for module in (deploy, graphs, linear, maps, analyses, films, pages, views, studies, networks):
    for verb in module.VERBS:
        cli.add_command(verb)


def main() -> None:
    """Entry point."""
    cli()


if __name__ == "__main__":
    main()
