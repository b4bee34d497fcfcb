"""Sparse F: how far each output reaches, columns that share a pass, rows from a crop."""
