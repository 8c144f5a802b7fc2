"""Commands that ask a station, through a real local interface."""

import json
import socket
import threading

import pytest
from click.testing import CliRunner

from support.small_station import SmallStation
from zeroline.edge_app.cli import main
from zeroline.edge_app.control import Answer, Health
from zeroline.edge_app.interface.interface import Interface
from zeroline.edge_app.interface.metrics import Metrics


@pytest.fixture
def station():
    return SmallStation(None, [], queue=2)


@pytest.fixture
def interface(station):
    made = Interface(station, listen="127.0.0.1:0", metrics=Metrics())
    made.start()
    yield made
    made.close()


@pytest.fixture
def ask(interface):
    def run(*arguments, address=True):
        more = ["--address", interface.address] if address else []
        return CliRunner().invoke(main, [*arguments, *more])

    return run


def test_a_part_is_triggered_by_name(station, ask):
    done = ask("trigger", "--part", "A-1", "--lot", "L-7", "--recipe", "bracket-a")
    assert (done.exit_code, done.stdout) == (0, "A-1\n")
    done = ask("trigger")
    assert done.stdout == "top-20260101-2\n"
    assert station.told == [
        ("trigger", "A-1", "L-7", None, "bracket-a"),
        ("trigger", None, None, None, None),
    ]
    done = ask("trigger")
    assert (done.exit_code, done.stderr) == (1, 'Error: trigger "main": 2 parts wait already\n')
    done = ask("trigger", "--name", "side")
    assert done.stderr == 'Error: trigger "side" is unknown, there are: main\n'


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["feedback", "A-1", "false-alarm", "--note", "dust", "--by", "ann"],
         ("feedback", "A-1", Answer.FALSE_ALARM, "dust", "ann", False)),
        (["feedback", "A-1", "false-alarm", "--join", "--by", "ann"],
         ("feedback", "A-1", Answer.FALSE_ALARM, "", "ann", True)),
        (["feedback", "--reset", "--by", "ann"], ("reset", "ann")),
        (["feedback", "A-1", "rightly-ng", "--by", "ann"],
         ("feedback", "A-1", Answer.RIGHTLY_NG, "", "ann", False)),
        (["recipe", "bracket-a", "--by", "ann"], ("switch", None, "bracket-a", "ann")),
        (["recipe", "top", "default", "--by", "ann"], ("switch", "top", "default", "ann")),
        (["pause", "--by", "ann"], ("pause", True, "ann")),
        (["setup", "on", "--by", "ann"], ("setup", True, "ann")),
        (["setup", "off", "--by", "ann"], ("setup", False, "ann")),
    ],
)  # fmt: skip
def test_what_a_command_says_arrives(station, ask, arguments, told):
    done = ask(*arguments)
    assert (done.exit_code, done.output) == (0, "")
    assert station.told == [told]


def test_a_person_is_the_user_of_the_machine_unless_it_says_otherwise(station, ask, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ben")
    assert ask("pause").exit_code == 0
    assert ask("resume").exit_code == 0
    assert station.told == [("pause", True, "ben"), ("pause", False, "ben")]


def test_what_a_station_refuses_is_one_line(ask):
    for arguments, line in (
        (["resume"], "Error: the station is not paused"),
        (["feedback", "none", "missed"], 'Error: part "none" is unknown'),
        (["recipe", "x"], 'Error: recipe "x" is unknown'),
        (["feedback", "A-1", "note"], "Error: body: the answer note needs a note"),
    ):
        done = ask(*arguments)
        assert (done.exit_code, done.stderr) == (1, line + "\n")


def test_recipes_are_listed_with_their_cameras(ask):
    assert ask("recipe", "list").stdout == "bracket-a\ndefault  runs on top\n"


def test_the_state_in_words_and_as_json(station, ask):
    done = ask("state")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "station press-4, run 20260101T000000Z-abcd",
        "ready",
        "parts: 3 OK, 1 NG",
        "camera top: recipe default, 8 of 8 frames in the window, threshold 0.500",
        "trigger main: 5 taken, 2 missed, 1 late",
        "output webhook: lost, 7 waiting, 3 missed",
        "store: 2 rows waiting, FULL",
    ]
    station.well = Health(True, False, ("the station is paused",))
    done = ask("state", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["counts"] == {"OK": 3, "NG": 1}
    assert found["health"]["reasons"] == ["the station is paused"]
    assert "not ready: the station is paused" in ask("state").stdout


def test_the_file_of_a_station_says_where_it_listens(interface, ask, tmp_path):
    file = tmp_path / "station.yaml"
    text = "cameras: [{{source: 'sim://parts'}}]\npage: {{listen: {}}}\n"
    file.write_text(text.format(f'"{interface.address}"'))
    done = ask("trigger", "--part", "A-1", "--station", str(file), address=False)
    assert done.stdout == "A-1\n"
    done = ask("trigger", "--station", str(file))
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: --address and --station exclude each other\n",
    )
    file.write_text(text.format('"off"'))
    done = ask("state", "--station", str(file), address=False)
    assert done.stderr == f'Error: "{file}": page.listen is off, so nobody can ask the station\n'


def test_where_no_station_is_one_line_says_so(ask):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    done = ask("state", "--address", f"127.0.0.1:{port}", address=False)
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: no station answers at 127.0.0.1:{port}: is one running there (page.listen)? "
        "One that starts answers some seconds later\n",
    )
    done = ask("state", "--address", "not an address", address=False)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1


def test_what_is_no_station_is_told(ask):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer():
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        threading.Thread(target=answer, daemon=True).start()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = ask("state", "--address", address, address=False)
    assert done.stderr == f"Error: what answers at {address} is no station\n"
