"""The trial of damaged pictures and videos in a short form, and that it sees what is wrong."""

import pytest
from PIL import ImageFile

from trials import damaged_files


@pytest.mark.parametrize("kind", damaged_files.KINDS)
def test_damaged_files_break_no_rule(kind):
    found = damaged_files.of_kind(kind, 0, cases=60)
    assert found["broken"] == {}
    assert found["outcomes"]["refused"] > 5


def test_half_a_picture_that_is_read_would_be_seen(tmp_path, monkeypatch):
    """As it would be if Pillow were told to fill cut files."""
    whole = damaged_files.whole_files("jpeg", tmp_path)[0]
    monkeypatch.setattr(damaged_files, "case", lambda *_: whole[: 3 * len(whole) // 4])
    which = ("jpeg", tmp_path, 0, 0)
    assert damaged_files.judged(which)[0] == "refused"
    strict = damaged_files._is_whole

    def strictly(content):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
        return strict(content)

    monkeypatch.setattr(damaged_files, "_is_whole", strictly)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert damaged_files.judged(which) == ("wrong", "Pillow refuses it")
