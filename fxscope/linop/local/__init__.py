"""Local networks: the reach of each output, F as a sparse matrix, and rows computed from a crop."""
