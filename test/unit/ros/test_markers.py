"""Markers say what the chunk says: where, how sure, open or closed, from now to the end."""

import numpy as np

from action_images_ros.ros.messages.markers import path_markers
from action_images_ros.types import ActionChunk


def chunk(credible=(True, True, False, True)) -> ActionChunk:
    n = len(credible)
    poses = np.repeat(np.eye(4)[None], n, axis=0)
    poses[:, 0, 3] = 0.1 * np.arange(n)
    covariance = np.zeros((n, 6, 6))
    covariance[:, :3, :3] = np.diag([0.01**2, 0.02**2, 0.03**2])
    openness = np.array([1.0, 1.0, 1.0, 0.0])[:n]
    return ActionChunk(poses, openness, covariance, np.zeros(n), np.array(credible), stamp_ns=5 * 10**9, dt_s=0.4)


def test_the_path_runs_through_the_credible_steps_and_every_step_has_its_ellipsoid():
    path, hand, *steps = path_markers(chunk(), "fr3_link0").markers
    assert [round(p.x, 6) for p in path.points] == [0.0, 0.1, 0.3] and len(path.colors) == 3
    assert (path.colors[0].g, path.colors[0].b) != (path.colors[-1].g, path.colors[-1].b)
    assert len(steps) == 4 and {m.header.frame_id for m in (path, hand, *steps)} == {"fr3_link0"}
    assert all(m.header.stamp.sec == 5 for m in (path, hand, *steps))
    size = sorted((steps[0].scale.x, steps[0].scale.y, steps[0].scale.z))
    assert np.allclose(size, [0.04, 0.08, 0.12])
    colours = [(round(m.color.r, 2), round(m.color.b, 2)) for m in steps]
    assert colours[0] == colours[1] != colours[2] != colours[3] and len(set(colours)) == 3


def test_identifiers_are_unique_so_that_each_chunk_replaces_the_one_before():
    markers = path_markers(chunk(), "fr3_link0").markers
    keys = [(m.ns, m.id) for m in markers]
    assert len(set(keys)) == len(keys) == len([m for m in markers if m.lifetime.sec > 0])


def test_nothing_credible_draws_no_path():
    path, hand, *steps = path_markers(chunk((False,) * 4), "fr3_link0").markers
    assert path.action == path.DELETE and hand.action == hand.DELETE and len(steps) == 4
