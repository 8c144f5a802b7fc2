"""The unit of a station: what systemd says of it, what it allows, what is written and removed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from support.machine import ROOT, missing
from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.service import Service

PYTHON, RUNNER = Path("/usr/bin/python3"), sys.executable


@pytest.fixture(autouse=True)
def python_of_the_system(monkeypatch):
    """That of the tests may lie in a home folder."""
    monkeypatch.setattr(sys, "executable", str(PYTHON))


def analyzed(*arguments):
    """What systemd-analyze says."""
    if shutil.which("systemd-analyze") is None:
        missing("no systemd-analyze is here")
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def root(tmp_path):
    """A system with two of the groups."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/group").write_text("root:x:0:\nvideo:x:44:\nrender:x:105:\nvideos:x:9:\n")
    return tmp_path / "root"


@pytest.fixture
def program(tmp_path):
    """A program in a folder whose name systemd would read in another way."""
    path = tmp_path / "a b%n$HOME" / "zeroline"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_systemd_takes_the_unit_and_finds_it_closed(root, program):
    service = Service(root, False, program, PYTHON)
    unit, users = service.install()
    verified = analyzed("verify", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    secure = analyzed("security", "--offline=yes", unit)
    level = re.search(r"Overall exposure level for .*: ([\d.]+)", secure.stdout)
    assert level is not None
    assert float(level[1]) <= 4.0
    assert "SupplementaryGroups=video render\n" in unit.read_text()
    assert users.read_text().splitlines()[-1].startswith("u zeroline -")


def test_systemd_takes_the_unit_of_a_user(program, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (unit,) = Service(Path("/"), True, program, PYTHON).install()
    assert unit == tmp_path / "config/systemd/user/zeroline@.service"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    verified = analyzed("--user", "verify", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    assert "User=" not in unit.read_text()


def test_without_the_groups_the_unit_names_none(tmp_path, program):
    assert "SupplementaryGroups" not in Service(tmp_path, False, program, PYTHON).text()


@pytest.mark.parametrize(
    ("program", "python"),
    [("/home/me/zeroline", PYTHON), ("/opt/zeroline", "/root/python/bin/python3.11")],
)
def test_a_program_that_the_service_cannot_see_is_refused(program, python):
    with pytest.raises(InputError, match="sees no home folders"):
        Service(Path("/"), False, Path(program), Path(python)).text()
    assert program in Service(Path("/"), True, Path(program), Path(python)).text()


def called(*arguments):
    return CliRunner().invoke(main, ["service", *map(str, arguments)])


def test_what_is_written_is_told_and_can_be_removed(root):
    done = called("install", "--root", root, "--name", "press-4")
    assert done.exit_code == 0, done.output
    unit = root / "etc/systemd/system/zeroline@.service"
    assert f'wrote "{unit}"' in done.output
    assert "zeroline@press-4" in done.output
    assert "does not hold yet" in done.output
    assert called("show", "--root", root).output.endswith(unit.read_text())
    (root / "etc/zeroline").mkdir()
    file = root / "etc/zeroline/press-4.yaml"
    file.write_text("data: data\ncameras: [{name: top, source: 'sim://parts'}]\n")
    again = called("install", "--root", root, "--name", "press-4")
    told = "may write /var/lib/zeroline/press-4 alone: write data: /var/lib/zeroline/press-4\n"
    assert told in again.output
    file.write_text(file.read_text().replace("data: data", "data: /var/lib/zeroline/press-4"))
    assert "warning" not in called("install", "--root", root, "--name", "press-4").output
    done = called("remove", "--root", root)
    assert f'removed "{unit}"' in done.output
    assert file.exists()
    assert [p for p in root.rglob("zeroline*") if p.is_file()] == []
    assert "there is no unit" in called("remove", "--root", root).output


def enabled(root, *names):
    """What systemctl enable writes."""
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for name in names:
        (wants / f"zeroline@{name}.service").symlink_to(wants.parent / "zeroline@.service")
    return wants


def test_the_unit_stays_while_a_station_needs_it(root):
    """The removal of one station took the unit from all others: they could not start again."""
    called("install", "--root", root)
    unit, users = root / "etc/systemd/system/zeroline@.service", root / "etc/sysusers.d"
    wants = enabled(root, "press-4", "press-5")

    def refused(*words):
        done = called("remove", "--root", root, *words)
        assert done.exit_code == 1, done.output
        assert unit.is_file()
        assert list(users.iterdir())
        assert done.output.count("\n") == 1
        return done.output

    one = refused("--name", "press-5")
    assert 'zeroline@press-4 needs the unit, "sudo systemctl disable --now zeroline@press-5"' in one
    assert "zeroline@press-4, zeroline@press-5 need the unit, first" in refused()
    (wants / "zeroline@press-5.service").unlink()
    gone = refused("--name", "press-5")
    assert 'there is no station "press-5"' in gone
    assert "starts press-4" in gone
    file = root / "etc/zeroline/press-5.yaml"
    file.parent.mkdir()
    file.write_text("")
    assert "press-5 is ended already" in refused("--name", "press-5")
    last = refused("--name", "press-4")
    assert 'first "sudo systemctl disable --now zeroline@press-4", then this command' in last
    (wants / "zeroline@press-4.service").unlink()
    running = root / "run/systemd/units"
    running.mkdir(parents=True)
    (running / "invocation:zeroline@press-6.service").symlink_to("0a")  # started by hand
    assert "zeroline@press-6 needs the unit" in refused("--name", "press-5")
    (running / "invocation:zeroline@press-6.service").unlink()
    done = called("remove", "--root", root, "--name", "press-5")
    assert done.exit_code == 0, done.output
    assert not unit.exists()
    assert done.output.endswith("Next:\n  sudo systemctl daemon-reload\n")
    assert file.exists()


def test_the_unit_of_a_user_stays_while_a_station_needs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert called("install", "--user").exit_code == 0
    link = tmp_path / "systemd/user/default.target.wants/zeroline@press-4.service"
    link.parent.mkdir()
    link.symlink_to("../zeroline@.service")
    assert "systemctl --user disable --now zeroline@press-4" in called("remove", "--user").output
    link.unlink()
    assert "there is no station" in called("remove", "--user", "--name", "press-4").output
    (tmp_path / "zeroline").mkdir()
    (tmp_path / "zeroline/press-4.yaml").write_text("")
    assert called("remove", "--user", "--name", "press-4").exit_code == 0


def test_what_is_not_ours_is_neither_replaced_nor_removed(root):
    unit = root / "etc/systemd/system/zeroline@.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    done = called("install", "--root", root)
    assert done.exit_code == 1
    assert "is not from zeroline" in done.output
    assert not (root / "etc/sysusers.d").exists()
    called("remove", "--root", root)
    assert unit.read_text().endswith("/bin/true\n")


@pytest.mark.parametrize("name", ["press 4", "a/b", "%i", "", "-a", "ä"])
def test_names_that_systemd_writes_in_another_way_are_refused(root, name):
    assert called("install", "--root", root, "--name", name).exit_code == 2
    assert not (root / "etc/systemd").exists()


@pytest.mark.parametrize("name", ["press-4.yaml", "press-4.yml", "press-4.env", "press-4.service"])
def test_the_name_of_a_file_is_no_stations(root, name):
    """It would be looked for as press-4.yaml.yaml."""
    done = called("install", "--root", root, "--name", name)
    assert done.exit_code == 2
    assert 'did you mean "press-4"?' in done.output
    assert called("install", "--root", root, "--name", "press-4.2").exit_code == 0


def test_user_and_root_exclude_each_other(root):
    assert called("show", "--user", "--root", root).exit_code == 2


def names_in(group):
    """The calls of a group of systemd's."""
    found: set[str] = set()
    for line in analyzed("syscall-filter", group).stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= names_in(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def test_a_station_makes_no_call_that_the_unit_refuses(tmp_path, bundle_folder):
    """The kernel's filter of the unit, held against a trace: no systemd runs here."""
    if shutil.which("strace") is None:
        missing("no strace is here")
    text = Service(tmp_path, False, Path("/opt/zeroline/bin/zeroline"), PYTHON).text()
    (allowed,) = re.findall(r"^SystemCallFilter=(.*)$", text, re.M)
    (families,) = re.findall(r"^RestrictAddressFamilies=(.*)$", text, re.M)
    file = tmp_path / "station.yaml"
    file.write_text(
        f"data: {tmp_path / 'data'}\ncameras: [{{name: top, source: 'sim://parts?parts=6'}}]\n"
        f"recipes: {{default: {{model: '{bundle_folder}', window: 8, min_window: 4}}}}\n"
        "page: {listen: '127.0.0.1:0'}\nstorage: {keep_free_gb: 0}\nthreads: 1\n"
    )
    calls = tmp_path / "calls"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", calls,
         RUNNER, "-m", "zeroline.edge_app", "run", file],
        capture_output=True, text=True, check=False, timeout=120,
        env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = calls.read_text(errors="replace")
    used = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", made, re.M))
    assert {"openat", "mmap", "futex", "socket", "fsync"} <= used
    assert used - names_in(allowed) == set()
    assert set(re.findall(r"socket\((AF_\w+|PF_\w+)", made)) <= set(families.split())
