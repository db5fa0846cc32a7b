"""A camera that goes on sending one picture, with new stamps: the denoiser names it and makes nothing of it."""

from graph_support import START_S, node, sim_node
from sensor_msgs.msg import Image

from action_images_ros.ros import qos
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner


def test_a_frozen_picture_makes_the_policy_hold(cell_file, model_directory, tmp_path):
    """A simulated sensor without noise before an arm at rest is one."""
    nodes = [
        sim_node(cell_file, noise_sd=0.0),
        node("denoiser", cell_file, model=str(model_directory), engine="torch"),
    ]
    with GraphRunner(nodes, tmp_path) as runner, Operator(on_wait=runner.require_running) as operator:
        made = []
        operator.node.create_subscription(Image, "action_images", made.append, qos.TARGETS)
        operator.until(lambda: operator.active("denoiser: generate"), "the denoiser", 2 * START_S)
        operator.until(
            lambda: "same picture" in operator.diagnostics.get("denoiser: camera left", {}).get("message", ""),
            "the frozen camera to be named",
            START_S,
        )
        operator.instruct("reach the red ball")
        # one set from before the picture counted as stuck may still be served
        operator.spin_for(3.0)
        served = len(made)
        operator.spin_for(2.0)
        assert len(made) == served <= 1
        said = operator.diagnostics["denoiser: camera right"]
        assert int(said["frozen"]) > 0 and int(said["used"]) > 0
