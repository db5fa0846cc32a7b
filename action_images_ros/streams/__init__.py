"""What arrives over time, put in order: matched sets, states at a moment, joint states and pictures out of messages.

The live nodes and the conversion of recordings run this same code, so that a model is trained on what it will
see. Messages are anything with the fields of the ROS message of that name.
"""

from .history import StateHistory
from .joint_states import JointStateReader
from .pictures import DIRECT_ENCODINGS, fingerprint, raw_picture, rgb_picture
from .synchroniser import MatchedSet, Synchroniser

__all__ = [
    "DIRECT_ENCODINGS",
    "JointStateReader",
    "MatchedSet",
    "StateHistory",
    "Synchroniser",
    "fingerprint",
    "raw_picture",
    "rgb_picture",
]
