import csv

import numpy as np
import pytest

from action_images_ros.errors import DatasetError
from action_images_ros.geometry import so3_exp
from action_images_ros.geometry.se3 import make
from action_images_ros.trajectory_csv import COLUMNS, read_trajectory, write_trajectory
from action_images_ros.types import ActionChunk


@pytest.fixture
def chunk():
    rng = np.random.default_rng(0)
    poses = make(so3_exp(rng.normal(0, 2.0, (5, 3))), rng.uniform(-0.5, 0.8, (5, 3)))
    sd = np.array([0.001, 0.002, 0.003, 0.01, 0.02, 0.03])
    covariance = np.repeat(np.diag(sd**2)[None], 5, 0)
    covariance[3] = np.nan
    credible = np.array([True, True, True, False, True])
    return ActionChunk(poses, np.array([1.0, 1.0, 0.0, 0.0, 1.0]), covariance, np.linspace(0, 1, 5), credible,
                       ("", "", "", "too few blobs agree: 4 of 6, 5 needed", ""))


def test_round_trip(chunk, tmp_path):
    write_trajectory(tmp_path / "t.csv", chunk, 0.4)
    times, poses, openness = read_trajectory(tmp_path / "t.csv")
    assert times == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
    assert np.abs(poses - chunk.base_T_tcps).max() < 1e-7
    assert np.array_equal(openness, chunk.openness)


def test_quality_columns(chunk, tmp_path):
    write_trajectory(tmp_path / "t.csv", chunk, 0.4)
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert all(float(row["qw"]) >= 0 for row in rows)
    assert float(rows[1]["sd_y_m"]) == pytest.approx(0.002) and float(rows[1]["sd_rz_rad"]) == pytest.approx(0.03)
    assert rows[3]["sd_x_m"] == "" and rows[3]["credible"] == "0" and rows[3]["why"].startswith("too few blobs")
    assert float(rows[2]["reproj_rms_px"]) == pytest.approx(0.5)


def test_files_that_are_no_trajectory_are_named(chunk, tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(DatasetError, match="t.csv can not be read"):
        read_trajectory(path)
    path.write_text("t_s,x_m\n0,1\n")
    with pytest.raises(DatasetError, match="no column y_m, z_m, qx"):
        read_trajectory(path)
    head = "t_s,x_m,y_m,z_m,qx,qy,qz,qw,openness\n"
    path.write_text(head)
    with pytest.raises(DatasetError, match="no rows"):
        read_trajectory(path)
    path.write_text(head + "0,0,0,0,0,0,0,1,1\n0.4,0,zero,0,0,0,0,1,1\n")
    with pytest.raises(DatasetError, match="line 3: .* numbers"):
        read_trajectory(path)
    for bad in ("0,0,0,0,0,0,0,0,1", "0,0,0,0,0,0,0,1,1.5", "0,nan,0,0,0,0,0,1,1"):
        path.write_text(head + bad + "\n")
        with pytest.raises(DatasetError, match="line 2"):
            read_trajectory(path)
