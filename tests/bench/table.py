r"""docs/benchmarks.md from the JSON files of the benchmarks.

    for b in pair memory products prepare compiled rows windows many_images sparse svd votes serve serving \
        page; do
        python tests/bench/$b.py --json tests/bench/results/$b.json
    done
    python tests/bench/table.py

Every file holds a list of rows; a table has a column for every key. Nothing in the page is
written by hand but its sentences.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import torch

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "benchmarks.md"
CHAPTERS = {
    "pair": (
        "The pair",
        (
            "Pair on x0 and K probes against the plain network on K + 1 images, in the same memory layout."
            " Bar: 1.15."
        ),
    ),
    "memory": (
        "Peak memory",
        (
            "Most bytes of tensors alive at once: the pair under no_grad against the plain network on the"
            " same batch (bar 1.15); K rows, x0's own run and its states included, against autograd through"
            " the network on K copies (bar 0.5)."
        ),
    ),
    "products": (
        "Columns and rows",
        (
            "A replayed column and a pulled-back row, K = 8 together, in forward passes of the plain network"
            " on 8 images in its faster memory layout; torch.func in the same layout. Bars: a column 1.02"
            " (0.95 with batch norm), at least 1.5 times faster than vmap(jvp) and no slower than linearize;"
            " a row 1.1, at least 1.1 times faster than vmap(vjp)."
        ),
    ),
    "prepare": (
        "The second image",
        (
            "`reader(x0)` of `fxscope.prepare`, the same with one row, the contributions of one output of an"
            " interpreter, and `interpret` anew, in forward passes of the plain network on one image in its"
            " faster memory layout. Bars for `reader`: 1.15, with batch norm 1.25, mobilenet_v3_small 1.6,"
            " digits_resnet 3; with a row 2.3; contributions 1.4."
        ),
    ),
    "compiled": (
        "Compiled readers",
        (
            "Products of a reader with and without `compile=True`, in forward passes of the plain network on"
            " K images in its faster memory layout. `programs`: what torch.compile made of one of the two"
            " products for K = 2, 3, 5, 8, 16, 17, 32, 33; `compile_s`: seconds of the first calls of both."
        ),
    ),
    "rows": (
        "All rows through the narrowest place",
        (
            "`lin.F.to_dense()` of classifiers with 1000 labels at 224 pixels, against 1000 forward passes in"
            " the faster layout; beside it the same rows with one reverse pass each, from a chunk of them."
            " Bar for resnet18: 0.6."
        ),
    ),
    "windows": (
        "Rows and columns of crops",
        (
            "Networks of images, in forward passes of the plain network on the whole image. `F.row` is one"
            " pass of an interpreter that is there already, `reader and row` runs the image first,"
            " `local_row` traces, runs and reads the crop. Four are neighbouring places."
        ),
    ),
    "many_images": (
        "Memory of a loop over images",
        (
            "Resident memory of a process in which one reader reads images of 24 x 24 pixels, with a row and"
            " contributions, or a discussion, of each. Bar: + 16 MiB from a tenth of the images to all."
        ),
    ),
    "serve": (
        "Serving an explanation",
        (
            'emit="row" gives y0, one row an image and r in one call; the plain network goes the same way in'
            " each runtime; autograd, in eager mode, gives y0 and the row without r."
        ),
    ),
    "serving": (
        "Over HTTP and in C++",
        (
            "One saved file against the plain network served in the same way, with OMP_NUM_THREADS=1. `call`:"
            " the file in Python; `C++`: in a program; there B images are one batch, and times are of the"
            " processor. `HTTP`: the service of `examples/serving`, by the clock on a machine that also did"
            " other work, from the requests of B clients until all have their answers; `one by one`: without"
            " batching. `row` explains a given output, `top` the largest one from the same file, `argmax` the"
            ' largest one from a file of emit="argmax".'
        ),
    ),
    "page": (
        "Rows and columns in the browser",
        (
            "A page of `lin.page`, opened from disk in Chromium: onnxruntime-web in one thread. Milliseconds"
            " of a row and of a column, medians and the slowest of 21 places; `first`: from opening the file"
            " to the first row; `law`: |<row, x0> + r - y0| over the largest output, the worst of all rows."
            " Bars: pixelshuffle4x 60 ms a row and a column,"
            " edsr_small4x 350 and 150 ms, 3 s to the first row."
        ),
    ),
    "sparse": (
        "The whole matrix",
        (
            "`lin.F.to_sparse()` against column by column, which is estimated from two chunks of columns in"
            " the same run. Bar: 50 times."
        ),
    ),
    "svd": (
        "Singular values",
        (
            "Passes (products with F or its transpose), wall-clock and processor seconds at the same"
            " tolerance, 1e-5; the largest true residual over its value, and the first and last value found."
            " `torch.func` is svds (arpack) over jvp and vjp of the model, `algorithm1` the paper's method"
            " with deflation, stopped at its limit of passes. Bars: the default without a block takes no more"
            " passes than propack, and 0.75 of the time of scipy's fastest. In the default environment of"
            " threads: scipy's own spin on beside torch's after a call, which propack suffers from most."
        ),
    ),
    "study": (
        "Studies",
        (
            "The residual share of digits by `fxscope.study` against a plain loop of a reader that keeps the"
            " same numbers: processor time of an image (bar 1.05), and how much longer a study takes to"
            " start. Two processes of torchrun against one, one thread each, seconds between files (bar 1.6)."
            " Resident memory at a tenth of the images and at all of them. Measured on a busy machine."
        ),
    ),
    "votes": (
        "All rows of a classifier",
        (
            "All 1000 rows of vgg16 at 224 pixels, extrapolated from a chunk, against 1000 forward passes in"
            " the faster layout. Bar: 1.1."
        ),
    ),
}


UNSHOWN = ("info", "converged", "all_passes")  # told by the residual


def cell(value) -> str:
    if isinstance(value, float):
        return (
            f"{value:.1e}"
            if 0 < abs(value) < 1e-3
            else f"{value:.2f}"
            if abs(value) < 100
            else f"{value:,.0f}"
        )
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def table(rows: list[dict]) -> str:
    """One Markdown table for every set of keys among the rows."""
    kinds: dict[tuple, list[dict]] = {}
    for row in rows:
        kinds.setdefault(tuple(k for k in row if k not in UNSHOWN), []).append(row)
    text = []
    for keys, each in kinds.items():
        lines = ["| " + " | ".join(k.replace("_", " ") for k in keys) + " |", "|" + " --- |" * len(keys)]
        text.append("\n".join(lines + ["| " + " | ".join(cell(row[k]) for k in keys) + " |" for row in each]))
    return "\n\n".join(text)


def page() -> str:
    parts = [
        "# Benchmarks",
        (
            "Ratios within one run, medians of interleaved calls; seconds are those of one machine and tell"
            " little. Made by"
        ),
        (
            "```\nfor b in pair memory products prepare compiled rows windows many_images sparse svd study"
            " votes serve serving page; do\n"
            "    python tests/bench/$b.py --json tests/bench/results/$b.json\ndone\n"
            "python tests/bench/table.py\n```"
        ),
        (
            f"on {platform.machine()}, {torch.get_num_threads()} threads, torch"
            f" {torch.__version__.split('+')[0]}, CPU."
        ),
    ]
    for name, (title, said) in CHAPTERS.items():
        file = HERE / "results" / f"{name}.json"
        if file.exists():
            parts += [
                f"## {title}",
                f"{said} `python tests/bench/{name}.py`",
                table(json.loads(file.read_text())),
            ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
