"""Kinds of TIFF: the pixels come out as they were drawn, or the kind is named. Never others."""

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

tifffile = pytest.importorskip("tifffile")

from trials.packed_tiff import write_packed as packed  # noqa: E402

from support.tiff_kinds import GREY, KINDS, STORED, depth  # noqa: E402
from zeroline.edge_app.errors import ImageError  # noqa: E402
from zeroline.edge_app.images import read_image  # noqa: E402

BY_NAME = {kind.name: kind for kind in KINDS}


def test_there_are_a_hundred_kinds():
    assert len(BY_NAME) == len(KINDS) >= 100


@pytest.mark.parametrize("name", BY_NAME)
def test_a_kind_is_equal_or_refused_by_name(tmp_path, name):
    kind, path = BY_NAME[name], tmp_path / "a.tif"
    kind.draw(path)
    if kind.pixels is None:
        with pytest.raises(ImageError) as refused:
            read_image(path)
        assert kind.refused in str(refused.value)
        return
    found = read_image(path)[:, :, ::-1]
    expected = kind.pixels if kind.pixels.ndim == 3 else np.dstack([kind.pixels] * 3)
    assert found.shape == expected.shape
    assert abs(found.astype(int) - expected).max() <= kind.within


def second_reader(path):
    """The values of the page as they are stored, by tifffile or by Pillow; None if by neither."""
    with tifffile.TiffFile(path) as file:
        page = next((p for p in file.pages if not p.subfiletype & 5), file.pages[0])
        turned = page.tags.get(274)
        orientation = int(turned.value) if turned else 1
        try:
            values = page.asarray()
        except (ValueError, NotImplementedError, ImportError):  # it needs another package
            if page.bitspersample not in (1, 8) or page.photometric == 5:
                return None
            with path.open("rb") as content, Image.open(content) as image:
                return np.asarray(image.convert("RGB"))
    if page.planarconfig == 2 and values.ndim == 3:
        values = values.transpose(1, 2, 0)
    if page.photometric not in (0, 1, 2):
        return None
    scale = 255 if values.dtype == bool else 255 / np.iinfo(values.dtype).max
    values = values * scale
    values = 255 - values if page.photometric == 0 else values
    values = values[:, :, :3] if page.photometric == 2 else values.reshape(*values.shape[:2], -1)
    values = values if page.photometric == 2 else np.repeat(values[:, :, :1], 3, axis=2)
    back = {6: 8, 8: 6}.get(orientation, orientation)
    return STORED[back](values)


def test_a_second_reader_sees_the_same(tmp_path):
    compared = 0
    for kind in KINDS:
        if kind.pixels is None:
            continue
        path = tmp_path / "a.tif"
        kind.draw(path)
        expected = second_reader(path)
        if expected is not None:
            compared += 1
            found = read_image(path)[:, :, ::-1].astype(float)
            assert abs(found - expected).max() <= max(kind.within, 1), kind.name
    assert compared >= 100


def test_the_file_states_the_white_of_twelve_bits(tmp_path):
    """They once came out 16 times too dark without --white-level, and right with it."""
    packed(tmp_path / "a.tif", depth(GREY, 12), 12)
    for white in (None, 4095, 65535):
        np.testing.assert_array_equal(
            read_image(tmp_path / "a.tif", white_level=white)[:, :, 0], GREY
        )


def test_white_level_where_0_is_white(tmp_path):
    values = 4095 - depth(GREY, 12)
    packed(tmp_path / "a.tif", values, 16, photometric=0, big_endian=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", white_level=4095)[:, :, 0], GREY)


CUT = {
    "12 bits, 20 rows a strip": "a strip has",
    "rgb16, plain, turned 1": "a strip has",
    "rgb8, plain, turned 1": "truncated",
    "grey8, tiff_lzw": "decoder error",
    "rgb16, zlib, turned 1": "decoder error",
}


@pytest.mark.parametrize("name", CUT)
def test_a_strip_that_is_not_all_there_is_refused(tmp_path, name):
    path = tmp_path / "a.tif"
    BY_NAME[name].draw(path)
    with path.open("rb") as file:
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
    content = bytearray(path.read_bytes())
    entry = content.index(b"\x11\x01", tags.next)  # where the strip begins
    place = content[tags[273][0] :][: tags[279][0] // 2]  # half of it, behind all else
    content[entry + 8 : entry + 12] = len(content).to_bytes(4, "little")
    content[entry + 2 : entry + 4] = (4).to_bytes(2, "little")
    path.write_bytes(content + place)
    with pytest.raises(ImageError, match=CUT[name]):
        read_image(path)
