"""Cameras without ROS: device clocks, frames that are new, lenses, RealSense devices, reconnection."""

from .clock import ClockReport, DeviceClock
from .feed import Backoff, CameraFeed, FeedReport, FeedState
from .frames import Camera, CameraDescription, CameraFrame, ClockDomain, RawFrame
from .gate import FrameGate, Gated

__all__ = [
    "Backoff",
    "Camera",
    "CameraDescription",
    "CameraFeed",
    "CameraFrame",
    "ClockDomain",
    "ClockReport",
    "DeviceClock",
    "FeedReport",
    "FeedState",
    "FrameGate",
    "Gated",
    "RawFrame",
]
