from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.geometry.se3 import make
from action_images_ros.pictures.axes import Axes, nice_ticks
from action_images_ros.pictures.plot import SIZE, plot_trajectory
from action_images_ros.pictures.sheet import contact_sheet, fitted, tiled
from action_images_ros.types import ActionChunk

DOWN = np.diag([1.0, -1.0, -1.0])


def chunk(step):
    points = np.array([0.5, 0.0, 0.2]) + np.arange(5)[:, None] * np.array(step)
    return ActionChunk.from_poses(make(np.repeat(DOWN[None], 5, 0), points), np.ones(5))


def changed(a, b):
    """Smallest box (top, left, bottom, right) of the pixels that differ."""
    where = np.argwhere((a != b).any(-1))
    return (*where.min(0), *where.max(0)) if len(where) else None


@pytest.mark.parametrize("low, high, ticks", [(0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-0.3, 0.31, [-0.2, 0, 0.2]),
                                              (12.0, 48.0, [20, 30, 40])])
def test_ticks_are_round_and_inside(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_axes_place_data_where_their_scale_says():
    image = np.full((200, 300, 3), 255, np.uint8)
    axes = Axes(image, (60, 20, 200, 100), (0.0, 4.0), (-1.0, 1.0), "x", show_x=False)
    before = image.copy()
    axes.line(np.array([1.0, 3.0]), np.array([0.5, 0.5]), (200, 0, 0))
    top, left, bottom, right = changed(before, image)
    assert abs(left - 110) <= 3 and abs(right - 210) <= 3 and abs((top + bottom) / 2 - 45) <= 1


def test_a_break_in_a_line_is_left_open():
    image = np.full((200, 300, 3), 255, np.uint8)
    axes = Axes(image, (60, 20, 200, 100), (0.0, 4.0), (-1.0, 1.0), "x", show_x=False)
    before = image.copy()
    axes.line(np.arange(5.0), np.array([0.0, 0.0, np.nan, 0.0, 0.0]), (200, 0, 0))
    columns = np.unique(np.argwhere((before != image).any(-1))[:, 1])
    assert not np.any((columns > 115) & (columns < 205)) and columns.min() < 65 and columns.max() > 255


def test_plot_shows_each_component_in_its_panel():
    still = plot_trajectory(chunk((0, 0, 0)), 0.4, "still")
    assert still.shape == (SIZE[1], SIZE[0], 3) and still.dtype == np.uint8
    moved = plot_trajectory(chunk((0.0, 0.0, -0.02)), 0.4, "still")
    panels = range(46, 46 + 7 * 127, 127)
    difference = np.abs(still.astype(int) - moved)[:, 805:1465].max(-1)
    blue = [(difference[top:top + 100] > 60).sum() for top in panels]
    assert blue[2] > 500, "z moves"
    assert blue[6] == 0, "the gripper does not"


def test_plot_tells_what_is_not_credible_and_what_was_recorded():
    sure = chunk((0.02, 0.0, 0.0))
    doubtful = replace(sure, credible=np.array([True, True, False, True, True]))
    assert changed(plot_trajectory(sure, 0.4, "t"), plot_trajectory(doubtful, 0.4, "t")) is not None
    other = chunk((0.0, 0.02, 0.0)).base_T_tcps
    assert changed(plot_trajectory(sure, 0.4, "t"), plot_trajectory(sure, 0.4, "t", other, np.zeros(5))) is not None


def test_tiles_are_row_step_column_view():
    images = np.zeros((3, 2, 4, 5, 3), np.uint8)
    images[2, 1] = 7
    sheet = tiled(images)
    assert sheet.shape == (12, 10, 3)
    assert (sheet[8:, 5:] == 7).all() and sheet.sum() == 7 * 60


def test_sheet_keeps_pictures_whole_and_in_proportion():
    colour = np.array([200, 40, 120], np.uint8)
    wide = np.full((30, 60, 3), colour, np.uint8)
    cell = fitted(wide, (80, 80))
    rows, columns = np.where((cell == colour).all(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 59, 0, 79)
    sheet = contact_sheet([("a", [wide, wide]), ("b\nc", [wide])], ["0 s", "1 s"], cell_px=80)
    assert (sheet == colour).all(-1).sum() == 3 * 40 * 80
