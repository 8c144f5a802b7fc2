"""The check of installs: a wheel that stands in for zeroline's is really installed and run."""

from __future__ import annotations

import sys
import zipfile

import pytest

import check_installs

HERE = "{}.{}".format(*sys.version_info)
INFO = "zeroline-0.0.1.dist-info"


def wheel(folder, *, fails="", needs=""):
    """Write a wheel whose command fails where its first argument is one that is named."""
    files = {
        "stand_in.py": f"import sys\ndef main(): sys.exit(7 * (sys.argv[1] == '{fails}'))\n",
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: zeroline\nVersion: 0.0.1\n"
        f"Provides-Extra: app\nProvides-Extra: cpu\n{needs}\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{INFO}/entry_points.txt": "[console_scripts]\nzeroline = stand_in:main\n",
    }
    with zipfile.ZipFile(folder / "zeroline-0.0.1-py3-none-any.whl", "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
        file.writestr(f"{INFO}/RECORD", "".join(f"{name},,\n" for name in files))


@pytest.mark.parametrize(("fails", "codes"), [("", ["0", "0", "0"]), ("demo", ["0", "7", "-"])])
def test_a_wheel_is_installed_and_run(tmp_path, capsys, fails, codes):
    wheel(tmp_path, fails=fails)
    assert check_installs.main([str(tmp_path), "2.6", HERE]) == bool(fails)
    told = capsys.readouterr()
    assert "Python 2.6: not found, skipped" in told.err
    (row,) = [line for line in told.out.splitlines() if line.startswith(f"| {HERE} ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert [cells[3], cells[5], cells[7]] == codes


def test_a_wheel_that_does_not_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    wheel(tmp_path, needs="Requires-Dist: a-package-that-is-nowhere; extra == 'app'\n")
    assert check_installs.main([str(tmp_path), HERE]) == 1
    told = capsys.readouterr()
    assert "a-package-that-is-nowhere" in told.err
    assert told.out.endswith("| 1 | - | - | - | - |\n")


def test_no_wheel_and_no_python(tmp_path, capsys):
    assert check_installs.main([str(tmp_path)]) == 1
    assert "one wheel" in capsys.readouterr().err
    wheel(tmp_path)
    assert check_installs.main([str(tmp_path), "2.6"]) == 1
    assert "nothing was checked" in capsys.readouterr().err
