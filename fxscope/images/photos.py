"""Read photographs as tensors, scale them, and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ..errors import ImageError, said

SHIPPED = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "motorcycle_left",
    "motorcycle_right",
    "camera",
    "hubble_deep_field",
    "grass",
    "gravel",
    "brick",
    "coins",
    "moon",
)
_SUFFIX = {"rocket": ".jpg", "hubble_deep_field": ".jpg"}


def shipped(name: str) -> torch.Tensor:
    """A photograph that comes with scikit-image, (3, H, W) in [0, 1], float32. Nothing is downloaded.

    Parameters
    ----------
    name : str
        One of ``SHIPPED``, for example "chelsea".

    Returns
    -------
    torch.Tensor
        (3, H, W).

    Raises
    ------
    ImageError
        If scikit-image is not installed, or has no such photograph.
    """
    skimage = _skimage()
    path = Path(skimage.__file__).parent / "data" / f"{name}{_SUFFIX.get(name, '.png')}"
    return read(path)


def read(path: str | Path) -> torch.Tensor:
    """Read an image file as (3, H, W) in [0, 1], float32.

    A grey image is repeated in three channels, an alpha channel is dropped, and integers are divided by the
    largest number of their type.

    Parameters
    ----------
    path : str or Path
        A file that Pillow can read.

    Returns
    -------
    torch.Tensor
        (3, H, W).

    Raises
    ------
    ImageError
        If there is no such file, it is no image, or Pillow is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"there is no image file {path}")
    return decoded(path, str(path))


def decoded(file: str | Path | BinaryIO, name: str, most: int | None = None) -> torch.Tensor:
    """As ``read``, of a file that may be open; ``most`` is the largest number of pixels that is unpacked."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ImageError("reading images needs Pillow: pip install 'fxscope[images]'") from error
    try:
        with Image.open(file) as picture:
            if most is not None and picture.width * picture.height > most:
                raise ImageError(
                    f"{name} has {picture.width} x {picture.height} pixels, and {most:,} are allowed"
                )
            pixels = np.asarray(picture.convert("RGB") if picture.mode in ("P", "CMYK", "YCbCr") else picture)
    except ImageError:
        raise
    except Exception as error:  # every image reader has its own errors
        raise ImageError(f"{name} is not an image that can be read: {said(error)}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise ImageError(f"{name}: expected a grey, RGB or RGBA image, got an array of shape {pixels.shape}")
    pixels = pixels[:, :, :1] if pixels.shape[2] <= 2 else pixels[:, :, :3]
    # int32 is how 16-bit files may come
    scale = (
        65535
        if pixels.dtype == np.int32
        else np.iinfo(pixels.dtype).max
        if np.issubdtype(pixels.dtype, np.integer)
        else 1.0
    )
    image = torch.from_numpy(pixels.astype(np.float32) / np.float32(scale)).permute(2, 0, 1)
    return image.expand(3, -1, -1).contiguous()


def luminance(image: torch.Tensor) -> torch.Tensor:
    """The ITU-R BT.601 luma of an image (3, H, W) in [0, 1], as (1, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=image.dtype)
    return torch.einsum("c,chw->hw", weights, image)[None]


def downscale(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Downscale (C, H, W) to (C, H // factor, W // factor) by an anti-aliased bicubic filter.

    The filter is Keys' kernel with a = -1/2, stretched by ``factor``; borders are mirrored.
    """
    h, w = image.shape[1:]
    image = image[:, : h - h % factor, : w - w % factor]
    from .bicubic import keys

    taps = torch.arange(-2 * factor + 0.5, 2 * factor, dtype=torch.float64) / factor
    kernel = (keys(taps) / keys(taps).sum()).to(image.dtype)
    pad = (4 * factor - factor) // 2
    x = torch.nn.functional.pad(image[:, None], (pad,) * 4, mode="reflect")
    x = torch.nn.functional.conv2d(x, kernel.view(1, 1, 1, -1), stride=(1, factor))
    return torch.nn.functional.conv2d(x, kernel.view(1, 1, -1, 1), stride=(factor, 1))[:, 0]


def psnr(a: torch.Tensor, b: torch.Tensor, border: int = 0) -> float:
    """The peak signal-to-noise ratio in dB of two images in [0, 1].

    ``a`` is clipped to [0, 1], and ``border`` pixels at each side do not count.
    """
    if border:
        a, b = a[..., border:-border, border:-border], b[..., border:-border, border:-border]
    return float(-10 * torch.log10(((a.clamp(0, 1) - b) ** 2).mean()))


def _skimage():
    try:
        import skimage
    except ModuleNotFoundError as error:
        raise ImageError("photographs need scikit-image: pip install 'fxscope[images]'") from error
    return skimage
