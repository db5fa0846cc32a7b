"""Everything for demonstrations in the simulated cell: the cell, the controller, the scripted expert, the recorder.

`action-images record --expert 50` starts the same graph and is the operator: an episode a recording.
"""

from action_images_ros.ros.graph import DEMONSTRATION_ARGUMENTS, demonstration_graph
from action_images_ros.ros.launch_files import description


def generate_launch_description():
    return description(DEMONSTRATION_ARGUMENTS, demonstration_graph)
