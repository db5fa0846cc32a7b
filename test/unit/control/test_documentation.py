"""docs/controller.md tells the same transitions, ways to resume and refusals as the data."""

import re
from pathlib import Path

from action_images_ros.control import RESUME, TRANSITIONS, ControllerState, Event, Refusal

TEXT = (Path(__file__).parents[3] / "docs" / "controller.md").read_text(encoding="utf-8")


def table(name):
    block = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", TEXT, re.S).group(1)
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]


def test_transitions():
    header, _, *rows = table("transitions")
    states = [ControllerState(name) for name in header[1:]]
    told = {(state, Event(row[0])): ControllerState(cell)
            for row in rows for state, cell in zip(states, row[1:], strict=True) if cell}
    assert told == TRANSITIONS
    assert {Event(row[0]) for row in rows} == set(Event)


def test_resuming():
    _, _, *rows = table("resume")
    assert {Event(event): how for event, how in rows} == {event: resume.value for event, resume in RESUME.items()}


def test_every_refusal_is_explained():
    assert {refusal.value for refusal in Refusal} <= set(re.findall(r"`(\w+)`", TEXT))
