"""Networks in files of ONNX, through onnx2torch; nothing else of fxscope imports that package."""

from .read import INSTALL, read_onnx

__all__ = ["INSTALL", "read_onnx"]
