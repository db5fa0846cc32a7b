"""Choosing among candidates and judging poses, without pixels: blobs are given as numbers."""

import numpy as np
import pytest
from cell import motion, two_views

from action_images_ros.codec import ActionEncoding
from action_images_ros.codec.association import associate
from action_images_ros.codec.continuity import agrees, jumps
from action_images_ros.codec.integrity import error_bounds
from action_images_ros.codec.pose import Scene, sight, solve
from action_images_ros.geometry import se3

SIGMA = 6.4
ENCODING = ActionEncoding()
SCENE = Scene(tuple(two_views()), ENCODING.tcp_points, ENCODING.axis_length_m, SIGMA, 0.3 * SIGMA)
LIMITS = 0.005, np.radians(3)


def blobs(poses: np.ndarray) -> np.ndarray:
    return np.stack([c.project(ENCODING.base_points(poses)) for c in SCENE.cameras], 1)


def weights(shape: tuple, sd: float = 0.1) -> np.ndarray:
    return np.broadcast_to(np.eye(2) / sd**2, shape + (2,)).copy()


def test_exact_blobs_give_exact_poses():
    poses, _ = motion(12, seed=1)
    uv = blobs(poses)
    fit = solve(sight(uv, weights(uv.shape), SCENE.cameras), SCENE)
    assert fit.solved.all()
    np.testing.assert_allclose(se3.make(fit.R, fit.p), poses, atol=1e-9)


def test_a_well_known_blob_counts_more_than_a_vague_one():
    poses, _ = motion(1)
    uv, weight = blobs(poses), weights((1, 2, 3, 2))
    uv[0, 0, 1] += [1.0, -0.5]
    equal = solve(sight(uv, weight, SCENE.cameras), SCENE)
    weight[0, 0, 1] /= 100
    vague = solve(sight(uv, weight, SCENE.cameras), SCENE)
    off = [np.linalg.norm(f.p - poses[:, :3, 3]) for f in (equal, vague)]
    assert off[1] < 0.2 * off[0]


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("colour", [0, 1, 2])
def test_a_wrong_blob_never_moves_a_pose_beyond_its_bound(view, colour):
    poses, _ = motion(6, seed=2)
    rng = np.random.default_rng(3)
    uv = blobs(poses)
    uv[:, view, colour] += rng.normal(0, 1.0, (6, 2))
    sightings = sight(uv, weights(uv.shape), SCENE.cameras)
    fit = solve(sightings, SCENE)
    position, rotation = error_bounds(fit, sightings, 0.32)
    assert np.all(np.linalg.norm(fit.p - poses[:, :3, 3], axis=-1) <= 1.05 * position)
    assert np.all(se3.angle_between(fit.R, poses[:, :3, :3]) <= 1.05 * rotation)
    exact = sight(blobs(poses), weights(uv.shape), SCENE.cameras)
    tight = error_bounds(solve(exact, SCENE), exact, 0.32)[0]
    assert np.all(position >= tight) and np.median(position) > 2 * np.median(tight)


def with_candidates(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two candidates a blob: the true one second, behind an empty slot."""
    uv = np.stack([np.full((len(poses), 2, 3, 2), 5.0), blobs(poses)], 3)
    ok = np.zeros(uv.shape[:-1], bool)
    ok[..., 1] = True
    return uv, ok


def search(uv: np.ndarray, ok: np.ndarray):
    t, v, _, k, _ = uv.shape
    weight = np.where(ok[..., None, None], weights(uv.shape), 0.0).reshape(t, v, 3 * k, 2, 2)
    return associate(uv, ok, sight(uv.reshape(t, v, 3 * k, 2), weight, SCENE.cameras), SCENE, LIMITS)


def test_ghosts_in_both_views_lose_against_the_rigid_triple():
    poses, _ = motion(4, seed=4)
    uv, ok = with_candidates(poses)
    rng = np.random.default_rng(0)
    uv[:, 0, 1, 0], uv[:, 1, 2, 0] = rng.uniform(10, 118, (2, 4, 2))
    ok[:, 0, 1, 0] = ok[:, 1, 2, 0] = True
    found = search(uv, ok)
    for t in range(4):
        np.testing.assert_array_equal(found[t].choice[0], np.ones((2, 3)))
        np.testing.assert_allclose(se3.make(found[t].R[0], found[t].p[0]), poses[t], atol=1e-6)


def test_a_missing_blob_leaves_its_slot_empty():
    poses, _ = motion(4, seed=5)
    uv, ok = with_candidates(poses)
    ok[2, 1, 0] = False
    found = search(uv, ok)[2]
    assert found.choice[0, 1, 0] == -1 and (found.choice[0] >= 0).sum() == 5
    assert min(np.abs(se3.make(R, p) - poses[2]).max() for R, p in zip(found.R, found.p)) < 1e-6


def test_steps_without_two_points_are_left_out():
    poses, _ = motion(2)
    uv, ok = with_candidates(poses)
    ok[0, 1, :2] = False
    assert list(search(uv, ok)) == [1]


def test_points_that_are_too_far_apart_are_no_hand():
    poses, _ = motion(1)
    wide = ActionEncoding(axis_length_m=0.2)
    uv, ok = with_candidates(poses)
    uv[:, :, :, 1] = np.stack([c.project(wide.base_points(poses)) for c in SCENE.cameras], 1)
    assert search(uv, ok) == {}


def test_a_step_between_two_others_agrees_with_them_or_not():
    poses, _ = motion(9, seed=6)
    trusted = np.ones(9, bool)
    trusted[4] = False
    assert agrees(poses, poses[4], 4, trusted, LIMITS)
    turned = poses[4].copy()
    turned[:3, :3] = se3.so3_exp(np.array([0, 0, 0.2])) @ turned[:3, :3]
    assert not agrees(poses, turned, 4, trusted, LIMITS)
    trusted[5:] = False
    assert not agrees(poses, poses[4], 4, trusted, LIMITS)


@pytest.mark.parametrize("step", [0, 10, 40])
def test_a_jump_is_found_in_the_middle_and_at_either_end(step):
    poses, _ = motion(41, seed=7)
    limits, trusted = (np.full(41, LIMITS[0]), np.full(41, LIMITS[1])), np.ones(41, bool)
    assert not jumps(poses, trusted, *limits).any()
    poses[step, :3, :3] = se3.so3_exp(np.array([2.5, 0, 0])) @ poses[step, :3, :3]
    np.testing.assert_array_equal(np.flatnonzero(jumps(poses, trusted, *limits)), [step])


def test_fast_motion_is_no_jump():
    poses, _ = motion(9, seed=8)
    poses[:, :3, 3] = np.linspace([0.3, -0.3, 0.1], [0.7, 0.3, 0.4], 9)
    assert not jumps(poses, np.ones(9, bool), np.full(9, LIMITS[0]), np.full(9, LIMITS[1])).any()
