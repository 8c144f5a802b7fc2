"""The trial of damaged files in a short form, and that it sees what breaks a rule."""

import os
import time

import pytest
from trials.guarded import tried

from trials import damaged_files


@pytest.mark.parametrize("kind", damaged_files.KINDS)
def test_damaged_files_break_no_rule(kind):
    found = damaged_files.of_kind(kind, 0, cases=60)
    assert found["broken"] == {}
    assert found["refused"] > 10


def breaking(number: int) -> str:
    if number == 2:
        os.abort()
    if number == 4:
        time.sleep(60)
    return "read"


def test_crashes_and_hangs_are_counted():
    found = tried(breaking, range(6), seconds=2.0)
    assert found == {0: "read", 1: "read", 2: "crashed", 3: "read", 4: "slow", 5: "read"}


def test_half_a_picture_that_is_read_would_be_seen(tmp_path, monkeypatch):
    """As it would be if Pillow were told to fill cut files."""
    from PIL import ImageFile

    folder = tmp_path
    whole = damaged_files.whole_files("jpeg", folder)[0]
    monkeypatch.setattr(damaged_files, "case", lambda *_: whole[: 3 * len(whole) // 4])
    assert damaged_files.judged("jpeg", folder, 0, 0) == "refused"
    real = damaged_files._is_whole

    def strictly(content):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
        return real(content)

    monkeypatch.setattr(damaged_files, "_is_whole", strictly)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert damaged_files.judged("jpeg", folder, 0, 0) == "taken for whole"
