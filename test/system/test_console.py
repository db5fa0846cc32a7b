"""The operator's page in a real Chromium on a running graph: it shows, it instructs, and it stops, whatever hangs."""

import json
import os
import signal
import socket
import time
from contextlib import contextmanager
from pathlib import Path

import browser
import pytest
from graph_support import START_S, controller_state, expert_of, node, play, running_graph
from std_msgs.msg import String

from action_images_ros.ros import qos
from action_images_ros.ros.node_spec import NodeSpec

for package in ("aiohttp", "viser", "trimesh", "collada"):
    pytest.importorskip(package)
pytestmark = pytest.mark.skipif(
    browser.executable() is None,
    reason="no Chromium here: apt-get install chromium, or name one in ACTION_IMAGES_CHROMIUM",
)

REST_S = 30.0  # for a machine that other work occupies; what it takes is printed


def free_ports() -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


@pytest.fixture(scope="module")
def graph(cell_file, model_directory, tmp_path_factory):
    page, button = free_ports()
    more = (
        node("console", cell_file, model=str(model_directory), port=page, stop_port=button, meshes="collision",
             scene_rate_hz=4.0),
        NodeSpec("stop_button", "stop_button", parameters={"port": button}),
        node("recorder", cell_file, out=str(tmp_path_factory.mktemp("recordings"))),
    )  # fmt: skip
    with running_graph(cell_file, model_directory, tmp_path_factory.mktemp("log"), more) as parts:
        operator = parts[1]
        for report in ("console: page", "stop_button: server", "recorder: record"):
            operator.until(lambda r=report: operator.active(r), report, START_S)
        yield parts, page


@pytest.fixture(scope="module")
def page(graph):
    parts, port = graph
    with browser.Browser() as opened:
        opened.open(f"http://localhost:{port}/")
        opened.until("document.getElementById('link_page')?.classList.contains('ok')"
                     " && document.querySelectorAll('.camera').length", "the page to be connected", 120,
                     watching(parts))  # fmt: skip
        yield opened


def watching(parts):
    """While the page is waited for, the graph's news are taken in."""
    return lambda: parts[1].spin_for(0.1)


@contextmanager
def moving(parts, page):
    """The arm follows the expert, enabled from the page."""
    _, operator, watch, player, cell = parts
    play(parts)
    operator.trigger("stop")
    operator.until(lambda: watch.resting(), "rest", 30.0)
    enable_by_click(parts, page)
    began_s = time.monotonic()
    operator.until(lambda: watch.travel_rad(began_s) > 0.05, "motion", 120.0)
    yield
    player.expert = None


def enable_by_click(parts, page) -> None:
    """Until the arm runs. A machine too busy for the controller's deadlines ends in FAULT: reset, and again."""
    operator, state = parts[1], "document.getElementById('state').textContent"
    deadline_s = time.monotonic() + 150.0
    while page.run(state) != "running":
        assert time.monotonic() < deadline_s, f"enabled for 150 s, and the controller is {page.run(state)}"
        if controller_state(operator) == "fault":
            operator.trigger("reset")
        page.click("#enable")
        again_s = time.monotonic() + 5.0
        while page.run(state) != "running" and time.monotonic() < again_s:
            operator.spin_for(0.1)


def heard_on(parts, topic: str) -> list[str]:
    """What is said on a latched topic from now on, and was said last."""
    heard: list[str] = []
    parts[1].node.create_subscription(String, topic, lambda m: heard.append(m.data), qos.LATCHED)
    return heard


def stop_by_click(parts, page) -> None:
    """Press STOP as a person does; the arm comes to rest and stays there."""
    _, operator, watch, _, _ = parts
    pressed_s = time.monotonic()
    page.click("#stop")
    operator.until(lambda: watch.resting(0.2), "the arm to rest after STOP", REST_S)
    print(f"STOP: at rest {time.monotonic() - pressed_s:.2f} s after the click, 0.2 s of them to see it")
    operator.until(lambda: controller_state(operator) == "disabled", "state disabled", 30.0)


def test_the_page_shows_moving_pictures_of_every_camera_and_the_scene(graph, page):
    parts, _ = graph
    parts[3].expert = expert_of(0, parts[4])
    for view in parts[4].view_names:
        shown = f"""[...document.querySelectorAll('.camera[data-view="{view}"] .live_picture')].some(i => i.naturalWidth
            && Number(i.dataset.number) > {{}})"""
        page.until(shown.format(5), f"pictures of {view}", 120, watching(parts))
        page.until(shown.format(15), f"more pictures of {view}", 120, watching(parts))
    page.until("document.querySelectorAll('.actions_picture').length == 2 && [...document.querySelectorAll("
               "'.actions_picture')].every(i => i.naturalWidth)", "action images", 120, watching(parts))  # fmt: skip
    page.until("document.querySelectorAll('.status').length >= 6", "health", 120, watching(parts))
    page.until("document.getElementById('link_stop').classList.contains('ok')", "the stop link", 120, watching(parts))
    assert page.frames("/scene/"), "the scene has no process of its own"
    assert not [line for line in page.console if line.startswith("exception")]


def test_an_instruction_typed_into_the_page_reaches_the_graph(graph, page):
    parts, _ = graph
    heard = heard_on(parts, "instruction")
    field = "document.getElementById('instruction')"
    page.run(f"{field}.value = ''; {field}.focus()")
    page.run("document.getElementById('scene_frame').focus()")  # as a scene does when it has loaded
    page.until(f"document.activeElement === {field}", "the focus to come back", 120, watching(parts))
    page.type("reach the cyan ball")
    parts[1].until(lambda: "reach the cyan ball" in heard, "the instruction", 120.0)
    page.until("document.getElementById('instruction_now').textContent.includes('cyan')", "it on the page", 120,
               watching(parts))  # fmt: skip


def test_an_earlier_instruction_is_offered_and_one_click_says_it_again(graph, page):
    parts, _ = graph
    heard = heard_on(parts, "instruction")
    field = "document.getElementById('instruction')"
    for text in ("reach the red ball", "reach the green ball"):
        page.run(f"{field}.value = ''; {field}.focus()")
        page.type(text)
        page.until(f"document.getElementById('instruction_now').textContent.includes('{text}')", text, 120,
                   watching(parts))  # fmt: skip
    parts[1].until(lambda: heard[-1:] == ["reach the green ball"], "the newest instruction", 120.0)
    page.run(f"{field}.blur(); {field}.focus()")
    page.until("document.querySelector('#past:not([hidden]) li:nth-child(2)')?.textContent == 'reach the red ball'",
               "the earlier instruction to be offered", 120, watching(parts))  # fmt: skip
    page.click("#past li:nth-child(2)")
    parts[1].until(lambda: heard[-1] == "reach the red ball", "the earlier instruction", 120.0)


def test_the_slider_changes_the_speed_of_the_controller_that_runs(graph, page):
    parts, _ = graph
    operator = parts[1]

    def told() -> float:
        return operator.value("controller: control", "speed_factor")

    page.until("!document.getElementById('speed').disabled", "a slider that can be moved", 120, watching(parts))
    page.drag("#speed", 0.3)
    operator.until(lambda: 0.1 < told() < 0.5, "the controller's word", 120.0)
    page.until(f"document.getElementById('speed_value').textContent == '{told():.2f}×'", "it on the page", 120,
               watching(parts))  # fmt: skip
    page.drag("#speed", 1.0)
    operator.until(lambda: told() == 1.0, "the old speed", 120.0)


def test_who_is_in_control_is_shown_and_said(graph, page):
    parts, _ = graph
    heard = heard_on(parts, "control_source")
    parts[1].until(lambda: heard, "the decoder's word", 120.0)
    for who in ("human", "policy"):
        page.click(f'[data-who="{who}"]')
        parts[1].until(lambda w=who: heard[-1] == w, f"{who} on control_source", 120.0)
        page.until(f"document.querySelector('#who .on')?.dataset.who == '{who}'", f"{who} on the page", 120,
                   watching(parts))  # fmt: skip


def test_a_recording_is_thrown_away_by_a_second_click(graph, page):
    parts, _ = graph
    states = heard_on(parts, "recorder/state")

    def recorder() -> dict:
        return json.loads(states[-1]) if states else {}

    page.until("!document.getElementById('record').disabled", "a recorder", 120, watching(parts))
    page.click("#record")
    parts[1].until(lambda: recorder().get("recording"), "a recording", 120.0)
    directory = Path(recorder()["directory"])
    page.until("!document.getElementById('discard').disabled", "the button", 120, watching(parts))
    page.click("#discard")
    page.until("document.getElementById('discard').textContent == 'Delete?'", "the question", 120, watching(parts))
    assert recorder()["recording"] and directory.is_dir()
    deadline_s = time.monotonic() + 60.0
    while recorder()["recording"]:  # a slow browser may take longer than the question stands
        assert time.monotonic() < deadline_s, "the second click deletes nothing"
        page.click("#discard")
        parts[1].spin_for(0.5)
    parts[1].until(lambda: not directory.exists(), "the recording to be gone", 120.0)


def test_stop_stops(graph, page):
    parts, _ = graph
    with moving(parts, page):
        stop_by_click(parts, page)
        page.until("document.getElementById('state').textContent == 'disabled'", "the page to say so", 120,
                   watching(parts))  # fmt: skip


def test_stop_stops_when_the_console_and_the_scene_hang(graph, page):
    """The console's process is frozen, and the scene's frame runs in circles: only the button's own way is left."""
    parts, _ = graph
    runner = parts[0]
    with moving(parts, page):
        os.kill(runner.pid("console"), signal.SIGSTOP)
        try:
            page.hang_frame("/scene/")
            stop_by_click(parts, page)
        finally:
            os.kill(runner.pid("console"), signal.SIGCONT)


def test_the_page_says_when_a_node_is_lost(graph, page):
    """Last: the graph is not whole afterwards."""
    parts, _ = graph
    runner, operator = parts[:2]
    operator.on_wait = lambda: None
    os.kill(runner.pid("controller"), signal.SIGKILL)
    page.open(f"http://localhost:{graph[1]}/")
    page.until("document.getElementById('state') && document.getElementById('state').textContent == 'unreachable'",
               "state unreachable", 120, watching(parts))  # fmt: skip
    page.until("document.getElementById('banner').innerText.includes('controller')", "a banner", 120, watching(parts))
