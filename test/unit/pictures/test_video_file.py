import numpy as np
import pytest

from action_images_ros.errors import DatasetError
from action_images_ros.pictures.video_file import read_at, write_mp4

RATE_HZ = 10.0


def shades(n):
    """Frame k is of brightness 20 + 15 k, red a little stronger."""
    return [np.full((48, 64, 3), 20 + 15 * k, np.uint8) + np.array([20, 0, 0], np.uint8) for k in range(n)]


@pytest.fixture
def movie(tmp_path):
    write_mp4(tmp_path / "movie.mp4", shades(12), RATE_HZ)
    return tmp_path / "movie.mp4"


def test_frames_come_back_by_their_time(movie):
    frames = read_at(movie, [0.0, 0.4, 0.42, 1.1])
    assert [f.shape for f in frames] == [(48, 64, 3)] * 4
    assert [round((f[..., 1].mean() - 20) / 15) for f in frames] == [0, 4, 4, 11]
    assert all(f[..., 0].mean() > f[..., 2].mean() + 8 for f in frames), "RGB"


def test_what_can_not_be_read_is_named(movie, tmp_path):
    with pytest.raises(DatasetError, match=r"ends at 1\.20 s but a frame at 1\.50 s"):
        read_at(movie, [0.3, 1.5])
    (tmp_path / "words.mp4").write_text("no video")
    with pytest.raises(DatasetError, match="words.mp4 is not a readable video"):
        read_at(tmp_path / "words.mp4", [0.0])
    with pytest.raises(DatasetError, match="absent.mp4"):
        read_at(tmp_path / "absent.mp4", [0.0])
    with pytest.raises(DatasetError, match="ascend"):
        read_at(movie, [0.5, 0.2])
    with pytest.raises(DatasetError, match="at least one frame"):
        write_mp4(tmp_path / "empty.mp4", [], RATE_HZ)
