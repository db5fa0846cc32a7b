"""The simulated cell alone: RealSense topics, joint states, command topics, as a real cell has them."""

from action_images_ros.ros.graph import SIM_ARGUMENTS, sim_graph
from action_images_ros.ros.launch_files import description


def generate_launch_description():
    return description(SIM_ARGUMENTS, sim_graph)
