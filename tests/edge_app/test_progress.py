"""Progress where the error stream is no terminal."""

import time

from zeroline.edge_app.progress import SHORT, progress_bars


def test_a_line_for_each_tenth(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress_bars() as bars:
        step = bars("reading", 200)
        for _ in range(25):
            step(1)
        assert capsys.readouterr().err == ""  # the first seconds need none
        now[0] = SHORT + 1
        for _ in range(175):
            step(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading: 10 % (26 of 200)"
    assert lines[1:] == [f"reading: {10 * n} % ({20 * n} of 200)" for n in range(2, 11)]


def test_a_short_step_is_silent(capsys):
    with progress_bars() as bars:
        bars("reading", 10)(10)
        bars("nothing", 0)
    assert capsys.readouterr().err == ""
