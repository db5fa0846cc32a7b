import numpy as np
import pytest

from action_images_ros.pictures.curve import training_curve

BLUE, ORANGE = (40, 90, 200), (210, 90, 40)
PANELS = {"loss": slice(30, 220), "hits": slice(270, 460), "error": slice(510, 700)}
PLOT, WIDTH = slice(81, 640), 790  # left of the legend; px for all samples


def columns_of(image, panel, colour):
    """Per pixel column of a panel the mean row of that colour, counted from the panel's bottom; NaN where it is not."""
    near = (np.abs(image[PANELS[panel], PLOT].astype(int) - colour).sum(-1) < 60)[::-1]
    rows = np.arange(near.shape[0])[:, None]
    with np.errstate(invalid="ignore"):
        return (near * rows).sum(0) / near.sum(0)


def test_a_falling_loss_falls_and_its_top_is_the_largest_value():
    rows = [{"samples": s, "action": a, "video": 2.0} for s, a in ((0, 2.0), (500, 1.0), (1000, 0.5))]
    image = training_curve(rows)
    assert image.dtype == np.uint8 and image.shape == (760, 900, 3)
    action = columns_of(image, "loss", BLUE)
    seen = action[np.isfinite(action)]
    assert len(seen) > 300 and np.all(np.diff(seen[5:]) <= 1.0)
    middle = action[WIDTH // 2 - 6]  # near samples = 500, where the loss is half its largest value
    assert middle == pytest.approx(190 / 1.08 / 2, abs=4)


def test_what_a_row_does_not_have_is_a_gap_in_its_own_panel_only():
    rows = [{"samples": s, "action": 1.0} for s in range(0, 1001, 100)]
    for k in (4, 5, 6):
        rows[k]["val_first_mm"] = 40.0
    image = training_curve(rows)
    error, hits = columns_of(image, "error", BLUE), columns_of(image, "hits", BLUE)
    drawn = np.flatnonzero(np.isfinite(error)) / WIDTH
    assert 0.38 < drawn.min() < 0.42 and 0.58 < drawn.max() < 0.62
    assert not np.isfinite(hits).any() and not np.isfinite(columns_of(image, "error", ORANGE)).any()
