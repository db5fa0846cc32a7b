"""Recorded episodes in viewers that others make."""
