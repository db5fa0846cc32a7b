"""Tasks that move things: judges against true states, experts in physics from anywhere, what is recorded of them."""

from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.cli import sim as sim_cli
from action_images_ros.errors import DatasetError, SimError
from action_images_ros.geometry.se3 import make
from action_images_ros.sim.cell import SimCell, SimCellConfig
from action_images_ros.sim.collect import CollectConfig, CollectMotion, collect_episodes, read_shard, shard_path
from action_images_ros.sim.episodes import episode_rng, sample_setting
from action_images_ros.sim.evaluation import misinstructed
from action_images_ros.sim.layout import hand_down, layout_split
from action_images_ros.sim.motion import TcpMover
from action_images_ros.sim.relabel import choices
from action_images_ros.sim.rollout import ReplayPolicy, rollout
from action_images_ros.sim.split import Split
from action_images_ros.sim.tasks import Outcome, make_task, task_names
from action_images_ros.training.data import load_episodes

TOUCHING = ("push_button", "close_drawer", "pick_cube", "place_in_bowl")
IMAGE_SIZE = (160, 120)


@pytest.fixture(scope="module")
def cells():
    made = {name: SimCell(SimCellConfig(image_size=IMAGE_SIZE, props=make_task(name).props)) for name in TOUCHING}
    yield made
    for cell in made.values():
        cell.close()


def setting(cells, name, episode=0, split=Split.TEST):
    cell, task = cells[name], make_task(name)
    scene, cameras = sample_setting(task, episode_rng(5, episode, split), split, cell.kinematics, 2, IMAGE_SIZE)
    cell.place_cameras(cameras)
    cell.reset(scene)
    return cell, task, scene


def judged(cell, task, scene, changed, seconds=1.0):
    """The verdict when the scene's objects are and stay as `changed` says: {index: fields}."""
    cell.reset(replace(scene, objects=tuple(replace(o, **changed.get(i, {})) for i, o in enumerate(scene.objects))))
    judge = task.judge(scene)
    for t in np.arange(0.0, seconds, 0.05):
        verdict = judge.update(t, cell)
    return verdict


@pytest.mark.parametrize(("name", "short", "enough"), [("push_button", 0.007, 0.009), ("close_drawer", 0.014, 0.010)])
def test_buttons_and_drawers_are_judged_by_their_joint(cells, name, short, enough):
    cell, task, scene = setting(cells, name)
    other = (scene.target + 1) % len(scene.instructions)
    assert judged(cell, task, scene, {scene.target: {"joint_m": short}}).outcome is Outcome.PENDING
    assert judged(cell, task, scene, {scene.target: {"joint_m": enough}}).outcome is Outcome.SUCCESS
    assert judged(cell, task, scene, {scene.target: {"joint_m": enough}}, 0.1).outcome is Outcome.PENDING
    wrong = judged(cell, task, scene, {other: {"joint_m": enough}})
    assert wrong.outcome is Outcome.FAILURE and scene.objects[other].colour in wrong.reason
    assert wrong.reason.startswith("wrong one")


def test_a_lifted_cube_is_judged_by_its_height(cells):
    cell, task, scene = setting(cells, "pick_cube")
    x, y, z = scene.objects[scene.target].position_m
    other = (scene.target + 1) % 3

    def at(height, index=scene.target, seconds=1.0):
        return judged(cell, task, scene, {index: {"position_m": (x, y, z + height)}}, seconds)

    assert at(0.055).outcome is Outcome.PENDING and at(0.065).outcome is Outcome.SUCCESS
    assert at(0.065, seconds=0.4).outcome is Outcome.PENDING
    assert at(0.065, other).reason == f"wrong one: {scene.objects[other].colour} cube"
    assert at(-0.3).reason.startswith("dropped")


def test_a_cube_in_the_bowl_counts_when_it_is_inside_low_and_let_go(cells):
    cell, task, scene = setting(cells, "place_in_bowl")
    x, y, _ = scene.objects[-1].position_m

    def at(off, z, index=scene.target):
        return judged(cell, task, scene, {index: {"position_m": (x + off, y, z)}})

    assert at(0.0, 0.03).outcome is Outcome.SUCCESS
    assert at(0.06, 0.03).outcome is Outcome.PENDING and at(0.0, 0.08).outcome is Outcome.PENDING
    assert at(0.0, 0.03, (scene.target + 1) % 3).outcome is Outcome.FAILURE
    held = replace(scene, objects=tuple(
        replace(o, position_m=(x, y, 0.03)) if i == scene.target else o for i, o in enumerate(scene.objects)))
    cell.reset(held)
    cell.teleport(cell.kinematics.ik(make(hand_down(0.0), [x, y, 0.03]), cell.q), 0.042)
    judge = task.judge(scene)
    assert [judge.update(t, cell).outcome for t in (0.0, 0.6, 1.2)] == [Outcome.PENDING] * 3


@pytest.mark.parametrize("name", TOUCHING)
def test_drawn_and_decoded_expert_chunks_do_the_task_in_physics(cells, name):
    for episode in range(2):
        cell, task, scene = setting(cells, name, episode)
        result = rollout(ReplayPolicy(task.expert(scene), look=cell.thing_states), cell, task, scene)
        assert result.success and result.unreachable_ticks == 0, result


@pytest.mark.parametrize("name", TOUCHING)
def test_told_another_thing_the_cell_says_no(cells, name):
    cell, task, scene = setting(cells, name, 1)
    asked = misinstructed(scene, 0)
    assert asked.instruction in scene.wrong_instructions
    result = rollout(ReplayPolicy(task.expert(asked), look=cell.thing_states), cell, task, scene)
    assert result.verdict.reason.startswith("wrong one")


@pytest.mark.parametrize("name", TOUCHING)
@pytest.mark.parametrize("off", [(0.05, 0.0, 0.005), (0.0, -0.06, 0.01), (0.018, 0.018, 0.02)])
def test_the_expert_goes_on_from_a_hand_low_beside_its_thing(cells, name, off):
    cell, task, scene = setting(cells, name, 2)
    expert = task.expert(scene)
    mover = TcpMover(cell)
    first = expert.grasp(expert.things) if hasattr(expert, "grasp") else expert.goal_base_T_tcp
    spot = np.array([*(first[:2, 3] + off[:2]), expert.things[scene.target, 2] + 0.06 + off[2]])
    mover.move(make(hand_down(0.3), spot), 0.0, 2.0)
    judge = task.judge(scene)
    for _ in range(40):
        verdict = judge.update(cell.time_s, cell)
        if verdict.outcome is not Outcome.PENDING:
            break
        chunk = expert.seeing(cell.thing_states()).chunk(cell.base_T_tcp, cell.openness, 3, 0.4)
        for k in (1, 2):
            mover.move(chunk.base_T_tcps[k], float(chunk.openness[k]), 0.4,
                       lambda c: judge.update(c.time_s, c).outcome is Outcome.PENDING)
    assert verdict.outcome is Outcome.SUCCESS, verdict


@pytest.mark.parametrize("name", TOUCHING)
def test_a_long_chunk_ends_at_the_goal_in_bounded_steps_and_remembers_nothing(cells, name):
    cell, task, scene = setting(cells, name, 3)
    expert = task.expert(scene)
    chunk = expert.chunk(cell.base_T_tcp, cell.openness, 40, 0.4)
    steps = np.linalg.norm(np.diff(chunk.base_T_tcps[:, :3, 3], axis=0), axis=1)
    assert steps.max() <= 0.06 + 1e-9 and np.all(steps[-5:] < 1e-6)
    assert np.linalg.norm(chunk.base_T_tcps[-1, :3, 3] - expert.goal_base_T_tcp[:3, 3]) < 0.01
    assert np.array_equal(chunk.base_T_tcps[0], cell.base_T_tcp) and set(chunk.openness[1:]) <= {0.0, 1.0}
    later = expert.chunk(chunk.base_T_tcps[2], float(chunk.openness[2]), 6, 0.4)
    assert np.abs(later.base_T_tcps - chunk.base_T_tcps[2:8]).max() < 1e-9


@pytest.mark.parametrize("name", TOUCHING)
def test_layouts_of_the_splits_are_disjoint_and_reproducible(cells, name):
    task, kinematics = make_task(name), cells[name].kinematics
    for split in Split:
        for episode in range(6):
            scene = task.sample(episode_rng(1, episode, split), split, kinematics)
            assert all(layout_split(o.position_m) is split for o in scene.objects)
            assert scene == task.sample(episode_rng(1, episode, split), split, kinematics)
            assert scene.objects[scene.target].colour in scene.instruction
            assert not any(scene.objects[scene.target].colour in text for text in scene.wrong_instructions)
            said = task.phrases(scene.objects, scene.target)
            assert scene.instruction in (said if split is Split.TRAIN else said[:1]) and len(set(said)) >= 4


def test_a_cell_refuses_what_it_was_not_built_with(cells):
    scene = setting(cells, "push_button")[2]
    with pytest.raises(SimError, match="button0.*cube0"):
        cells["pick_cube"].reset(scene)


def test_names_of_tasks(tmp_path, capsys):
    assert set(TOUCHING) < set(task_names("all")) and task_names("pick_cube,push_button")[0] == "pick_cube"
    for bad in ("pick_cube,dance", "pick_cube,pick_cube", ""):
        with pytest.raises(SimError):
            task_names(bad)
    with pytest.raises(DatasetError, match="physics"):
        CollectConfig("pick_cube", 1, 0, Split.TRAIN, motion=CollectMotion.KINEMATIC)
    arguments = ["collect", "--task", "reach_target,push_button", "--episodes", "1", "--seed", "1"]
    assert sim_cli.main([*arguments, "--out", str(tmp_path)]) == 0
    assert sorted(p.parent.name for p in tmp_path.glob("*/shard_*")) == ["push_button", "reach_target"]


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("place")
    collect_episodes(directory, CollectConfig("place_in_bowl", 2, 4, Split.TRAIN))
    return directory


def test_recorded_episodes_are_reproducible_and_show_what_happened(placed, tmp_path):
    collect_episodes(tmp_path, CollectConfig("place_in_bowl", 2, 4, Split.TRAIN))
    assert shard_path(tmp_path, 0).read_bytes() == shard_path(placed, 0).read_bytes()
    arrays, episodes = read_shard(shard_path(placed, 0))
    for number, episode in enumerate(episodes):
        rows = np.flatnonzero(arrays["episode_index"] == number)
        cube, bowl = arrays["things"][rows, episode["target"], :3], arrays["things"][rows, 3, :3]
        assert np.abs(cube[0] - episode["objects"][episode["target"]]["position_m"]).max() < 1e-6
        assert np.linalg.norm(cube[-1, :2] - bowl[-1, :2]) < 0.05 and cube[-1, 2] < 0.05 and cube[:, 2].max() > 0.08
        held = (arrays["commanded"][rows] == 0) & (cube[:, 2] > 0.05)
        assert held.any() and np.abs(arrays["openness"][rows][held] - 0.525).max() < 0.05


def test_relabelled_windows_show_one_picture_under_instructions_that_make_sense_there(placed):
    for episode in load_episodes(placed):
        said = [c.instructions[0] for c in episode.choices]
        assert len(set(said)) == 6 and sum("bowl" in text for text in said) == 3
        assert episode.possible(0) == list(range(6))
        lifted = int(np.argmax(episode.things[:, :3, 2].max(1)))
        cube = int(np.argmax(episode.things[lifted, :3, 2]))
        assert [i % 3 for i in episode.possible(lifted)] == [cube, cube]
        pose, grip = episode.base_T_tcps[lifted], float(episode.openness[lifted])
        ends = [episode.expert(i, lifted).chunk(pose, grip, 20, 0.4) for i in (episode.possible(lifted))]
        bowl = episode.things[0, 3, :2]
        put, kept = sorted(ends, key=lambda c: np.linalg.norm(c.base_T_tcps[-1, :2, 3] - bowl))
        assert np.linalg.norm(put.base_T_tcps[-1, :2, 3] - bowl) < 0.03 and put.openness[-1] == 1.0
        assert np.linalg.norm(kept.base_T_tcps[-1, :2, 3] - pose[:2, 3]) < 1e-6 and kept.openness[-1] == 0.0


def test_recorded_choices_are_the_experts_of_the_scene(cells):
    cell, task, scene = setting(cells, "close_drawer", 4)
    described = [{"name": o.name, "colour": o.colour, "rgb": list(o.rgb), "position_m": list(o.position_m),
                  "yaw_rad": o.yaw_rad, "joint_m": o.joint_m} for o in scene.objects]
    made = choices("close_drawer", described)
    assert [c.instructions[0] for c in made] == list(scene.instructions)
    for i, choice in enumerate(made):
        assert np.array_equal(choice.expert.goal_base_T_tcp, task.expert(scene.instructed(i)).goal_base_T_tcp)
    assert choices("fold_laundry", described) == ()


def test_a_folder_of_sets_is_read_as_one(placed, tmp_path):
    collect_episodes(tmp_path / "push_button", CollectConfig("push_button", 1, 4, Split.TRAIN))
    (tmp_path / "place_in_bowl").symlink_to(placed)
    together = load_episodes(tmp_path)
    assert [len(e.choices) for e in together] == [6, 6, 3]
    button = together[2]
    assert button.possible(len(button.images) - 1) == [0, 1, 2]
    assert button.openings(np.array([0, 1, 2]))[1:].tolist() == [0.0, 0.0]
