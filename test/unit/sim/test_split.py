"""TEST conditions never occur in TRAIN, measured on what comes out rather than on what was drawn."""

import colorsys

import numpy as np
import pytest

from action_images_ros.errors import SimError
from action_images_ros.sim.cameras import WORKSPACE_CENTRE_M, sample_cameras, sees
from action_images_ros.sim.layout import CELL_M
from action_images_ros.sim.reach import BALL_BOX_M
from action_images_ros.sim.scene import HUES_DEG, sample_shade
from action_images_ros.sim.split import HeldOut, Split


def pose_bins(camera):
    """(azimuth, elevation, field-of-view) bins recomputed from the calibration alone."""
    x, y, z = camera.centre - WORKSPACE_CENTRE_M
    azimuth, elevation = np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, np.hypot(x, y)))
    fov = np.rad2deg(2 * np.arctan(0.5 * min(camera.image_size) / camera.K[1, 1]))
    return int(np.floor(azimuth / 5)), int(np.floor(elevation / 5)), int(np.floor(fov / 2))


def test_no_camera_bin_is_shared_by_both_splits():
    bins = {}
    for split in Split:
        rng = np.random.default_rng(0)
        cameras = [c for _ in range(400) for c in sample_cameras(rng, split, 2, (320, 240)).values()]
        bins[split] = [set(column) for column in zip(*map(pose_bins, cameras))]
    for train, test in zip(bins[Split.TRAIN], bins[Split.TEST]):
        assert train and test and not train & test


def test_cameras_are_distinct_views_of_the_workspace():
    rng = np.random.default_rng(1)
    for _ in range(50):
        cameras = sample_cameras(rng, Split.TRAIN, 2, (320, 240))
        assert list(cameras) == ["left", "right"]
        left, right = (c.centre - WORKSPACE_CENTRE_M for c in cameras.values())
        assert left[1] < 0 < right[1]
        assert 0.85 < np.linalg.norm(left) < 1.55
        assert sees(list(cameras.values()), WORKSPACE_CENTRE_M)
        up = cameras["left"].base_T_camera[:3, 1]
        assert up[2] < -0.4  # image y points down


def test_shades_keep_their_name_and_their_split():
    hues = {}
    for split in Split:
        rng = np.random.default_rng(2)
        for colour, centre in HUES_DEG.items():
            drawn = np.array([colorsys.rgb_to_hsv(*sample_shade(rng, split, colour))[0] * 360 for _ in range(100)])
            off = (drawn - centre + 180) % 360 - 180
            assert np.abs(off).max() <= 8 + 1e-6
            hues[split, colour] = {int(v) for v in np.floor((off + centre) / 2)}
    for colour in HUES_DEG:
        assert not hues[Split.TRAIN, colour] & hues[Split.TEST, colour]


def test_layout_cells_are_disjoint_and_starts_are_legal(cell, task):
    cells = {}
    for split in Split:
        rng = np.random.default_rng(3)
        cells[split] = set()
        for _ in range(25):
            scene = task.sample(rng, split, cell.kinematics)
            p = np.array([o.position_m for o in scene.objects])
            cells[split] |= {tuple(c) for c in np.floor((p[:, :2] - BALL_BOX_M[0][:2]) / CELL_M).astype(int)}
            tcp = cell.kinematics.fk(np.array(scene.q_start))
            distance = np.linalg.norm(tcp[:3, 3] - p[scene.target])
            assert distance > (0.12 - 1e-3 if split is Split.TEST else 0.02 - 1e-3)
            assert len({o.colour for o in scene.objects}) == 3
            assert scene.objects[scene.target].colour in scene.instruction
            assert not any(scene.objects[scene.target].colour in text for text in scene.wrong_instructions)
    assert not cells[Split.TRAIN] & cells[Split.TEST]


def test_a_range_without_a_bin_for_one_split_is_refused():
    with pytest.raises(SimError, match="no bin"):
        HeldOut(0.0, 2.0, 1.0)


def test_unknown_split_names_the_legal_ones():
    with pytest.raises(SimError, match="train, test"):
        Split.parse("validation")
