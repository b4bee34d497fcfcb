"""Photographs, and resizing them."""
