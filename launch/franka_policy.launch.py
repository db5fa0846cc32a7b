"""Camera pixels in, Franka motion out: denoiser, decoder, controller, camera transforms; with sim:=true the cell too.

`ros2 launch action_images_ros franka_policy.launch.py --show-args` lists the arguments. `action-images up policy`
starts the same graph where there is no `ros2 launch`.
"""

from action_images_ros.ros.graph import POLICY_ARGUMENTS, policy_graph
from action_images_ros.ros.launch_files import description


def generate_launch_description():
    return description(POLICY_ARGUMENTS, policy_graph)
