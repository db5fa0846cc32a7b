"""The processes of a cell's cameras: whoever drives them, and where they stand."""

from __future__ import annotations

from pathlib import Path

from ..camera_settings import Depth, SyncRole
from ..cell import Cell, View
from ..errors import one_of
from ..geometry.se3 import quat_from_matrix
from .launch_arguments import CAMERA_DRIVERS
from .node_spec import NodeSpec, our_node


def camera_nodes(driver: str, cell: Cell, cell_path: Path) -> tuple[NodeSpec, ...]:
    """What `driver`, one of CAMERA_DRIVERS, starts for all cameras of the cell: the same topics and settings either
    way."""
    one_of("camera_driver", driver, CAMERA_DRIVERS)
    if driver == "pyrealsense2":
        return (our_node("camera_driver", {"cell": str(cell_path)}),)
    return tuple(_realsense_ros(view) for view in cell.views) if driver == "realsense_ros" else ()


def _realsense_ros(view: View) -> NodeSpec:
    """realsense-ros 4.55 and later: topics below its namespace and name; frames and TF from camera_name."""
    namespace, name = view.topic.rsplit("/", 1)
    settings, (width, height) = view.driver, view.image_size or (640, 480)
    profile = f"{width}x{height}x{settings.rate_hz}"
    depth = settings.depth is Depth.ALIGNED
    parameters: dict[str, object] = {
        "camera_name": name,
        "serial_no": f"_{view.serial}",  # the underscore, which the node drops, keeps digits from becoming a number
        "enable_color": True,
        "rgb_camera.color_profile": profile,
        "rgb_camera.color_format": "RGB8",
        "depth_module.color_profile": profile,  # cameras without an RGB module, such as the D405
        "depth_module.color_format": "RGB8",
        "rgb_camera.global_time_enabled": True,
        "depth_module.global_time_enabled": True,
        "enable_depth": depth,
        "align_depth.enable": depth,
        **{f"enable_{stream}": False for stream in ("infra1", "infra2", "gyro", "accel")},
        "publish_tf": False,  # the optical frame has one parent: the base, by the calibration
        "rgb_camera.auto_exposure_priority": False,
        "rgb_camera.enable_auto_exposure": settings.exposure_us is None,
        "rgb_camera.enable_auto_white_balance": settings.white_balance_k is None,
        "depth_module.inter_cam_sync_mode": {SyncRole.NONE: 0, SyncRole.MASTER: 1, SyncRole.SLAVE: 2}[settings.sync],
    }
    if settings.exposure_us is not None:
        parameters["rgb_camera.exposure"] = round(settings.exposure_us / 100.0)
    if settings.gain is not None:
        parameters["rgb_camera.gain"] = round(settings.gain)
    if settings.white_balance_k is not None:
        parameters["rgb_camera.white_balance"] = round(settings.white_balance_k)
    return NodeSpec("realsense2_camera_node", name, "realsense2_camera", namespace, parameters=parameters)


def static_transforms(cell: Cell) -> tuple[NodeSpec, ...]:
    """One publisher of /tf_static for every view: base frame to its optical frame."""
    out = []
    for view in cell.views:
        T = view.camera.base_T_camera
        numbers = [*T[:3, 3], *quat_from_matrix(T[:3, :3])]
        flags = ("--x", "--y", "--z", "--qx", "--qy", "--qz", "--qw")
        pairs = [text for flag, x in zip(flags, numbers) for text in (flag, f"{x:.9g}")]
        out.append(
            NodeSpec(
                "static_transform_publisher",
                f"{view.name}_camera_tf",
                "tf2_ros",
                required=False,
                optional=True,
                arguments=(*pairs, "--frame-id", cell.arm.base_frame, "--child-frame-id", view.frame_id),
            )
        )
    return tuple(out)
