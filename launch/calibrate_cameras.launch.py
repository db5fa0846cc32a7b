"""Camera calibration of a cell: boards seen by all cameras while the arm is guided, or drives by itself; live pictures.

`ros2 launch action_images_ros calibrate_cameras.launch.py --show-args` lists the arguments. `action-images up
calibrate_cameras` starts the same graph where there is no `ros2 launch`.
"""

from action_images_ros.ros.graph import CALIBRATION_ARGUMENTS, calibration_graph
from action_images_ros.ros.launch_files import description


def generate_launch_description():
    return description(CALIBRATION_ARGUMENTS, calibration_graph)
