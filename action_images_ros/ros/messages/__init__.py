"""ROS messages <-> the types of the core. Every converter checks what it is given and raises TransportError."""

from .cameras import camera_info_message, check_camera_info, lens_from_message
from .chunks import chunk_from_message, chunk_message
from .images import image_from_message, image_message, tile_actions, untile_actions
from .markers import path_markers
from .stamps import stamp_from_ns, stamp_to_ns
from .states import JointStateReader, joint_state_message
from .transforms import pose_from_message, pose_message

__all__ = [
    "JointStateReader",
    "camera_info_message",
    "check_camera_info",
    "chunk_from_message",
    "chunk_message",
    "image_from_message",
    "image_message",
    "joint_state_message",
    "lens_from_message",
    "path_markers",
    "pose_from_message",
    "pose_message",
    "stamp_from_ns",
    "stamp_to_ns",
    "tile_actions",
    "untile_actions",
]
