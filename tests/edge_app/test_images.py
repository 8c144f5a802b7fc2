import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.images import find_images, flat_names, read_image


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)  # RGB


def save(path, array_or_image, **options):
    image = array_or_image
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


class TestFind:
    def test_folder_names_are_relative_and_sorted(self, image_folder):
        (image_folder / "notes.txt").write_text("no image")
        (image_folder / ".hidden.png").write_bytes(b"x")
        (image_folder / ".cache").mkdir()
        (image_folder / ".cache" / "a.png").write_bytes(b"x")
        names = [file.name for file in find_images([image_folder]).files]
        assert names == ["bad/07.png", *(f"good/{n:02d}.png" for n in range(10) if n != 7)]

    def test_files_and_clashes(self, tmp_path, colour):
        for folder in ("a", "b"):
            (tmp_path / folder / "x").mkdir(parents=True)
            save(tmp_path / folder / "1.png", colour)
            save(tmp_path / folder / "x" / "2.png", colour)
        one = tmp_path / "a" / "1.png"
        assert [f.name for f in find_images([one]).files] == ["1.png"]
        assert [f.name for f in find_images([one, one, tmp_path / "a"]).files] == [
            "1.png",
            "x/2.png",
        ]
        both = [f.name for f in find_images([tmp_path / "a", tmp_path / "b"]).files]
        assert both == ["a/1.png", "a/x/2.png", "b/1.png", "b/x/2.png"]
        mixed = [f.name for f in find_images([one, tmp_path / "b"]).files]
        assert mixed == ["a/1.png", "b/1.png", "x/2.png"]

    def test_clashes_further_up(self, tmp_path, colour):
        for folder in ("left/same", "right/same"):
            (tmp_path / folder).mkdir(parents=True)
            save(tmp_path / folder / "1.png", colour)
        found = find_images([tmp_path / "left" / "same", tmp_path / "right" / "same"]).files
        assert [f.name for f in found] == ["left/same/1.png", "right/same/1.png"]

    def test_a_named_file_counts_whatever_its_suffix(self, tmp_path):
        (tmp_path / "frame.raw").write_bytes(b"x")
        assert len(find_images([tmp_path / "frame.raw"]).files) == 1

    def test_refuses(self, tmp_path):
        with pytest.raises(InputError, match=r'"\S*nowhere" does not exist'):
            find_images([tmp_path / "nowhere"])
        with pytest.raises(InputError, match="no image in"):
            find_images([tmp_path])

    def test_links_are_followed_but_not_in_circles(self, tmp_path, colour):
        """A linked file once failed: its real path does not lie below the folder."""
        (tmp_path / "elsewhere").mkdir()
        save(tmp_path / "elsewhere" / "real.png", colour)
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "link.png").symlink_to(tmp_path / "elsewhere" / "real.png")
        (folder / "dangling.png").symlink_to(tmp_path / "nowhere")
        (folder / "round").symlink_to(folder)
        (folder / "sub").symlink_to(tmp_path / "elsewhere")
        names = [file.name for file in find_images([folder]).files]
        assert names == ["dangling.png", "link.png"]  # sub/real.png is link.png once more
        with pytest.raises(ImageError, match="No such file"):
            read_image(folder / "dangling.png")

    def test_numbers_count_as_numbers(self, tmp_path, colour):
        names = [
            "9/1.png",
            "10/1.png",
            "a1.png",
            "a2.png",
            "a2b10.png",
            "a10.png",
            "a010.png",
            "b.png",
            "b2.png",  # the longer name later, as b and b2
        ]
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            save(tmp_path / name, colour)
        wanted = [n for n in names if n != "a010.png"]
        wanted.insert(wanted.index("a10.png"), "a010.png")  # as large: by its characters
        assert [file.name for file in find_images([tmp_path]).files] == wanted

    def test_what_is_reached_by_a_link_too_has_its_own_name(self, tmp_path, colour):
        """A folder linked into itself was read twice, under the link's name."""
        (tmp_path / "z").mkdir()
        (tmp_path / "b").mkdir()
        save(tmp_path / "z" / "1.png", colour)
        save(tmp_path / "2.png", colour)
        (tmp_path / "a").symlink_to(tmp_path)  # into itself
        (tmp_path / "b" / "to_z").symlink_to(tmp_path / "z")
        (tmp_path / "b" / "0.png").symlink_to(tmp_path / "z" / "1.png")
        assert [file.name for file in find_images([tmp_path]).files] == ["2.png", "z/1.png"]

    def test_the_results_of_an_earlier_run_are_left_out(self, tmp_path, colour):
        (tmp_path / "results" / "overlays").mkdir(parents=True)
        save(tmp_path / "a.png", colour)
        save(tmp_path / "results" / "overlays" / "a.png", colour)
        found = find_images([tmp_path], output=tmp_path / "results").files
        assert [file.name for file in found] == ["a.png"]

    def test_what_a_line_has_drawn_is_no_image(self, tmp_path, colour):
        """A reference set was built from overlays, with their green bars, and nothing was told."""
        drawn = "20261201T053048Z-0ca6-camera-00000007-7"
        save(tmp_path / f"{drawn}.png", colour)
        with pytest.raises(InputError, match="only what a line has drawn: zeroline run --keep all"):
            find_images([tmp_path])
        save(tmp_path / f"{drawn}.raw.png", colour)
        save(tmp_path / "20261201.png", colour)
        found = [file.name for file in find_images([tmp_path]).files]
        assert found == ["20261201.png", f"{drawn}.raw.png"]

    def test_names_that_are_not_utf8_can_be_written(self, tmp_path, colour):
        """They once ended the run when scores.csv was written."""
        save(tmp_path / "a.png", colour)
        (tmp_path / "a.png").rename(tmp_path / "\udcff.png")
        found = find_images([tmp_path]).files
        assert [file.name for file in found] == ["\\udcff.png"]
        assert read_image(found[0].path).shape == (20, 30, 3)

    def test_control_characters_are_escaped(self, tmp_path, colour):
        save(tmp_path / "a\nb\x1b[31m.png", colour)
        assert [f.name for f in find_images([tmp_path]).files] == ["a\\x0ab\\x1b[31m.png"]

    def test_flat_names_differ(self):
        names = ["a/b.png", "a__b.png", "A/B.PNG", "c.jpg", "c.jpg.png"]
        flat = flat_names(names, suffix=".png")
        assert flat[0] == "a__b.png"
        assert flat[3] == "c.jpg.png"
        assert len({name.casefold() for name in flat}) == len(names)

    def test_flat_names_fit_a_file_system(self):
        deep = "/".join(["a folder with a long name"] * 12) + "/x.png"
        flat = flat_names([deep, "b/" + deep], suffix=".png")
        assert max(len(name.encode()) for name in flat) <= 240
        assert len(set(flat)) == 2
        assert flat[0].endswith("__x.png")


class TestRead:
    def test_colour_becomes_bgr(self, tmp_path, colour):
        for name in ("a.png", "a.bmp", "a.tif", "a.ppm", "a.webp"):
            path = save(tmp_path / name, colour, **({"lossless": True} if "webp" in name else {}))
            np.testing.assert_array_equal(read_image(path), colour[:, :, ::-1])

    def test_grey_is_repeated(self, tmp_path, colour):
        found = read_image(save(tmp_path / "a.png", colour[:, :, 0]))
        assert found.shape == (20, 30, 3)
        assert all((found[:, :, c] == colour[:, :, 0]).all() for c in range(3))

    def test_alpha_is_dropped_not_blended(self, tmp_path, colour):
        alpha = np.dstack([colour, np.full((20, 30), 10, np.uint8)])
        found = read_image(save(tmp_path / "a.png", alpha))
        np.testing.assert_array_equal(found, colour[:, :, ::-1])

    def test_palette_and_grey_with_alpha(self, tmp_path, colour):
        palette = Image.fromarray(colour).quantize(16)
        found = read_image(save(tmp_path / "p.png", palette, transparency=bytes(range(16))))
        np.testing.assert_array_equal(found, np.asarray(palette.convert("RGB"))[:, :, ::-1])
        grey = Image.fromarray(np.dstack([colour[:, :, 0], colour[:, :, 1]]), "LA")
        found = read_image(save(tmp_path / "la.png", grey))
        np.testing.assert_array_equal(found[:, :, 1], colour[:, :, 0])

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
    def test_sixteen_bit_grey(self, tmp_path, name):
        values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
        path = save(tmp_path / name, values)
        expected = np.round(values / 257).astype(np.uint8)
        np.testing.assert_array_equal(read_image(path)[:, :, 2], expected)

    def test_twelve_bits_unshifted(self, tmp_path):
        values = np.linspace(0, 4095, 600).astype(np.uint16).reshape(20, 30)
        path = save(tmp_path / "a.png", values)
        assert read_image(path).max() == 16
        assert read_image(path, white_level=4095).max() == 255

    @pytest.mark.parametrize(("kind", "shape"), [(b"P5", (20, 30)), (b"P6", (20, 30, 3))])
    def test_pnm_states_its_own_white(self, tmp_path, kind, shape):
        """With --white-level 4095 a 12-bit PGM once came out all white."""
        values = np.random.default_rng(0).integers(0, 4096, shape).astype(">u2")
        path = tmp_path / "a.pnm"
        path.write_bytes(kind + b"\n30 20\n4095\n" + values.tobytes())
        expected = np.round(values / 4095 * 255)
        if len(shape) == 2:
            expected = np.repeat(expected[:, :, None], 3, axis=2)
        for white in (None, 4095):
            found = read_image(path, white_level=white)[:, :, ::-1].astype(int)
            assert abs(found - expected).max() <= 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_deep_colour_is_turned_like_any_other(self, tmp_path, colour, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        flat = read_image(save(tmp_path / "flat.png", colour, exif=exif))
        deep = cv2.imencode(".png", colour[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes()
        body = exif.tobytes()[6:]  # without "Exif\\0\\0"
        chunk = b"eXIf" + body
        inserted = struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        (tmp_path / "deep.png").write_bytes(deep[:33] + inserted + deep[33:])
        np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), flat)

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_sixteen_bit_colour_keeps_its_depth(self, tmp_path, name):
        """Pillow would cut it to the high byte, and a 12-bit picture to nearly nothing."""
        values = np.random.default_rng(0).integers(0, 4096, (20, 30, 3)).astype(np.uint16)
        assert cv2.imwrite(str(tmp_path / name), values)
        found = read_image(tmp_path / name, white_level=4095)
        np.testing.assert_array_equal(found, np.round(values / 4095 * 255).astype(np.uint8))

    def test_five_six_five_bits_are_not_sixteen_bits_a_channel(self, tmp_path):
        """With a white level, one such file once ended the whole run."""
        path = tmp_path / "a.bmp"
        row = np.full(20, 0b11111_000000_00000, "<u2").tobytes()
        pixels = row * 20
        masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
        header = struct.pack("<IiiHHIIiiII", 40, 20, 20, 1, 16, 3, len(pixels), 0, 0, 0, 0)
        start = 14 + len(header) + len(masks)
        top = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
        path.write_bytes(top + header + masks + pixels)
        np.testing.assert_array_equal(read_image(path, white_level=4095)[0, 0], [0, 0, 255])

    def test_white_level_leaves_eight_bits_alone(self, tmp_path, colour):
        path = save(tmp_path / "a.png", colour)
        np.testing.assert_array_equal(read_image(path, white_level=4095), colour[:, :, ::-1])

    def test_orientation_is_applied(self, tmp_path, colour):
        exif = Image.Exif()
        exif[0x0112] = 6  # rotate by 90°
        path = save(tmp_path / "a.png", colour, exif=exif)
        np.testing.assert_array_equal(read_image(path), np.rot90(colour[:, :, ::-1], -1))

    def test_damage_is_named(self, tmp_path, colour):
        whole = save(tmp_path / "whole.jpg", colour).read_bytes()
        cases = {
            "cut.jpg": (whole[: len(whole) // 2], "(?i)truncated"),
            "empty.png": (b"", r"the file is empty \(0 bytes\)"),
            "text.png": (b"just a text\n", "not an image, or of an unknown format"),
        }
        for name, (content, message) in cases.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ImageError, match=message):
                read_image(tmp_path / name)
        with pytest.raises(ImageError, match="not a regular file"):
            read_image(tmp_path)
        with pytest.raises(ImageError, match="cannot be read: No such file"):
            read_image(tmp_path / "gone.png")

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM"])
    def test_half_a_picture_is_none(self, tmp_path, kind):
        pixels = np.random.default_rng(1).integers(0, 256, (64, 48, 3)).astype(np.uint8)
        options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
        whole = save(tmp_path / "whole", pixels, format=kind, **options).read_bytes()
        assert read_image(tmp_path / "whole").shape == (64, 48, 3)
        for share in (0.3, 0.5, 0.9):
            (tmp_path / "cut").write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(ImageError):
                read_image(tmp_path / "cut")

    @pytest.mark.parametrize("deep", [False, True])
    def test_png_whose_sums_do_not_fit_is_refused(self, tmp_path, colour, deep, capfd):
        """Pillow decodes it without a word, and libpng in OpenCV wrote lines of its own."""
        made = cv2.imencode(".png", colour.astype(np.uint16) * 257 if deep else colour)[1]
        content = bytearray(made.tobytes())
        content[content.index(b"IDAT") + 30] ^= 255
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ImageError, match="cannot be read"):
            read_image(tmp_path / "a.png")
        cut = made.tobytes()[:-4] + bytes(4)  # the sum of the end
        (tmp_path / "a.png").write_bytes(cut)
        for odd in (cut, cut + made.tobytes()):  # the whole end behind it is of another file
            (tmp_path / "a.png").write_bytes(odd)
            if deep:
                with pytest.raises(ImageError, match="no whole end"):
                    read_image(tmp_path / "a.png")
        assert capfd.readouterr().err == ""

    def test_odd_chunks_of_a_deep_png_are_no_matter(self, tmp_path, colour, capfd):
        """libpng warned of a colour profile that it does not like, and of sizes of its own."""
        made = cv2.imencode(".png", colour.astype(np.uint16) * 257)[1].tobytes()
        odd = b""
        for kind, content in (
            (b"iCCP", b"sRGB\0\0junk"),
            (b"tRNS", b"\0\1\0\2\0\3"),
            (b"gAMA", b"\0\0\0\1"),
        ):
            body = kind + content
            odd += struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
        (tmp_path / "a.png").write_bytes(made[:33] + odd + made[33:])  # behind the header
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colour)
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize(
        ("name", "begin", "word"),
        [
            ("a.heic", b"\0\0\0\x18ftypheic", "HEIC"),
            ("a.jpg", b"\0\0\0\x18ftypmif1", "HEIC"),
            ("a.cr3", b"\0\0\0\x18ftypcrx ", "camera raw"),
            ("a.cr2", b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
            ("a.raf", b"FUJIFILMCCD-RAW 0201", "camera raw"),
            ("a.raw", b"\x10\x20\x30\x40", "camera raw"),
            ("a.jxl", b"\xff\x0a\0\0", "JPEG XL"),
        ],
    )
    def test_kinds_that_are_not_read_are_called_by_their_names(self, tmp_path, name, begin, word):
        (tmp_path / name).write_bytes(begin + bytes(400))
        with pytest.raises(ImageError, match=word):
            read_image(tmp_path / name)

    def test_bmp_from_the_top_down_and_with_an_alpha_of_0(self, tmp_path, colour):
        """Rows from the top have a negative height; alpha that nobody filled in is no mask."""
        palette = bytes(value for grey in range(256) for value in (grey, grey, grey, 0))
        grey = np.pad(colour[:, :, 0], ((0, 0), (0, 2))).tobytes()  # rows of four bytes
        four = np.dstack([colour[:, :, ::-1], np.zeros((20, 30, 1), np.uint8)]).tobytes()
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        v4 = masks + b"BGRs" + bytes(48)
        for name, bits, compression, size, rest, pixels in (
            ("grey.bmp", 8, 0, 40, palette, grey),
            ("alpha.bmp", 32, 3, 108, v4, four),
        ):
            start = 14 + 40 + len(rest)
            head = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
            about = struct.pack("<IiiHHIIiiII", size, 30, -20, 1, bits, compression, len(pixels),
                                0, 0, 0, 0)  # fmt: skip
            (tmp_path / name).write_bytes(head + about + rest + pixels)
        found = read_image(tmp_path / "grey.bmp")
        np.testing.assert_array_equal(found[:, :, 1], colour[:, :, 0])
        np.testing.assert_array_equal(read_image(tmp_path / "alpha.bmp"), colour[:, :, ::-1])

    def test_size_limits(self, tmp_path):
        small = save(tmp_path / "small.png", np.zeros((1, 1), np.uint8))
        with pytest.raises(ImageError, match=r"1×1 pixels, at least 16×16"):
            read_image(small)
        for side in (20_000, 9_100):  # beyond Pillow's error, and beyond its warning only
            path = tmp_path / f"{side}.png"
            path.write_bytes(empty_png(side))
            with pytest.raises(ImageError, match="million"):
                read_image(path)

    @pytest.mark.parametrize(("mode", "word"), [("F", "floating point"), ("I", "signed")])
    def test_deeper_pixels_have_no_rule(self, tmp_path, mode, word):
        path = save(tmp_path / "a.tif", Image.new(mode, (20, 20), 0))
        with pytest.raises(ImageError, match=rf"TIFF of 32 bits \({word}\), 1 sample"):
            read_image(path)

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # the command line does the same
    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_random_damage_never_escapes(self, tmp_path_factory, data):
        kind = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM"]))
        buffer = io.BytesIO()
        Image.fromarray(np.arange(1200, dtype=np.uint16).astype(np.uint8).reshape(20, 20, 3)).save(
            buffer, kind
        )
        content = bytearray(buffer.getvalue())
        for _ in range(data.draw(st.integers(1, 6))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        content = content[: data.draw(st.integers(1, len(content)))]
        path = tmp_path_factory.getbasetemp() / "damaged"
        path.write_bytes(content)
        try:
            frame = read_image(path)
        except ImageError:
            return
        assert frame.dtype == np.uint8


def empty_png(side):
    """A valid header of side × side grey pixels, with hardly any data."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )
