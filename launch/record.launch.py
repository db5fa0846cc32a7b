"""The recorder: everything that the graph says, with the cell file and calibration in the bag.

Start and stop by the services `recorder/start` and `recorder/stop`, by the topic `recorder/command`, or with
`action-images record`, which has keys for it.
"""

from action_images_ros.ros.graph import RECORD_ARGUMENTS, record_graph
from action_images_ros.ros.launch_files import description


def generate_launch_description():
    return description(RECORD_ARGUMENTS, record_graph)
