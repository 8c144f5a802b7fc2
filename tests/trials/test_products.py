"""The trial of another product in a short form: the empty belt, and a few plates."""

import pytest

from trials import products
from zeroline.runtime import load_bundle


@pytest.fixture(scope="module")
def tiny():
    with load_bundle("tiny", threads=1) as opened:
        yield opened


def test_an_empty_belt_is_told_from_plates(tiny, tmp_path):
    plates = [frame.image for frame in products.parts(3, 26)]
    belt = [f.image for f in products.parts(4, 30, empty=0.5) if f.kind == "empty"]
    known, others = products.embedded(tiny, plates), products.embedded(tiny, belt)
    streams = {"belt": others, "plates": known[20:]}
    seen = products.called_other(tiny, known[:20], streams, tmp_path)
    assert len(seen["belt"]) > 8
    assert all(seen["belt"])
    assert not any(seen["plates"])


def test_large_defects_are_no_other_product(tiny, monkeypatch):
    monkeypatch.setitem(products.HARD, "defects", 0.5)
    others, defective, found = products.shift(tiny, 5, 40)
    assert others == 0
    assert found > 10
    assert found >= 0.8 * defective


def test_photographs_are_told_from_plates(tiny, shared, tmp_path):
    from zeroline.edge_app.images import read_image

    files = sorted((shared / "data/tiles/test/good").iterdir())[:34]
    tiles = products.embedded(tiny, (read_image(file) for file in files))
    plates = products.embedded(tiny, (frame.image for frame in products.parts(3, 24)))
    streams = {"plates": plates, "tiles": tiles[24:]}
    seen = products.called_other(tiny, tiles[:24], streams, tmp_path)
    assert all(seen["plates"])
    assert not any(seen["tiles"])
    seen = products.called_other(tiny, plates, {"tiles": tiles}, tmp_path)
    assert all(seen["tiles"])
