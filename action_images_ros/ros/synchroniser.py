"""The synchroniser, under the name by which the nodes know it."""

from ..streams.synchroniser import MatchedSet, Synchroniser, ViewStatistics

__all__ = ["MatchedSet", "Synchroniser", "ViewStatistics"]
