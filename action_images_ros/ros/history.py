"""The history of states, under the name by which the nodes know it."""

from ..streams.history import StateHistory

__all__ = ["StateHistory"]
