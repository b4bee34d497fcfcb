"""The command line: ``fxscope transform | inspect | verify | row | column | svd | contributions | storage | tour``."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import torch
from torch import nn

from .. import models
from ..emit.pipeline import transform
from ..errors import FxscopeError, ImageError, TraceFailure, UnsupportedOperator, WeightsError
from ..testing.network import verify

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit("the command line needs click: pip install 'fxscope[cli]'") from missing

from .commands import register  # it needs click

SMALL = 300  # pixels to a side up to which a reading is no question of memory
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def load_model(spec: str, weights: str | None = None) -> nn.Module:
    """The network of "torchvision:NAME", "fxscope:NAME" or "path/to/file.py:factory", in eval mode."""
    kind, _, name = spec.rpartition(":")
    if kind == "fxscope":
        if name not in models.names():
            raise FxscopeError(f"fxscope has no network {name!r}; there are {', '.join(models.names())}")
        model = models.build(name)
    elif kind == "torchvision":
        model = _torchvision(name, weights)
        weights = None if weights == "DEFAULT" else weights
    elif kind.endswith(".py"):
        model = _from_file(Path(kind), name)
    else:
        raise FxscopeError(
            f"MODEL is torchvision:NAME, fxscope:NAME or path/to/file.py:factory, got {spec!r}"
        )
    if weights == "DEFAULT":
        raise WeightsError(f"--weights DEFAULT is torchvision's; {spec} has its own or needs a file")
    if weights:
        models.load_weights(model, weights)
    return model.eval()


def _torchvision(name: str, weights: str | None) -> nn.Module:
    import torchvision

    if name not in torchvision.models.list_models():
        raise FxscopeError(f"torchvision has no model {name!r}; torchvision.models.list_models() lists them")
    if weights != "DEFAULT":
        return torchvision.models.get_model(name, weights=None)
    try:
        return torchvision.models.get_model(name, weights="DEFAULT")
    except OSError as error:  # no network, no such file, a full disk
        raise WeightsError(
            f"torchvision's weights of {name} could not be downloaded: {error}; give --weights FILE"
        ) from error
    except Exception as error:
        # a file in the cache that is cut short, or of another network, fails in many ways
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"torchvision's weights of {name} do not load from {cache} ({type(error).__name__}); remove the"
            " file there to have it downloaded again, or give --weights FILE"
        ) from None


def _from_file(path: Path, name: str) -> nn.Module:
    if not path.is_file():
        raise FxscopeError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    factory = getattr(module, name, None)
    if not callable(factory):
        raise FxscopeError(f"{path} has no callable {name!r}")
    return factory()


def example(model: nn.Module, image: str | None, size: int, dtype: torch.dtype) -> torch.Tensor:
    """x0 for a command: the photograph, cropped and with as many channels as the first layer takes; a shipped one without."""
    from ..images import photos

    channels = _channels(model)
    picture = photos.read(image) if image else photos.shipped("astronaut")
    picture = picture[:, :size, :size] if image else picture[:, 60 : 60 + size, 160 : 160 + size]
    picture = photos.luminance(picture) if channels == 1 else picture
    if channels not in (1, 3):
        raise FxscopeError(f"the network takes {channels} channels, and a photograph has 1 or 3")
    return picture[None].to(dtype)


def checked(spec: str, model: nn.Module, x0: torch.Tensor) -> torch.Tensor:
    """x0, where the network runs on it and a reading fits the memory; raises ``ImageError`` with the reason, or the memory it would need."""
    from ..paper.tour.networks import Network, check_memory

    part = x0 if max(x0.shape[2:]) <= 2 * SMALL else x0[..., :64, :64]
    try:
        with torch.no_grad():
            y0 = model(part)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ImageError(
            f"{spec} does not run on an image of {part.shape[3]} x {part.shape[2]} pixels:"
            f" {str(error).splitlines()[0]}; give a larger image, or another --size"
        ) from error
    if max(x0.shape[2:]) > SMALL:
        images = isinstance(y0, torch.Tensor) and y0.dim() == 4
        scale = max(1, y0.shape[-1] // part.shape[-1]) if images else 1
        check_memory(
            Network(spec, model, 0.0, 1.0, x0.shape[1], None, "", "images" if images else "scores", scale),
            tuple(x0.shape),
        )
    return x0


def _channels(model: nn.Module) -> int:
    return next((m.in_channels for m in model.modules() if hasattr(m, "in_channels")), 3)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fxscope")
def cli() -> None:
    """Linear interpreters of convolutional networks: y1 = F(x0) x1 + r(x0).

    MODEL is torchvision:NAME, fxscope:NAME or path/to/file.py:factory.
    """


def _common(function):
    for option in (
        click.option(
            "--weights",
            help="a checkpoint (safetensors, or a weights_only .pt), or DEFAULT for torchvision's own",
        ),
        click.option("--policy", default="freeze", show_default=True, help="freeze, detach or taylor"),
        click.option(
            "--size",
            default=64,
            show_default=True,
            help="side of the square of the photograph that is used, in pixels",
        ),
        click.option("--json", "as_json", is_flag=True, help="print JSON"),
    ):
        function = option(function)
    return function


@cli.command("transform")
@click.argument("model")
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False), help="FILE.pt2, FILE.ts or FILE.onnx"
)
@click.option("--emit", default="pair", show_default=True, type=click.Choice(["pair", "filter", "residual"]))
@click.option("--probes", default="stacked", show_default=True, type=click.Choice(["flat", "stacked"]))
@_common
def transform_command(model, output, emit, probes, weights, policy, size, as_json):
    """Rewrite MODEL, save it, and check the saved file in a fresh process."""
    from ..export import save

    network = load_model(model, weights)
    x0 = example(network, None, size, torch.float32)
    graph = transform(network, emit, policy=policy, probes=probes, example_inputs=(x0,))
    inputs = (x0,) if emit == "residual" else (x0, x0[None] if probes == "stacked" else x0)
    check = save(graph, output, inputs)
    click.echo(
        json.dumps({"path": check.path, "format": check.format, "errors": check.errors, "ok": check.ok})
        if as_json
        else str(check)
    )


@cli.command("inspect")
@click.argument("model")
@click.option("--svg", type=click.Path(dir_okay=False), help="draw the rewritten graph into this file")
@click.option("--full", is_flag=True, help="every operation a box, nothing folded")
@_common
def inspect_command(model, svg, full, weights, policy, size, as_json):
    """Print every node of the rewritten graph: class, rule, variant, what is frozen, source line."""
    from ..render import draw, summary

    network = load_model(model, weights)
    try:
        graph = transform(network, policy=policy)
    except (TraceFailure, UnsupportedOperator):  # with an example it may go through torch.export
        graph = transform(
            network, policy=policy, example_inputs=(example(network, None, size, torch.float32),)
        )
    table = summary(graph)
    click.echo(table.to_json() if as_json else str(table))
    if svg:
        draw(graph, not full).save(svg)
        click.echo(f"drawn into {svg}", err=True)


@cli.command("verify")
@click.argument("model")
@click.argument("image", required=False)
@click.option("--dtype", default="float64", show_default=True, type=click.Choice(list(_DTYPES)))
@_common
def verify_command(model, image, dtype, weights, policy, size, as_json):
    """Check the laws of the linear interpreter of MODEL on IMAGE; exit code 1 where one is broken."""
    network = load_model(model, weights)
    x0 = checked(model, network, example(network, image, size, torch.float32))
    report = verify(network, x0.to(_DTYPES[dtype]), policy=policy, dtype=_DTYPES[dtype])
    click.echo(report.to_json() if as_json else str(report))
    if not report.ok:
        sys.exit(1)


@cli.command("storage")
@click.argument("model")
@click.option("--size", default="224x224", show_default=True, help="HxW of x0")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.option("--policy", default="freeze", show_default=True, help="freeze, detach or taylor")
def storage_command(model, size, as_json, policy):
    """Count what one x0 makes MODEL keep: the paper's Table 1, recorded and packed; nothing is run."""
    from ..analysis import storage

    network = load_model(model)
    found = storage(network, (1, _channels(network), *_sides(size)), policy=policy)
    click.echo(found.to_json() if as_json else str(found))


def _sides(size: str) -> tuple[int, int]:
    try:
        height, width = (int(v) for v in size.lower().split("x"))
    except ValueError as error:
        raise FxscopeError(f"--size is HxW, as 224x224; got {size!r}") from error
    return height, width


def _place(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(v) for v in text.split(","))
    except ValueError as error:
        raise FxscopeError(f"--at is an index as C,Y,X or a class; got {text!r}") from error


def _read(model, image, weights, policy, size):
    """The interpreter of a command's network at its photograph."""
    from ..linop import interpret

    network = load_model(model, weights)
    return interpret(
        network, checked(model, network, example(network, image, size, torch.float32)), policy=policy
    )


def _caption(model: str, lin) -> str:
    from ..results.provenance import caption

    return caption(
        {
            "model": model,
            "policy": f"policy {lin.policy}",
            "dtype": str(lin.F.dtype).removeprefix("torch."),
            "error": lin.error,
        }
    )


def _index(lin, at: str | None, top: bool) -> tuple[int, ...]:
    """The output that is asked for: named, the largest, or the middle one of an image."""
    shape = lin.F.outputs.shape
    if at is not None and not top:
        return _place(at)
    if top or len(shape) == 1:
        return tuple(int(i) for i in torch.unravel_index(lin.y0.flatten().argmax(), shape))
    return (0, *(s // 2 for s in shape[1:]))


def _reading(function):
    for option in (
        click.option(
            "--at",
            help=(
                "index of the un-batched tensor, as C,Y,X or a class (default: the middle of an image, the"
                " largest score)"
            ),
        ),
        click.option(
            "-o", "--output", type=click.Path(dir_okay=False), help="draw into FILE.png, .svg or .pdf"
        ),
    ):
        function = option(function)
    return _common(function)


def _shown(figure, output: str | None) -> None:
    if output:
        figure().savefig(output, dpi=200)
        click.echo(f"drawn into {output}", err=True)


@cli.command("row")
@click.argument("model")
@click.argument("image", required=False)
@click.option("--top", is_flag=True, help="the largest output")
@_reading
def row_command(model, image, at, top, output, weights, policy, size, as_json):
    """One row of F: how an output of MODEL reads IMAGE (its receptive filter)."""
    from .. import plot

    lin = _read(model, image, weights, policy, size)
    index = _index(lin, at, top)
    row, value = lin.F.row(index), float(lin.y0[0][index])
    linear = float((row * lin.x0[0]).sum())
    r = float(lin.residual[0][index])
    numbers = {
        "index": index,
        "y0": value,
        "row_x0": linear,
        "r": r,
        "error": abs(linear + r - value),
        "nonzero": int(row.count_nonzero()),
        "energy": float(row.double().square().sum()),
    }
    click.echo(
        json.dumps(numbers)
        if as_json
        else (
            f"y0{list(index)} = {value:.6g} = <row, x0> {linear:+.6g} + r {r:+.6g}  (error"
            f" {numbers['error']:.1e}); {numbers['nonzero']} of {row.numel()} coefficients are not 0"
        )
    )
    _shown(lambda: plot.row(row, text=_caption(model, lin)), output)


@cli.command("column")
@click.argument("model")
@click.argument("image", required=False)
@_reading
def column_command(model, image, at, output, weights, policy, size, as_json):
    """One column of F: where a pixel of IMAGE goes in the output of MODEL (its projective filter)."""
    from .. import plot

    lin = _read(model, image, weights, policy, size)
    index = _place(at) if at else (0, *(s // 2 for s in lin.F.inputs.shape[1:]))
    column = lin.F.column(index)
    numbers = {
        "index": index,
        "sum": float(column.sum()),
        "energy": float(column.double().square().sum()),
        "nonzero": int(column.count_nonzero()),
    }
    click.echo(
        json.dumps(numbers)
        if as_json
        else (
            f"column {list(index)}: sum {numbers['sum']:.6g}, energy {numbers['energy']:.6g};"
            f" {numbers['nonzero']} of {column.numel()} coefficients are not 0"
        )
    )
    if output and column.dim() < 2:
        raise FxscopeError(
            f"the outputs of {model} are {column.numel()} scores and no image: there is no picture of a"
            " column; leave out -o"
        )
    _shown(lambda: plot.column(column, text=_caption(model, lin)), output)


@cli.command("svd")
@click.argument("model")
@click.argument("image", required=False)
@click.option("-k", "count", default=6, show_default=True, help="how many triplets")
@click.option("--method", help="lanczos, dense, power, randomized or scipy (default: what fits)")
@click.option(
    "--tol", default=1e-5, show_default=True, help="largest residual, relative to the singular value"
)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--save", "saved", type=click.Path(dir_okay=False), help="write the result into FILE.safetensors"
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="draw into FILE.png, .svg or .pdf")
@_common
def svd_command(model, image, count, method, tol, seed, saved, output, weights, policy, size, as_json):
    """The largest singular values of F: what passes through MODEL at IMAGE, and how much; eigen-inputs and eigen-outputs."""
    lin = _read(model, image, weights, policy, size)
    found = lin.F.svd(count, method, tol=tol, seed=seed)
    if as_json:
        click.echo(found.to_json())
    else:
        rows = zip(
            found.s.tolist(),
            found.forward_errors.tolist(),
            found.adjoint_errors.tolist(),
            found.converged.tolist(),
        )
        click.echo(
            "\n".join(
                f"{i + 1:4d}  s {s:.6g}  |F v - s u| {a:.1e}  |F^T u - s v|"
                f" {b:.1e}{'' if c else '  not converged'}"
                for i, (s, a, b, c) in enumerate(rows)
            )
        )
        click.echo(f"{found.method}: {found.passes} passes, {found.seconds:.2f} s")
    if saved:
        found.save(saved)
    _shown(lambda: found.plot(text=_caption(model, lin)), output)


@cli.command("contributions")
@click.argument("model")
@click.argument("image", required=False)
@click.option("--top", is_flag=True, help="the largest output")
@_reading
def contributions_command(model, image, at, top, output, weights, policy, size, as_json):
    """What F x0 and every additive constant of MODEL add to one output; they sum to it exactly."""
    lin = _read(model, image, weights, policy, size)
    found = lin.contributions(_index(lin, at, top))
    if as_json:
        click.echo(found.to_json())
    else:
        rows = [("F x0", "", found.linear), *((t.place, t.kind, t.value) for t in found.terms)]
        width = max(len(place) for place, _, _ in rows)
        click.echo("\n".join(f"{place:{width}s}  {kind:10s} {value:+.6g}" for place, kind, value in rows))
        click.echo(f"sum {found.total:.6g}, y0 {found.output:.6g}, error {found.error:.1e}")
    _shown(lambda: found.plot(text=_caption(model, lin)), output)


register(cli)


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
