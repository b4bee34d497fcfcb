"""Serve "explain this output" over HTTP, from one saved graph. fxscope is not needed here.

    python service.py explain.ts --shape 1 32 32
    curl --data-binary @digit.png 'http://127.0.0.1:8000/explain?index=top'

The file is what ``fxscope.save`` wrote for ``fxscope.transform(model, "row", probes="stacked")``, as .ts or
.pt2; with "argmax" in place of "row" it answers for the largest output alone, at half the cost. A PNG or JPEG
is scaled to [0, 1] and normalised by --mean and --std; an .npy array (C, H, W) is taken as it is. Images that
arrive together share one call.
"""

import argparse
import asyncio
import contextlib
import io
import math
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOP = -1  # the place of the largest output, until it is known
MODES = {1: "L", 3: "RGB"}  # of pictures, by channels


class Explainer:
    """The saved graph, and what it takes and gives."""

    def __init__(self, path: Path, shape: tuple[int, ...], mean: list[float], std: list[float]):
        if path.suffix == ".ts":
            self.graph = torch.jit.load(path)
            inputs, weights = len(self.graph.forward.schema.arguments) - 1, list(self.graph.parameters())
        else:
            program = torch.export.load(path)
            self.graph = program.module()
            inputs, weights = len(program.graph_signature.user_inputs), list(program.parameters())
        self.any_output, self.shape = inputs == 2, shape  # (x0, index), or x0 alone
        self.dtype = weights[0].dtype if weights else torch.float32
        self.formats = ("json", "npy", "png") if len(shape) == 3 and shape[0] in MODES else ("json", "npy")
        self.mean, self.std = (torch.tensor(v, dtype=self.dtype).reshape(-1, 1, 1) for v in (mean, std))
        for _ in range(2):  # TorchScript optimises in its first two calls
            y0 = self(torch.zeros(1, *shape, dtype=self.dtype), torch.tensor([TOP]))["y0"]
        self.outputs = tuple(y0.shape[1:]) or (1,)

    @torch.inference_mode()
    def __call__(self, x0: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Explain one output of each image: x0 of (B, C, H, W), places of the flattened output of (B,)."""
        top = index == TOP
        if not self.any_output:
            y0, index, row, r = self.graph(x0)
        else:
            if top.any():  # the largest output is not known before a call
                first = self.graph(x0[top], index.new_zeros(1, int(top.sum())))[0]
                index = index.masked_scatter(top, first.reshape(len(first), -1).argmax(1))
            y0, row, r = self.graph(x0, index[None])
        score = y0.reshape(len(x0), -1).gather(1, index[:, None])[:, 0]
        return {"y0": y0, "index": index, "score": score, "row": row[0], "residual": r[0]}

    def image(self, body: bytes) -> torch.Tensor:
        """The image of a request's body; raises ``HTTPException``."""
        npy = body.startswith(b"\x93NUMPY")
        try:
            values = self._array(body) if npy else self._picture(body)
        except HTTPException:
            raise
        except Exception:  # every reader has its own errors
            raise HTTPException(415, "the body is not a PNG, JPEG or .npy that can be read") from None
        x = torch.from_numpy(values.astype(np.float64)).to(self.dtype)
        if not x.isfinite().all():
            raise HTTPException(422, f"the image has values that are not finite in {self.dtype}")
        return x if npy else (x / 255 - self.mean) / self.std

    def _array(self, body: bytes) -> np.ndarray:
        file = io.BytesIO(body)
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        self._check(shape)  # before memory is taken for it
        if dtype.kind not in "fiub":
            raise HTTPException(422, f"the array holds {dtype}, and not real numbers")
        return np.load(io.BytesIO(body), allow_pickle=False)

    def _picture(self, body: bytes) -> np.ndarray:
        if "png" not in self.formats:
            raise HTTPException(422, f"the network takes {self.shape}: send an .npy array, not a picture")
        with Image.open(io.BytesIO(body), formats=("PNG", "JPEG")) as picture:
            self._check((self.shape[0], picture.height, picture.width))  # before it is decoded
            if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
                raise HTTPException(415, f"the picture has mode {picture.mode}, not 8 bits a channel")
            pixels = np.asarray(picture.convert(MODES[self.shape[0]]))
        return pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)

    def _check(self, shape: tuple[int, ...]) -> None:
        if tuple(shape) != self.shape:
            raise HTTPException(422, f"the image has shape {tuple(shape)}, the network takes {self.shape}")

    def place(self, text: str) -> int:
        """The place of an output, "7" or "0,24,30", in the flattened output; raises ``HTTPException``."""
        if text == "top":
            return TOP
        if not self.any_output:
            raise HTTPException(400, "this file explains the largest output alone: index=top")
        parts = text.split(",")
        known = len(parts) == len(self.outputs) and all(p.isdecimal() and len(p) < 10 for p in parts)
        if not known or any(int(p) >= n for p, n in zip(parts, self.outputs)):
            sizes = ",".join(map(str, self.outputs))
            raise HTTPException(400, f"index={text[:40]}: not 'top' and not a place in an output of {sizes}")
        return int(np.ravel_multi_index([int(p) for p in parts], self.outputs))


class Batches:
    """Requests that arrive within ``wait`` seconds of the first share one call of at most ``most`` images."""

    def __init__(self, explainer: Explainer, most: int, wait: float):
        self.explainer, self.most, self.wait, self.queue = explainer, most, wait, asyncio.Queue()

    async def ask(self, image: torch.Tensor, place: int) -> dict:
        answer = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((image, place, answer))
        return await answer

    async def run(self) -> None:
        while True:
            asked = [await self.queue.get()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.wait):
                    while len(asked) < self.most:
                        asked.append(await self.queue.get())
            images, places, answers = zip(*asked)
            try:
                found = await asyncio.to_thread(self.explainer, torch.stack(images), torch.tensor(places))
                told = [{name: v[i] for name, v in found.items()} for i in range(len(asked))]
            except Exception as error:
                told = [error] * len(asked)
            for answer, each in zip(answers, told):
                if answer.cancelled():
                    continue
                if isinstance(each, Exception):
                    answer.set_exception(each)
                else:
                    answer.set_result(each | {"batch": len(asked)})


def answered(found: dict, outputs: tuple[int, ...], form: str) -> Response:
    """An explanation as JSON, or its row as .npy or PNG with the numbers in headers."""
    row = found["row"].numpy()
    told = {
        "index": [int(i) for i in np.unravel_index(int(found["index"]), outputs)],
        "score": float(found["score"]),
        "residual": float(found["residual"]),
        "batch": found["batch"],
    }
    if not all(map(math.isfinite, (told["score"], told["residual"]))) or not np.isfinite(row).all():
        raise HTTPException(422, "the explanation of this image overflows")
    if form == "json":
        return JSONResponse(told | {"row": row.tolist()})
    file, headers = io.BytesIO(), {f"x-{name}": str(value) for name, value in told.items()}
    if form == "npy":
        np.save(file, row)
        return Response(file.getvalue(), headers=headers, media_type="application/octet-stream")
    scaled = np.rint(127.5 + 127.5 * row / max(np.abs(row).max(), 1e-30)).astype(np.uint8)  # grey is 0
    Image.fromarray(scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0)).save(file, "PNG")
    return Response(file.getvalue(), headers=headers, media_type="image/png")


def application(explainer: Explainer, most: int, wait: float) -> Starlette:
    """The service: GET / tells what the network takes, POST /explain explains an output."""
    batches = Batches(explainer, most, wait)
    largest = 16 * math.prod(explainer.shape) + 2**16  # bytes of an image, and what a file has beside it

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette):
        running = asyncio.create_task(batches.run())
        yield
        running.cancel()

    async def about(request: Request) -> Response:
        shapes = {"image": explainer.shape, "output": explainer.outputs}
        return JSONResponse(shapes | {"dtype": str(explainer.dtype), "any_output": explainer.any_output})

    async def explain(request: Request) -> Response:
        place = explainer.place(request.query_params.get("index", "top"))
        form = request.query_params.get("format", "json")
        if form not in explainer.formats:
            raise HTTPException(400, f"format={form[:40]}: not one of {', '.join(explainer.formats)}")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > largest:
                raise HTTPException(413, f"the body is longer than {largest} bytes")
        found = await batches.ask(explainer.image(bytes(body)), place)
        return answered(found, explainer.outputs, form)

    async def refused(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code)

    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it

    routes = [Route("/", about), Route("/explain", explain, methods=["POST"])]
    handlers = {HTTPException: refused, ClientDisconnect: gone}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--shape", type=int, nargs="+", required=True, help="of one image: C H W")
    parser.add_argument("--mean", type=float, nargs="+", default=[0.0], help="of a picture, by channel")
    parser.add_argument("--std", type=float, nargs="+", default=[1.0])
    parser.add_argument("--batch", type=int, default=16, help="most images in one call")
    parser.add_argument("--wait", type=float, default=2.0, help="milliseconds that a call waits for others")
    parser.add_argument("--host", default="127.0.0.1", help="this machine alone, unless you say otherwise")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    if any(len(v) not in (1, args.shape[0]) for v in (args.mean, args.std)) or 0 in args.std:
        parser.error("--mean and --std take one number, or one for each channel; --std is not 0")
    try:
        explainer = Explainer(args.file, tuple(args.shape), args.mean, args.std)
    except Exception as error:
        sys.exit(
            f"{args.file} explains no image of {tuple(args.shape)}: {str(error).strip().splitlines()[-1]}"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn finishes what it has, and raises it again
    app = application(explainer, args.batch, args.wait / 1000)
    uvicorn.run(app, host=args.host, port=args.port, access_log=False)


if __name__ == "__main__":
    main()
