import pytest

pytest.importorskip("pyrealsense2", reason="pyrealsense2 is not installed (extra `cameras`)")

from software_camera import record  # noqa: E402


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    """24 frames of camera 111, colour and depth."""
    return record(tmp_path_factory.mktemp("recordings") / "111.db3", "111", 24)
