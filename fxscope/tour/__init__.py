"""The tour: a page about one photograph and one network, made of chapters that can be added to."""

from .page import TourResult, tour

__all__ = ["TourResult", "tour"]
