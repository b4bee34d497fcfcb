"""Local F: how far each output reaches, the sparse matrix, and rows from a crop."""
