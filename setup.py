"""An ament_python package that is also a plain pip package: `colcon build` and `pip install .` read this one file."""

import os
import re

from setuptools import find_packages, setup

NAME = "action_images_ros"
HERE = os.path.dirname(os.path.abspath(__file__))


def version():
    with open(os.path.join(HERE, NAME, "__init__.py"), encoding="utf-8") as file:
        return re.search(r'^__version__ = "([^"]+)"', file.read(), re.MULTILINE).group(1)


def node_names():
    """Every module of nodes/ is one executable of the same name: no list to forget."""
    files = os.listdir(os.path.join(HERE, NAME, "nodes"))
    return sorted(f[:-3] for f in files if f.endswith(".py") and not f.startswith("_"))


def shared_files(folder):
    """Every file under `folder`, laid out below share/action_images_ros as it is here."""
    found = []
    for parent, folders, files in os.walk(os.path.join(HERE, folder)):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        below = os.path.relpath(parent, HERE)
        paths = [os.path.join(below, name) for name in sorted(files) if not name.startswith(".")]
        if paths:
            found.append((os.path.join("share", NAME, below), paths))
    return found


DEPENDENCIES = [
    "numpy>=1.26",
    "opencv-python>=4.8",
    "pyyaml>=6",
    "safetensors>=0.4",
    "scipy>=1.10",
    "threadpoolctl>=3.1",
    "transforms3d>=0.4.2",
]

WHEELS_EXIST = "sys_platform == 'linux' and platform_machine == 'x86_64' and python_version < '3.14'"

# MuJoCo's newest releases have no wheel for CPython 3.10
MUJOCO = ["mujoco>=3.3; python_version >= '3.11'", "mujoco>=3.3,<=3.17; python_version < '3.11'"]

EXTRAS = {
    # rclpy and the common messages for a machine without a ROS installation; a sourced one takes their place
    "ros": [
        f"ros-kilted-rclpy>=9.1.2; {WHEELS_EXIST}",
        f"ros-rclpy[fastrtps]>=9.1.2; {WHEELS_EXIST}",
        f"ros-kilted-common-interfaces>=5.5.1; {WHEELS_EXIST}",
    ],
    # the shipped model on a CPU: exported graph, no torch
    "cpu": ["onnxruntime>=1.20", "openvino>=2025.0"],
    "control": ["ruckig>=0.14", *MUJOCO],
    # its token table and tokenizer file are the text encoder
    "text": ["wordllama>=0.3.3", "tokenizers>=0.15"],
    "sim": [*MUJOCO, "franky-sim>=1.0.4", "imageio-ffmpeg>=0.5"],
    "cameras": ["pyrealsense2>=2.55"],
    # libfranka's client; needs glibc 2.34
    "arm": [f"franky-control>=2.0; {WHEELS_EXIST}"],
    # serves the simulated cell by libfranka's protocol; pinocchio is 380 MB
    "arm-sim": ["franky-sim>=1.0.4", f"pin>=3.0; {WHEELS_EXIST}"],
    # recorded episodes in rerun, 0.7 GB
    "view": ["rerun-sdk>=0.24", "rosbags>=0.10"],
    # the operator's live page; pycollada reads the arm's meshes
    "console": ["viser>=1.0", "aiohttp>=3.9", "trimesh>=4.0", "pycollada>=0.8"],
    "train": [
        "torch==2.13.0",
        "diffusers>=0.35",
        "transformers>=4.50",
        "accelerate>=1.0",
        "peft>=0.17",
        "tensorboard>=2.18",
        "onnx>=1.18",
        "onnxscript>=0.5",
    ],
    # compressed bags, and bags into LeRobot data sets; recording itself needs nothing more
    "recording": ["lz4>=4.3", "zstandard>=0.22", "pyarrow>=15", "imageio-ffmpeg>=0.5"],
    "tensorrt": ["tensorrt-cu13>=11.4"],
    # engines for desktop GPUs; the builder needs no GPU (95 MB to fetch, 235 MB installed)
    "tensorrt-rtx": [f"tensorrt-rtx-cu13-{part}>=1.7; {WHEELS_EXIST}" for part in ("libs", "bindings")],
    "docs": ["mkdocs-material>=9.5"],
    "test": ["pytest>=8", "pytest-rerunfailures>=14", "hypothesis>=6.100", "ruff>=0.6", "mypy>=2.4,<2.5", "mcap>=1.1",
             "rosbags>=0.10", "rerun-sdk>=0.24", "coverage>=7.10"],
}


def union(*names):
    return list(dict.fromkeys(requirement for name in names for requirement in EXTRAS[name]))


EXTRAS["deploy"] = union("cpu", "control", "text")
EXTRAS["demo"] = union("ros", "deploy", "sim", "console")

setup(
    name=NAME,
    version=version(),
    description="Action Images: a video world-action model in closed loop on a Franka arm, as ROS 2 nodes",
    license="Apache-2.0",
    maintainer="action_images_ros maintainers",
    maintainer_email="maintainers@users.noreply.example",
    python_requires=">=3.10",
    packages=find_packages(HERE, include=[NAME, f"{NAME}.*"]),
    package_data={f"{NAME}.console": ["page/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *shared_files("launch"),
        *shared_files("config"),
        *shared_files("models"),
    ],
    install_requires=DEPENDENCIES,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            f"action-images = {NAME}.cli:main",
            *(f"{node} = {NAME}.nodes.{node}:main" for node in node_names()),
        ],
    },
    zip_safe=False,
)
