"""F on disk: rows, columns, or all of F as a sharded array of zarr, and the operator that reads it."""

from .stored import StoredMap, open_map

__all__ = ["StoredMap", "open_map"]
