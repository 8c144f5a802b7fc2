import numpy as np
import pytest
from PIL import Image

from zeroline.runtime import FrameError, to_bgr8
from zeroline.runtime.network.manifest import InputSpec
from zeroline.runtime.network.preprocess import prepare


def spec(**options):
    values = {"name": "images", "size": 16, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.5)}
    return InputSpec.model_validate({**values, **options})


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)


def test_a_frame_of_the_right_size_is_only_normalised(frame):
    found = prepare(frame, spec())
    rgb = frame[:, :, ::-1].astype(np.float64) / 255
    expected = (rgb - (0.5, 0.4, 0.3)) / (0.2, 0.3, 0.5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-6)


def test_bgr_and_the_range_to_255(frame):
    found = prepare(
        frame, spec(colour="BGR", value_range="0..255", mean=(104, 117, 123), std=(1, 1, 1))
    )
    expected = frame.astype(np.float64) - (104, 117, 123)
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 23), (7, 9), (16, 50)])
@pytest.mark.parametrize("method", ["bicubic", "bilinear", "nearest"])
def test_resize_is_pillows_on_uint8(shape, method):
    frame = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = prepare(frame, spec(interpolation=method, mean=(0, 0, 0), std=(1, 1, 1)))
    rgb = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1]))
    resized = np.asarray(rgb.resize((16, 16), Image.Resampling[method.upper()]))
    np.testing.assert_allclose(found * 255, resized.transpose(2, 0, 1), atol=1e-3)


def test_the_callers_frame_is_not_written(frame):
    frame.setflags(write=False)
    prepare(frame, spec())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((4, 4), np.uint8), r'1 channel\(s\) of uint8, the bundle "tiny" expects 3'),
        (np.zeros((4, 4, 4), np.uint8), r"4 channel\(s\)"),
        (np.zeros((4, 4, 3), np.uint16), "of uint16"),
        (np.zeros((0, 4, 3), np.uint8), "holds no pixel"),
    ],
)
def test_refuses(bad, message):
    with pytest.raises(FrameError, match=message):
        prepare(bad, spec(), bundle_name="tiny")


class TestToBgr8:
    def test_bgr_stays_the_same_array(self, frame):
        assert to_bgr8(frame) is frame

    def test_grey_is_repeated(self):
        grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
        for pixels in (grey, grey[:, :, None]):
            found = to_bgr8(pixels)
            assert found.shape == (3, 4, 3)
            assert all((found[:, :, c] == grey).all() for c in range(3))

    def test_alpha_is_dropped(self, frame):
        alpha = np.dstack([frame, np.zeros((16, 16), np.uint8)])
        np.testing.assert_array_equal(to_bgr8(alpha), frame)

    def test_sixteen_bits_span_the_whole_range(self):
        pixels = np.array([[0, 128, 129, 257, 65535]], np.uint16)
        np.testing.assert_array_equal(to_bgr8(pixels)[0, :, 0], [0, 0, 1, 1, 255])

    def test_a_dark_image_stays_dark(self):
        """The range is stated, never guessed from the brightest pixel."""
        assert to_bgr8(np.full((2, 2), 4095, np.uint16)).max() == 16

    def test_twelve_bits_unshifted(self):
        pixels = np.array([[0, 2048, 4095, 5000]], np.uint16)
        found = to_bgr8(pixels, white_level=4095)
        np.testing.assert_array_equal(found[0, :, 0], [0, 128, 255, 255])

    @pytest.mark.parametrize(
        ("bad", "white", "message"),
        [
            (np.zeros((2, 2), np.float32), None, "dtype float32, uint8 or uint16"),
            (np.zeros((2, 2, 2), np.uint8), None, r"shape \(2, 2, 2\)"),
            (np.zeros((2, 0, 3), np.uint8), None, "holds no pixel"),
            (np.zeros((2, 2), np.uint8), 4095, "white_level is 4095, 1 to 255"),
            (np.zeros((2, 2), np.uint16), 0, "white_level is 0, 1 to 65535"),
        ],
    )
    def test_refuses(self, bad, white, message):
        with pytest.raises(FrameError, match=message):
            to_bgr8(bad, white_level=white)
