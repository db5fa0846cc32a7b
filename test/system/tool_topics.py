"""What the layouts in config/ for RViz, Foxglove and diagnostic_aggregator name."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

CONFIG = Path(__file__).resolve().parents[2] / "config"
_RVIZ = {"MarkerArray": "visualization_msgs/msg/MarkerArray", "Image": "sensor_msgs/msg/Image"}


def rviz_topics() -> dict[str, str]:
    """Topic -> message type of every display, but the robot's description, which is its driver's."""
    layout = yaml.safe_load((CONFIG / "policy.rviz").read_text(encoding="utf-8"))
    shown = [d for d in layout["Visualization Manager"]["Displays"] if "Topic" in d]
    return {d["Topic"]["Value"]: _RVIZ[d["Class"].split("/")[1]] for d in shown}


def foxglove_topics() -> dict[str, str]:
    panels = json.loads((CONFIG / "foxglove.json").read_text(encoding="utf-8"))["configById"]
    found: dict[str, str] = {}
    for name, c in panels.items():
        kind = name.split("!")[0]
        if kind == "3D":
            found |= {t: "visualization_msgs/msg/MarkerArray" for t in c["topics"] if t != "/robot_description"}
        elif kind == "Image":
            found[c["imageMode"]["imageTopic"]] = "sensor_msgs/msg/Image"
        elif kind == "DiagnosticSummary":
            found[c["topicToRender"]] = "diagnostic_msgs/msg/DiagnosticArray"
        elif kind == "Plot":
            found |= {p["value"].split(".")[0]: "sensor_msgs/msg/JointState" for p in c["paths"]}
        elif kind == "Publish":
            found[c["topicName"]] = c["datatype"]
        elif kind == "RawMessages":
            found[c["topicPath"]] = "std_msgs/msg/String"
    return found


def foxglove_services() -> set[str]:
    panels = json.loads((CONFIG / "foxglove.json").read_text(encoding="utf-8"))["configById"]
    return {c["serviceName"] for c in panels.values() if "serviceName" in c}


def layout_frames() -> set[str]:
    """Frames that the layouts for RViz and Foxglove are drawn in."""
    layout = yaml.safe_load((CONFIG / "policy.rviz").read_text(encoding="utf-8"))["Visualization Manager"]
    scene = json.loads((CONFIG / "foxglove.json").read_text(encoding="utf-8"))["configById"]["3D!scene"]
    displays = {d["Reference Frame"] for d in layout["Displays"] if "Reference Frame" in d}
    layers = {layer["frameId"] for layer in scene["layers"].values()}
    return displays | layers | {layout["Global Options"]["Fixed Frame"], scene["followTf"]}


def aggregator_groups(status: str) -> list[str]:
    """Groups of diagnostics_aggregator.yaml that take a status."""
    content = yaml.safe_load((CONFIG / "diagnostics_aggregator.yaml").read_text(encoding="utf-8"))
    groups = {k: v for k, v in content["analyzers"]["ros__parameters"].items() if isinstance(v, dict)}
    return [name for name, g in groups.items() if status.startswith(tuple(g["startswith"]))]
