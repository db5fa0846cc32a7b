"""`action-images call`: what a machine without the ros2 command uses to steer the graph."""

import threading

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from action_images_ros.cli import main
from action_images_ros.ros import qos


@pytest.fixture
def graph():
    """Two services and a listener; what was asked of them."""
    context, heard = Context(), []
    rclpy.init(context=context)
    node = Node("stand_in", context=context)

    def answer(request, response):
        heard.append(getattr(request, "data", None))
        response.success, response.message = heard[-1] is not False, "so be it"
        return response

    node.create_service(SetBool, "enable", answer)
    node.create_service(Trigger, "calibrator/save", answer)
    node.create_subscription(String, "instruction", lambda m: heard.append(m.data), qos.LATCHED)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield heard
    executor.shutdown()
    thread.join(10.0)
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_services_and_texts_reach_the_graph(graph, capsys):
    assert main(["call", "enable", "true"]) == 0 and main(["call", "/calibrator/save"]) == 0
    assert main(["call", "enable", "false"]) == 1, "the graph refused it"
    assert main(["call", "instruction", "reach the red ball"]) == 0
    for _ in range(200):
        if len(graph) == 4:
            break
        threading.Event().wait(0.1)
    assert graph == [True, None, False, "reach the red ball"]
    assert capsys.readouterr().err.strip() == "so be it"


@pytest.mark.parametrize(("words", "says"), [
    ("call nothing", "name is 'nothing'; legal: calibrator/capture"),
    ("call enable", "enable takes true or false"),
    ("call enable yes", "value is 'yes'; legal: false, true"),
    ("call stop now", "stop takes no value"),
    ("call instruction", "instruction takes a text"),
])  # fmt: skip
def test_what_cannot_be_called_is_said(words, says, capsys):
    assert main(words.split()) == 2
    assert says in capsys.readouterr().err
