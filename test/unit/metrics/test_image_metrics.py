import numpy as np
import pytest

from action_images_ros.errors import EncodingError
from action_images_ros.metrics.images import MAX_PSNR_DB, gmsd, moving, psnr, ssim, video_scores


def flat(value, size=(24, 30)):
    return np.full((*size, 3), value, np.uint8)


def noisy(rng, image, sd):
    return np.clip(np.rint(image + rng.normal(0, sd, image.shape)), 0, 255).astype(np.uint8)


@pytest.fixture
def picture():
    y, x = np.mgrid[:48, :64]
    waves = [128 + 70 * np.sin(x / 5.0 + c) * np.cos(y / (4.0 + c)) for c in range(3)]
    return np.rint(np.stack(waves, -1)).astype(np.uint8)


def test_psnr_of_a_known_error():
    assert psnr(flat(100), flat(110)) == pytest.approx(20 * np.log10(255 / 10))
    assert psnr(flat(100), flat(100)) == pytest.approx(MAX_PSNR_DB)


def test_psnr_where_asked():
    made = flat(100)
    made[:, :10] = 120
    left = np.zeros(made.shape[:2], bool)
    left[:, :10] = True
    assert psnr(flat(100), made, left) == pytest.approx(20 * np.log10(255 / 20))
    assert psnr(flat(100), made, ~left) == pytest.approx(MAX_PSNR_DB)
    assert np.isnan(psnr(flat(100), made, np.zeros_like(left)))


def ssim_by_its_definition(a, b):
    """Wang et al., equation 13, one window after the other."""
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    luma = np.array([0.299, 0.587, 0.114])
    a, b = a @ luma, b @ luma
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y:y + 11, x:x + 11], b[y:y + 11, x:x + 11]
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            cov = (weights * (p - mp) * (q - mq)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


def test_ssim_is_its_definition(picture):
    made = noisy(np.random.default_rng(0), picture, 25)
    assert ssim(picture, made) == pytest.approx(ssim_by_its_definition(picture, made), abs=1e-6)
    assert ssim(picture, picture) == pytest.approx(1.0)
    assert ssim(picture, 255 - picture) < 0


def test_gmsd_sees_structure_and_not_brightness(picture):
    rng = np.random.default_rng(1)
    brighter = picture // 2 + 60
    assert gmsd(picture // 2, brighter) == pytest.approx(0.0, abs=1e-9)
    scores = [gmsd(picture, noisy(rng, picture, sd)) for sd in (2, 8, 32)]
    assert 0 < scores[0] < scores[1] < scores[2] < 0.5


def test_moving_is_where_the_truth_changes():
    first, later = flat(50), flat(50)
    later[5:8, 10:12] = 200
    later[20, 20] = 60  # less than the threshold
    mask = moving(later, first)
    assert np.array_equal(np.argwhere(mask).min(0), (4, 9)) and np.array_equal(np.argwhere(mask).max(0), (8, 12))


def test_video_scores_leave_out_the_given_frame_and_tell_motion_apart():
    """A copy of the first frame is perfect wherever nothing moves, and wrong only there where something does."""
    truth = np.full((3, 2, 24, 30, 3), 90, np.uint8)
    truth[1:, :, 8:12, 8:12] = 190
    copy = np.repeat(truth[:1], 3, 0)
    made = truth.copy()
    made[0] = 0  # given to everybody: not judged
    assert video_scores(truth, made).psnr_db == pytest.approx(MAX_PSNR_DB)
    scores = video_scores(truth, copy)
    share = 16 / (24 * 30)
    assert scores.psnr_db == pytest.approx(10 * np.log10(255**2 / (share * 100**2)))
    assert scores.psnr_moving_db == pytest.approx(10 * np.log10(255**2 / (16 / 36 * 100**2)))
    assert scores.gmsd > 0 and scores.ssim < 1


def test_nothing_moves():
    still = np.full((3, 1, 24, 24, 3), 90, np.uint8)
    assert np.isnan(video_scores(still, still).psnr_moving_db)


def test_pictures_that_do_not_fit_are_refused(picture):
    with pytest.raises(EncodingError, match="one shape"):
        psnr(picture, picture[:-1])
    with pytest.raises(EncodingError, match="float"):
        ssim(picture, picture.astype(float))
    with pytest.raises(EncodingError, match="11x11"):
        ssim(flat(1, (8, 30)), flat(1, (8, 30)))
    with pytest.raises(EncodingError, match="T >= 2"):
        video_scores(picture[None, None], picture[None, None])
