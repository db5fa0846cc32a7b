from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.bench.calibration import pose_error
from action_images_ros.bench.calibration_cell import synthetic_samples, visible_points
from action_images_ros.calibration import Correction, Options
from action_images_ros.calibration.quality import similar_to
from action_images_ros.calibration.session import CalibrationSession
from action_images_ros.cell import WorkspaceBox
from action_images_ros.errors import CalibrationError

BOX = WorkspaceBox((0.22, -0.40, 0.12), (0.75, 0.40, 0.70), (((0.2, -0.5, 0.0), (0.5, -0.3, 0.4)),), 0.0)


def _session(cell, samples=(), **options):
    session = CalibrationSession(cell.rig, cell.arm, BOX, Options(**options))
    for sample in samples:
        session.add(sample)
    return session


def test_each_sample_is_answered(cell, samples):
    session = _session(cell)
    first = session.add(samples[0])
    assert first.accepted and "wrist" in first.sees
    assert "give it another name" in session.add(samples[0]).reason
    assert f"nearly the same as pose {samples[0].name}" in session.add(replace(samples[0], name="again")).reason
    assert "no view sees a board" in session.add(replace(samples[1], detections={})).reason
    swung = replace(samples[1], dq=np.array([0, 0, 0.2, 0, 0, 0, 0]))
    assert "joint 3 moves at 0.200 rad/s" in session.add(swung).reason
    assert [s.name for s in session.samples] == [samples[0].name]
    assert _session(cell, stamp_offset=Correction.IF_DETERMINED).add(swung).accepted


def test_poses_can_be_taken_back(cell, samples):
    session = _session(cell, samples[:3])
    session.remove(samples[1].name)
    assert [s.name for s in session.samples] == [samples[0].name, samples[2].name]
    with pytest.raises(CalibrationError, match="there is no pose 'x'; there are: "):
        session.remove("x")


def test_the_operator_sees_what_is_missing_and_then_the_result(cell, samples):
    session = _session(cell, samples[:4])
    assert session.estimate() is None
    assert any("needs 8" in w for w in session.refusals())
    with pytest.raises(CalibrationError, match="needs 8"):
        session.finish()
    for sample in samples[4:]:
        session.add(sample)
    assert session.refusals() == []
    assert set(session.coverage()) == set(cell.rig.cameras)
    estimate = session.estimate()
    for view, T in estimate.cameras.items():
        assert np.linalg.norm(pose_error(T, cell.cameras[view])[:3]) < 3e-3
        assert 0.05 < estimate.workspace_sd_mm[view] < 2


def test_the_estimate_gets_surer_with_every_pose(cell, samples):
    few, many = _session(cell, samples[:8]).estimate(), _session(cell, samples).estimate()
    assert all(many.workspace_sd_mm[v] < few.workspace_sd_mm[v] for v in cell.rig.cameras)


def _inside(cell, q):
    """Whether TCP, hand and board are where the workspace lets them be, by the true board pose."""
    tcp = cell.arm.fk(q)
    board = tcp @ cell.boards["gripper"]
    hand = np.array([[0, 0, 0], [0, 0.102, -0.045], [0, -0.102, -0.045]]) @ tcp[:3, :3].T + tcp[:3, 3]
    points = np.concatenate([hand, cell.rig.boards["gripper"].board.outline @ board[:3, :3].T + board[:3, 3]])
    low, high = BOX.keep_out_boxes_m[0]
    outside = np.any((points < low) | (points > high), axis=1).all()
    in_box = np.all(tcp[:3, 3] >= BOX.box_min_m) and np.all(tcp[:3, 3] <= BOX.box_max_m)
    return bool(in_box and points[:, 2].min() > 0.02 and outside)


@pytest.fixture(scope="module")
def begun(cell, samples):
    inside = [s for s in samples if _inside(cell, s.q)]
    return _session(cell, inside[:7]), inside


def test_proposed_poses_are_safe_new_seen_and_worth_it(cell, begun):
    session, inside = begun
    limits = cell.arm.limits
    q_now = inside[0].q
    for seed in range(3):
        p = session.propose(q_now, np.random.default_rng(seed))
        for s in np.linspace(0, 1, 9):
            assert _inside(cell, q_now + s * (p.q - q_now))
        assert np.all(p.q > limits.q_min + 0.1) and np.all(p.q < limits.q_max - 0.1)
        taken = cell.arm.fk(np.array([s.q for s in session.samples]))
        assert not similar_to(cell.arm.fk(p.q), taken).any()
        assert p.sees and 0 < p.worth < 1
        for view in p.sees:
            board = "table" if view == "wrist" else "gripper"
            assert visible_points(cell, view, board, cell.arm.fk(p.q)[None])[1].mean() > 0.8


def test_a_proposal_tells_more_than_a_typical_pose(cell, begun):
    _, inside = begun
    session = _session(cell, inside[:9])
    assert len(inside) >= 11 and not [w for w in session.refusals() if "needs 8" in w]

    def variance_with(q):
        sample = replace(synthetic_samples(np.random.default_rng(1), cell, q[None])[0], name="one more")
        return sum(v**2 for v in _session(cell, [*session.samples, sample]).estimate().workspace_sd_mm.values())

    proposed = [variance_with(session.propose(inside[0].q, np.random.default_rng(k)).q) for k in range(2)]
    assert np.mean(proposed) < np.mean([variance_with(s.q) for s in inside[9:11]])


def test_before_anything_is_known_the_hand_is_turned_away_from_what_was_taken(cell, samples):
    inside = [s for s in samples if _inside(cell, s.q)]
    session = _session(cell, inside[:2])
    p = session.propose(inside[0].q, np.random.default_rng(0))
    assert _inside(cell, p.q) and np.isnan(p.worth)
    taken = cell.arm.fk(np.array([s.q for s in session.samples]))
    assert not similar_to(cell.arm.fk(p.q), taken).any()


def test_a_planner_can_veto_and_an_impossible_workspace_is_said(cell, begun):
    session, inside = begun
    session.clear = lambda q: q[:, 0] > 0.3
    try:
        assert session.propose(inside[0].q, np.random.default_rng(0)).q[0] > 0.3
    finally:
        session.clear = None
    tiny = CalibrationSession(cell.rig, cell.arm, WorkspaceBox((0.9, 0, 0.9), (0.91, 0.01, 0.91), (), 0.0))
    with pytest.raises(CalibrationError, match="no safe pose found"):
        tiny.propose(inside[0].q, np.random.default_rng(0))


def test_views_short_of_poses_come_first(cell, begun):
    session, inside = begun
    few = [replace(s, detections={v: d for v, d in s.detections.items() if v != "right"}) for s in session.samples[3:]]
    lacking = _session(cell, [*session.samples[:3], *few])
    assert lacking.coverage()["right"].distinct < 8
    for seed in range(2):
        assert "right" in lacking.propose(inside[0].q, np.random.default_rng(seed)).sees


def test_what_hid_a_board_is_learnt(cell, begun):
    """A camera that never finds the board although it should be in the picture is not counted on near those poses."""
    from action_images_ros.calibration.proposals import Proposer

    session, inside = begun
    bundle, solution = session._solution()
    proposer = Proposer(cell.rig, cell.arm, BOX)
    blind = [replace(s, detections={v: d for v, d in s.detections.items() if v != "left"}) for s in session.samples]
    open_, hidden = (proposer._hidden(solution.state, s) for s in (session.samples, blind))
    q = next(s.q for s in session.samples if "left" in s.detections) + 0.01
    assert "left" in proposer._expected(solution.state, q, open_).detections
    assert "left" not in proposer._expected(solution.state, q, hidden).detections
