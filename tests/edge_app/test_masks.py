"""Masks: which file belongs to which picture, and which pixels are the defect."""

import numpy as np
import pytest
from PIL import Image

from zeroline.edge_app.errors import InputError
from zeroline.edge_app.images import find_images
from zeroline.edge_app.masks import match_masks, read_mask

HEIGHT, WIDTH = 48, 64
SIZE = 96


def truth():
    marks = np.zeros((HEIGHT, WIDTH), bool)
    marks[8:20, 30:58] = True
    return marks


def wanted():
    grey = Image.fromarray(truth().astype(np.uint8) * 255)
    return np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BILINEAR)) > 127


def grey(values=(0, 255)):
    return Image.fromarray(np.where(truth(), *reversed(values)).astype(np.uint8))


def colour(channels, background, mark):
    marks = truth()
    pixels = np.empty((HEIGHT, WIDTH, channels), np.uint8)
    pixels[:], pixels[marks] = background, mark
    return Image.fromarray(pixels)


def palette(background, mark, **info):
    image = Image.fromarray(truth().astype(np.uint8) ^ 1, "L")  # index 0 is the defect
    image = image.convert("P")
    image.putpalette([*mark, *background])
    image.info.update(info)
    return image


def soft():
    """Draw edges of many greys, as an editor does."""
    return grey().resize((WIDTH * 3, HEIGHT * 3), Image.Resampling.BICUBIC)


MASKS = {
    "two values": (grey(), {}),
    "labels 0 to 3": (grey((0, 3)), {}),
    "one bit": (grey().convert("1"), {}),
    "palette, the first colour is the defect": (palette((0, 0, 0), (255, 255, 255)), {}),
    "palette, a dark colour is the defect": (palette((0, 0, 0), (0, 0, 90)), {}),
    "palette, transparent ground": (palette((9, 9, 9), (200, 0, 0)), {"transparency": 1}),
    "white, opaque on the defect": (colour(4, (255, 255, 255, 0), (255, 255, 255, 255)), {}),
    "black, opaque on the defect": (colour(4, (0, 0, 0, 0), (0, 0, 0, 255)), {}),
    "white on opaque black": (colour(4, (0, 0, 0, 255), (255, 255, 255, 255)), {}),
    "alpha is 0 everywhere": (colour(4, (0, 0, 0, 0), (255, 255, 255, 0)), {}),
    "grey with alpha": (colour(2, (255, 0), (255, 255)), {}),
    "red on black": (colour(3, (0, 0, 0), (255, 0, 0)), {}),
    "soft edges, three times as large": (soft(), {}),
    "16 bits": (Image.fromarray(truth().astype(np.uint16) * 7), {}),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_all_kinds_mark_the_same_pixels(tmp_path, name):
    image, options = MASKS[name]
    image.save(tmp_path / "mask.png", **options)
    found = read_mask(tmp_path / "mask.png", size=SIZE, shape=(HEIGHT, WIDTH))
    assert (found != wanted()).mean() < (0.01 if "soft" in name else 1e-9)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_the_noise_of_a_jpeg_is_no_defect(tmp_path, quality):
    """Any value over 0 counted: a ring of dark noise around the mark belonged to it."""
    y, x = np.mgrid[:192, :256]
    marks = np.hypot(y - 80, (x - 120) / 2) < 30
    Image.fromarray(marks.astype(np.uint8) * 255).convert("RGB").save(
        tmp_path / "mask.jpg", quality=quality
    )
    Image.fromarray(marks).save(tmp_path / "plain.png")
    wanted = read_mask(tmp_path / "plain.png", size=SIZE)
    assert (read_mask(tmp_path / "mask.jpg", size=SIZE) != wanted).mean() < 0.002
    Image.open(tmp_path / "mask.jpg").convert("L").save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png", size=SIZE) != wanted).mean() < 0.002


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_mask_is_turned_as_its_picture_is(tmp_path, suffix, orientation):
    quarter_turns = {3: 2, 6: 1, 8: 3}[orientation]
    stored = Image.fromarray(np.rot90(truth(), quarter_turns).astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"mask{suffix}", exif=exif)
    found = read_mask(tmp_path / f"mask{suffix}", size=SIZE, shape=(HEIGHT, WIDTH))
    assert (found != wanted()).mean() < 0.002


def test_tiff_whose_zero_is_white(tmp_path):
    grey().save(tmp_path / "mask.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "mask.tif") as image:
        assert image.tag_v2[262] == 0
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif", size=SIZE), wanted())


TIFFS = [
    *((kind, {}) for kind in ("uint8", "uint16", "uint32", "int16", "int32", "bool")),
    *((kind, {"compression": "zlib"}) for kind in ("uint8", "uint16", "bool")),
    *((kind, {"photometric": "miniswhite"}) for kind in ("uint8", "uint16")),
]


@pytest.mark.parametrize(("kind", "options"), TIFFS)
def test_grey_tiff_of_all_kinds(tmp_path, kind, options):
    tifffile = pytest.importorskip("tifffile")
    values = truth().astype(kind)
    if options.get("photometric") == "miniswhite":
        values = np.iinfo(kind).max - values
    options = {"photometric": "minisblack", **options}
    tifffile.imwrite(tmp_path / "mask.tif", values, **options)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif", size=SIZE), wanted())


@pytest.mark.parametrize(("kind", "options"), [
    ("uint16", {"photometric": "rgb"}),
    ("uint16", {"photometric": "rgb", "planarconfig": "separate"}),
    ("uint16", {"photometric": "miniswhite", "compression": "zlib"}),
    ("float32", {}),
])  # fmt: skip
def test_tiff_that_would_be_misread_is_refused(tmp_path, kind, options):
    tifffile = pytest.importorskip("tifffile")
    values = truth().astype(kind)
    if options.get("photometric") == "rgb":
        values = np.stack([values * 200] * 3, 0 if "planarconfig" in options else 2)
    tifffile.imwrite(tmp_path / "mask.tif", values, **options)
    with pytest.raises(InputError, match=r'mask\.tif"'):
        read_mask(tmp_path / "mask.tif", size=SIZE)


def ramp(low, high):
    return np.linspace(low, high, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)


REFUSED = {
    "other aspect": (grey().resize((HEIGHT, HEIGHT)), ".png", "48×48 pixels, its picture 64×48"),
    "no background": (grey((1, 2)), ".png", "1 to 2: none is 0, the background"),
    "a photograph": (Image.fromarray(ramp(0, 255).astype(np.uint8)), ".png", "mostly grey"),
    "a bright one": (Image.fromarray(ramp(99, 255).astype(np.uint8)), ".png", "darkest value is"),
    "labels in a JPEG": (grey((0, 3)), ".jpg", "brightest value is 3, and it is a JPEG"),
    "many labels": (Image.fromarray((ramp(0, 50)).astype(np.uint8)), ".png", "no set of labels"),
    "floats": (Image.fromarray(ramp(0, 1).astype(np.float32)), ".tif", "values with a point"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_be_misread_is_refused_by_name(tmp_path, name):
    image, suffix, reason = REFUSED[name]
    path = tmp_path / f"mask{suffix}"
    image.save(path)
    with pytest.raises(InputError, match=reason) as caught:
        read_mask(path, size=SIZE, shape=(HEIGHT, WIDTH))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pages_and_deep_colour_are_refused(tmp_path):
    import cv2

    grey().save(tmp_path / "mask.tif", save_all=True, append_images=[grey()])
    with pytest.raises(InputError, match="2 pages"):
        read_mask(tmp_path / "mask.tif", size=SIZE)
    cv2.imwrite(str(tmp_path / "mask.png"), np.dstack([truth().astype(np.uint16) * 3] * 3))
    with pytest.raises(InputError, match="16 bits a colour"):
        read_mask(tmp_path / "mask.png", size=SIZE)
    for content in (b"", b"text", (tmp_path / "mask.png").read_bytes()[:60]):
        (tmp_path / "mask.png").write_bytes(content)
        with pytest.raises(InputError, match=r'mask.png" cannot be read'):
            read_mask(tmp_path / "mask.png", size=SIZE)


def test_a_mask_may_be_smaller_or_larger_than_its_picture(tmp_path):
    for factor in (0.51, 2.3):
        size = (round(WIDTH * factor), round(HEIGHT * factor))
        grey().resize(size, Image.Resampling.NEAREST).save(tmp_path / "mask.png")
        found = read_mask(tmp_path / "mask.png", size=SIZE, shape=(HEIGHT, WIDTH))
        assert (found != wanted()).mean() < 0.03


def test_names_of_masks(tmp_path):
    names = ("000_mask", "000_GT", "000-label", "000_mask_1", "mask_000", "000", "000.seg")
    pictures = [tmp_path / "a" / name for name in ("000.jpg", "gt.jpg", "0001.jpg")]
    folder = tmp_path / "b"
    masks = [folder / f"{name}.png" for name in names]
    found, left = match_masks(pictures, [*masks, folder / "111.png"], folder)
    assert found == {pictures[0]: tuple(masks)}
    assert left == [folder / "111.png"]
    inside = [folder / "000" / "000.png", folder / "000" / "001.png", folder / "7" / "000.png"]
    found, left = match_masks(pictures, inside, folder)
    assert found == {pictures[0]: tuple(inside[:2])}
    assert left == inside[2:]


@pytest.fixture
def picture(paint):
    def saved(path, number, *, scratch=False, bright=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = paint(number, scratch=scratch, height=HEIGHT, width=WIDTH).astype(int) + bright
        Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(path)

    return saved


@pytest.mark.parametrize("name", ["0.png", "0_mask.png", "0_GT.bmp", "ground_truth/0.png"])
@pytest.mark.parametrize("bright", [0, 120])
def test_masks_that_lie_beside_pictures_are_no_parts(tmp_path, picture, name, bright):
    """They were scored as parts, and the pictures of one name counted twice."""
    for number in range(3):
        picture(tmp_path / f"{number}.jpg", number, bright=bright)
        mask = tmp_path / name.replace("0", str(number))
        mask.parent.mkdir(exist_ok=True)
        (grey() if number == 1 else Image.new("L", (WIDTH, HEIGHT))).save(mask)
    found = find_images([tmp_path])
    assert [file.name for file in found.files] == ["0.jpg", "1.jpg", "2.jpg"]
    assert found.note.startswith("3 files were not taken: they are masks")


def test_pictures_of_one_name_stay_parts(tmp_path, picture):
    for number in range(3):
        for suffix in (".jpg", ".png"):
            picture(tmp_path / f"{number}{suffix}", number, bright=50 * number)
    picture(tmp_path / "0_mask.png", 5)
    picture(tmp_path / "masks" / "0.png", 6)
    found = find_images([tmp_path])
    assert len(found.files) == 8
    assert not found.note
    grey().save(tmp_path / "other.png")  # a name of its own
    assert len(find_images([tmp_path]).files) == 9


def test_a_folder_of_masks_alone_can_be_given(tmp_path):
    (tmp_path / "masks").mkdir()
    grey().save(tmp_path / "masks" / "0.png")
    assert len(find_images([tmp_path / "masks"]).files) == 1
    with pytest.raises(InputError, match="only masks"):
        find_images([tmp_path])
