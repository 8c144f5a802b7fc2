"""The file of a station: what it allows, errors with their lines, secrets, origins of values."""

import json
import os
import re
import tarfile
import tempfile
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from support.machine import ROOT
from zeroline.edge_app.cli import main
from zeroline.edge_app.configuration.allowed import schema_at, station_schema
from zeroline.edge_app.configuration.cameras import Camera
from zeroline.edge_app.configuration.models import Recipe, Station
from zeroline.edge_app.configuration.reading import ConfigurationError, read_station
from zeroline.edge_app.configuration.shown import effective, new_file
from zeroline.edge_app.configuration.variables import parsed
from zeroline.edge_app.configuration.yaml_places import read_yaml
from zeroline.edge_app.errors import InputError

GOOD = """\
station: press-4
cameras:
  - name: top
    source: sim://parts?parts=9
recipes:
  default:
    window: 32
  small:
    tiles: 2x2
outputs:
  - kind: json_lines
    path: verdicts.jsonl
"""


@pytest.fixture
def file(tmp_path):
    def write(text=GOOD):
        path = tmp_path / "station.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def zeroline(*words, **options):
    return CliRunner().invoke(main, [*map(str, words)], **options)


def problems(path, **options):
    with pytest.raises(ConfigurationError) as caught:
        read_station(path, **options)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_a_new_file_holds_and_has_every_setting(tmp_path):
    path = tmp_path / "new.yaml"
    made = zeroline("config", "init", path)
    assert made.exit_code == 0, made.output
    assert path.read_text() == new_file()
    checked = zeroline("config", "check", path)
    assert (checked.exit_code, checked.stdout) == (0, f'"{path}" holds: station press-4\n')
    keys = set(re.findall(r"^\s*(?:- )?(?:# )?([a-z_]+):", path.read_text(), flags=re.MULTILINE))
    assert {*Recipe.model_fields, *Station.model_fields, *Camera.model_fields} <= keys
    again = zeroline("config", "init", path)
    assert (again.exit_code, again.stderr) == (
        1, f'Error: "{path}" exists already, and is not overwritten\n',
    )  # fmt: skip


def test_what_is_commented_in_a_new_file_is_the_default(tmp_path):
    """Each line read as a setting gives what it gives without."""
    plain = read_yaml(new_file(), name="new").values
    lines = [
        line.replace("# ", "", 1) if re.match(r"^\s*# [a-z_]+: \S", line) else line
        for line in new_file().splitlines()
    ]
    full = read_yaml("\n".join(lines), name="new").values
    assert full != plain
    assert Station.model_validate(full) == Station.model_validate(plain)


BAD = {
    "a key": ("staton: a", 'staton is no setting: did you mean "station"?'),
    "a key of a camera": (
        "cameras: [{source: a, recepe: b}]", 'recepe is no setting: did you mean "recipe"?',
    ),
    "a key like none": (
        "zzz: 1",
        "zzz is no setting: known are station, data, device, threads, cameras, recipes, outputs, "
        "storage, page, deadline_ms",
    ),
    "a key of a recipe": (
        "recipes: {a: {windw: 3}}", 'recipes.a.windw is no setting: did you mean "window"?',
    ),
    "a key of an output": (
        "outputs: [{kind: json_lines, pth: a}]", 'pth is no setting: did you mean "path"?',
    ),
    "a misspelt key that is needed": (
        "cameras: [{sorce: a}]", 'cameras[0].sorce is no setting: did you mean "source"?',
    ),
    "a word of a simulated line": (
        "cameras: [{source: 'sim://parts?partz=3'}]",
        '1: cameras[0].source: source "sim://parts?partz=3": there is no setting "partz"; '
        'did you mean "parts"?',
    ),
    "a word of a watched folder": (
        "cameras: [{source: 'watch:in?after=keep'}]",
        "?after= one of stay, move, delete is allowed behind the folder",
    ),
    "no camera": ("station: a", "cameras is missing: Cameras, or other sources"),
    "an empty list": ("cameras: []", "cameras is []: a list of 1 to 8 is allowed"),
    "two cameras of a name": (
        "cameras: [{source: a}, {source: b}]", 'two cameras have the name "camera"',
    ),
    "nine cameras": (
        "cameras: [" + ", ".join(f"{{name: c{n}, source: s{n}}}" for n in range(9)) + "]",
        "a list of 1 to 8 is allowed",
    ),
    "two triggers of a source": (
        "cameras: [{name: a, source: x}, {name: b, source: x, trigger: {mode: software}}]",
        'cameras "a" and "b" have one source and two triggers',
    ),
    "two settings of a trigger": (
        "cameras: [{name: a, source: x, trigger: {mode: software}}, "
        "{name: b, source: y, trigger: {mode: software, queue: 3}}]",
        'cameras "a" and "b" share a trigger, and its settings differ',
    ),
    "a trigger of a watched folder": (
        "cameras: [{source: 'watch:x', trigger: {mode: software}}]",
        'camera "camera": a watched folder makes a part of each picture',
    ),
    "an interval without seconds": (
        "cameras: [{source: x, trigger: {mode: interval}}]",
        "interval_s belongs to the mode interval, and is needed there",
    ),
    "seconds without an interval": (
        "cameras: [{source: x, trigger: {interval_s: 3}}]", "interval_s belongs to the mode",
    ),
    "a mode": (
        "cameras: [{source: x, trigger: {mode: hardware}}]",
        "cameras[0].trigger.mode is hardware: every-frame, software or interval is allowed",
    ),
    "a key of a trigger": (
        "cameras: [{source: x, trigger: {mod: software}}]",
        'cameras[0].trigger.mod is no setting: did you mean "mode"?',
    ),
    "a delay": (
        "cameras: [{source: x, trigger: {mode: software, delay_ms: -1}}]",
        "cameras[0].trigger.delay_ms is -1: a number from 0 to 60000 is allowed",
    ),
    "a sample": ("storage: {ok_sample: 2}", "storage.ok_sample is 2: a number from 0 to 1"),
    "days": ("storage: {keep_days: 0}", "storage.keep_days is 0: a whole number from 1 to 3650"),
    "a key of storage": (
        "storage: {keep_day: 3}", 'storage.keep_day is no setting: did you mean "keep_days"?',
    ),
    "an address of the page": (
        "page: {listen: '0.0.0.0:80'}", "page.listen is 0.0.0.0:80: an address on this machine",
    ),
    "a deadline": ("deadline_ms: 1", "deadline_ms is 1: a number from 10 to 600000 is allowed"),
    "a webhook nowhere": ("outputs: [{kind: webhook}]", "outputs[0].url is missing: Address that"),
    "a webhook's address": (
        "outputs: [{kind: webhook, url: 'ftp://a'}]",
        "outputs[0].url is ftp://a: an address that begins with http:// or https:// is allowed",
    ),
    "two secrets": (
        "outputs: [{kind: webhook, url: 'http://a', secret_env: A, secret_file: b}]",
        "secret_env and secret_file exclude each other",
    ),
    "what UNCERTAIN is": (
        "outputs: [{kind: json_lines, uncertain: ok}]",
        "outputs[0].uncertain is ok: reject, third or stop is allowed",
    ),
    "a log level": ("log_level: all", "log_level is all: debug, info, warning or error is allowed"),
    "no source": ("cameras: [{name: a}]", "cameras[0].source is missing: Device number, RTSP"),
    "an empty source": ('cameras: [{source: ""}]', "cameras[0].source is : text is allowed"),
    "a name": (
        "station: a b",
        "station is a b: a name of up to 64 letters, digits, -, _ and ., a letter or digit first,"
        " is allowed",
    ),
    "a long name": ("station: " + "a" * 65, "a name of up to 64 letters"),
    "a number as a name": ("station: 4", "station is 4: a name of up to 64 letters"),
    "device": ("device: gpu", "device is gpu: auto, cpu, cuda or tensorrt is allowed"),
    "threads 0": ("threads: 0", "threads is 0: a whole number from 1 to 256 is allowed"),
    "threads in words": ("threads: two", "threads is two: a whole number from 1 to 256 is allowed"),
    "threads true": ("threads: true", "threads is true: a whole number from 1 to 256 is allowed"),
    "data": ("data: [a]", 'data is ["a"]: a path is allowed'),
    "recipes": ("recipes: 3", "recipes is 3: keys with values is allowed"),
    "an unknown recipe": (
        "cameras: [{source: a, recipe: b}]\nrecipes: {c: {}}",
        'camera "camera" runs the recipe "b", there are: c',
    ),
    "outputs": ("outputs: json_lines", "outputs is json_lines: a list is allowed"),
    "an output without a kind": (
        "outputs: [{path: a}]", "outputs[0].kind is missing: json_lines, pictures or webhook is",
    ),
    "an unknown output": (
        "outputs: [{kind: mqtt}]", "outputs[0].kind is mqtt: json_lines, pictures or webhook is",
    ),
    "two outputs of a kind": (
        "outputs: [{kind: json_lines}, {kind: json_lines}]",
        "two outputs write JSON lines to standard output",
    ),
    "two outputs to a file": (
        "outputs: [{kind: json_lines, path: a}, {kind: json_lines, path: a}]",
        "two outputs write JSON lines to a",
    ),
    "two outputs of pictures": (
        "outputs: [{kind: pictures, folder: a}, {kind: pictures, folder: b}]",
        "two outputs of the kind pictures",
    ),
    "pictures nowhere": ("outputs: [{kind: pictures}]", "outputs[0].folder is missing"),
    "draw": (
        "outputs: [{kind: pictures, folder: a, draw: some}]",
        "outputs[0].draw is some: ng, all or none is allowed",
    ),
}  # fmt: skip
RECIPES = {
    "window: 1": "window is 1: a whole number from 2 to 4096 is allowed",
    "window: 3.5": "window is 3.5: a whole number from 2 to 4096 is allowed",
    "window: 64 frames": "window is 64 frames: a whole number from 2 to 4096 is allowed",
    "window: 12:30": "window is 12:30: a whole number from 2 to 4096 is allowed",
    "window: null": "window is null: a whole number from 2 to 4096 is allowed",
    "degrees: [2]": "degrees: '2': different odd numbers from 1 to 99",
    "degrees: many": "degrees: 'many': different odd numbers from 1 to 99",
    "rscin: [0]": "rscin: '0': different whole numbers from 1 to 1000",
    "threshold: 3": 'threshold: 3: "auto" or a number from 0 to 2 is expected',
    "threshold: .nan": 'threshold: nan: "auto" or a number from 0 to 2 is expected',
    "false_alarm_rate: 0": "false_alarm_rate: 0",
    "band: -1": "band is -1: a number from 0 to 2 is allowed",
    "band: .inf": "band is Infinity: a number from 0 to 2 is allowed",
    "codegraph: off": "codegraph is off: true or false is allowed",
    "codegraph: 1": "codegraph is 1: true or false is allowed",
    "matching: slow": "matching is slow: exact or fast is allowed",
    'crop: "1,2,3"': "crop: '1,2,3': a rectangle",
    'ignore: ["1,2"]': "ignore[0]: '1,2': a rectangle",
    "ignore: 5": "ignore is 5: a list is allowed",
    "align: edge": "align is edge: off, outline or pattern is allowed",
    "tiles: 9000": "tiles: '9000': rows and columns are expected",
    "smallest_defect: 12mm": "smallest_defect: '12mm': pixels are expected",
    "tiles: 2x2\n    smallest_defect: 12px": "tiles and smallest_defect exclude each other",
    "mask: gone.png": "there is no file",
    "reference: gone.zlref": "there is no file",
    "model: gone": "there is no folder of a bundle, and no bundled model",
    "settle: 0": "settle is 0: a whole number from 1 to 10000 is allowed",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_named_with_what_is_allowed(file, kind):
    text, told = BAD[kind]
    given = "" if "cameras" in text or kind == "no camera" else "cameras: [{source: a}]\n"
    found = problems(file(given + text + "\n"))
    assert any(told in problem for problem in found), found
    assert len(found) == 1


@pytest.mark.parametrize("text", RECIPES)
def test_what_is_wrong_with_a_recipe(file, text):
    given = f"cameras: [{{source: a}}]\nrecipes:\n  default:\n    {text}\n"
    (found,) = problems(file(given))
    assert RECIPES[text] in found
    line = 3 if "exclude" in found else 4
    assert found.startswith(f"{line}: recipes.default"), found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cameras:\n  - source: a\n    recipe: b\n", "5: cameras[0].recipe: camera"),
        ("cameras:\n  - source: a\n  - source: b\n", "5: cameras[1].name: two cameras"),
        (
            "cameras:\n  - {name: a, source: a}\n  - name: b\n    trigger: {mode: software}\n"
            "    source: a\n",
            "7: cameras[1].source: cameras",
        ),
        (
            "cameras:\n  - {name: a, source: a, trigger: {mode: software}}\n  - name: b\n"
            "    source: b\n    trigger: {mode: software, queue: 3}\n",
            "7: cameras[1].trigger: cameras",
        ),
        (
            "cameras:\n  - source: watch:a\n    trigger: {mode: software}\n",
            "5: cameras[0].trigger: camera",
        ),
        (
            "cameras: [{source: a}]\noutputs:\n  - kind: json_lines\n  - kind: json_lines\n",
            "6: outputs[1]: two outputs",
        ),
        (
            "cameras: [{source: a}]\noutputs:\n  - {kind: pictures, folder: a}\n"
            "  - {kind: pictures, folder: b}\n",
            "6: outputs[1]: two outputs",
        ),
        ("cameras: [{source: a}]\noutputs:\n  - path: a\n    kind: b\n", "6: outputs[0].kind is b"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_own_line(file, text, told):
    """It was told with the first line that is no comment, as a mistake of the file."""
    (found,) = problems(file(f"# a station\nstation: a\n{text}"))
    assert found.startswith(told), found


def test_all_errors_come_at_once_each_with_its_line(file):
    path = file(GOOD.replace("window: 32", "window: 1").replace("press-4", "a b") + "more: 1\n")
    assert [problem.partition(":")[0] for problem in problems(path)] == ["1", "7", "13"]
    told = zeroline("config", "check", path)
    assert told.exit_code == 1
    assert len(told.stderr.splitlines()) == 3
    ran = zeroline("run", path)
    assert ran.exit_code == 1
    assert "(and 2 more: zeroline config check shows all)" in ran.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("station: a\nstation: b\n", '2: "station" stands here again, first on line 1'),
        ("a: [1\n", "no YAML"),
        ("a: b: c\n", "no YAML"),
        ("# tab\na:\n\tb: 1\n", "3: no YAML: a tab: YAML takes spaces alone"),
        ("a:\n  b: 1\n\tc: 1\n", "a tab: YAML takes spaces alone"),
        ("---\na: 1\n---\nb: 1\n", "no YAML"),
        ("a: &x [*x]\n", "it holds itself"),
        ("- 1\n", "keys with values are expected"),
        ("", "keys with values are expected"),
        ("? [a]\n: 1\n", "a key is a word"),
        ("a: !!python/object:os.system 1\n", "no YAML"),
    ],
)
def test_what_is_no_file_of_a_station(file, text, told):
    with pytest.raises(InputError, match=re.escape(told)):
        read_station(file(text))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_station(tmp_path / "gone.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"station: \xff\n")
    with pytest.raises(InputError, match="no UTF-8 text"):
        read_station(tmp_path / "bytes.yaml")


def test_words_are_those_of_yaml_1_2():
    text = "a: off\nb: no\nc: 12:30\nd: 010\ne: 1e-3\nf: ~\ng: true\nh: 1_000\ni: 2026-11-30\n"
    values = read_yaml(text, name="x").values
    assert values == {
        "a": "off", "b": "no", "c": "12:30", "d": 10, "e": 0.001, "f": None, "g": True,
        "h": "1_000", "i": "2026-11-30",
    }  # fmt: skip


def test_only_what_differs_from_the_default_recipe_is_stored(file):
    path = file(GOOD.replace("name: top", "recipe: small"))
    station = read_station(path).station
    recipe = station.recipe_of(station.cameras[0])
    assert (recipe.window, recipe.tiles, recipe.min_window) == (32, (2, 2), 16)


def test_paths_are_relative_to_the_file_and_to_the_data_folder(file, tmp_path):
    (tmp_path / "mask.png").touch()
    (tmp_path / "pictures").mkdir()
    text = GOOD.replace("window: 32", "mask: mask.png").replace("sim://parts?parts=9", "pictures")
    station = read_station(file(text), data=tmp_path / "elsewhere").station
    assert station.recipes["default"].mask == tmp_path / "mask.png"
    assert station.cameras[0].source == str(tmp_path / "pictures")
    assert [vars(output)["path"] for output in station.outputs] == [
        tmp_path / "elsewhere" / "verdicts.jsonl"
    ]
    assert read_station(file(text)).station.data == tmp_path / "data"


def test_the_command_line_goes_before_the_file(file):
    changes = ["recipes.default.window=8", "cameras.0.name=left", "recipes.default.rscin=off"]
    found = read_station(file(), changes=changes)
    recipe = found.station.recipe_of(found.station.cameras[0])
    assert (recipe.window, recipe.rscin, found.station.cameras[0].name) == (8, (), "left")
    lines = {line.split(":")[0].strip(" -"): line.partition("#")[2] for line in effective(found)}
    assert lines["window"] == lines["rscin"] == " the command line"
    assert lines["source"] == " line 4"
    assert lines["min_window"] == " default"
    (told,) = problems(file(), changes=["recipes.default.window=1"])
    assert told == (
        "the command line: recipes.default.window is 1: a whole number from 2 to 4096 is allowed"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("window", "KEY=VALUE is expected"),
        ("=1", "KEY=VALUE is expected"),
        ("cameras.3.name=a", "there is no 3 in the list"),
        ("station.x=1", "there is no such key"),
        ("station.x.y=1", '"x" has no keys'),
        ("a=[1", "no YAML"),
    ],
)
def test_a_change_that_cannot_be(file, change, told):
    with pytest.raises(InputError, match=re.escape(told)):
        read_station(file(), changes=[change])


SOURCE = "rtsp://admin:${CAMERA_PASSWORD}@10.0.0.7/1?token=${file:token.txt}"


def test_secrets_come_from_the_environment_and_files_and_are_shown_nowhere(
    file, tmp_path, monkeypatch
):
    monkeypatch.setenv("CAMERA_PASSWORD", "s3cret")
    (tmp_path / "token.txt").write_text("t0ken\nmore\n")
    path = file(GOOD.replace("sim://parts?parts=9", SOURCE))
    source = read_station(path).station.cameras[0].source
    assert source == "rtsp://admin:s3cret@10.0.0.7/1?token=t0ken"
    shown = zeroline("config", "show", path)
    assert shown.exit_code == 0, shown.output
    assert "rtsp://…@10.0.0.7/1?token=…" in shown.stdout
    wrong = zeroline("config", "check", path, "--set", "recipes.default.window=1")
    for text in (shown.output, wrong.output):
        assert "s3cret" not in text
        assert "t0ken" not in text


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("rtsp://a:${NOT_SET_ANYWHERE}@b/", 'the environment has no variable "NOT_SET_ANYWHERE"'),
        ("rtsp://a:${file:gone.txt}@b/", 'secret file "gone.txt": No such file or directory'),
        ("http://b/${HOME}/1", "a secret stands where it would be shown"),
    ],
)
def test_a_secret_that_is_not_there_or_would_be_shown(file, source, told):
    (found,) = problems(file(GOOD.replace("sim://parts?parts=9", source)))
    assert found.startswith("4: cameras[0].source is ")
    assert told in found


def test_the_schema_describes_every_setting():
    schema = json.loads(zeroline("config", "schema").stdout)
    assert schema == json.loads(json.dumps(station_schema()))
    for group in [schema, *schema["$defs"].values()]:
        for key, setting in group["properties"].items():
            told = {"title", "description"} <= set(setting) or "$ref" in setting  # of a group
            assert told or key == "kind", key
            assert "description" in setting or key == "kind", key
    window = schema_at(("recipes", "any", "window"))
    assert window is not None
    assert window["minimum"] == 2
    assert schema_at(("cameras", 0, "nothing")) is None


def lines_of(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    ours = {"run", "time", "monotonic", "latency_ms", "source_address", "picture", "pictures"}
    return [{key: line[key] for key in line if key not in ours} for line in lines]


def test_a_file_runs_as_the_options_do(file, tmp_path, image_folder, bundle_folder):
    """The same code: the same verdicts, scores and lines."""
    path = file(f"""\
        cameras: [{{source: "{image_folder}"}}]
        recipes:
          default: {{model: "{bundle_folder}", min_window: 4, window: 8, matching: exact}}
        outputs:
          - {{kind: json_lines, path: verdicts.jsonl}}
          - {{kind: pictures, folder: overlays}}
        page: {{listen: "off"}}
        """)
    done = zeroline("run", path)
    assert done.exit_code == 0, done.output
    assert 'the recipe "default" has no reference set' in done.stderr
    by_options = tmp_path / "options.jsonl"
    other = zeroline(
        "run", "--source", image_folder, "--model", bundle_folder, "--min-window", 4, "--window", 8,
        "--matching", "exact", "--verdicts", by_options, "--overlays", tmp_path / "overlays",
    )  # fmt: skip
    assert other.exit_code == 0, other.output
    wanted, found = lines_of(by_options), lines_of(tmp_path / "data" / "verdicts.jsonl")
    assert [found[0]["event"], found[-1]["event"]] == ["station.start", "station.stop"]
    found = found[1:-1]
    assert len(found) > 5
    assert [(line.get("verdict"), line.get("score")) for line in found] == [
        (line.get("verdict"), line.get("score")) for line in wanted
    ]
    pictures = [len(list(folder.iterdir())) for folder in (
        tmp_path / "data" / "overlays", tmp_path / "overlays"
    )]  # fmt: skip
    assert pictures[0] == pictures[1] > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--window", "32"], "with a file only --set and --data are allowed, not --window"),
        (["--source", "a"], "with a file only --set and --data are allowed, not --source"),
        (["--show"], "with a file only --set and --data are allowed, not --show"),
    ],
)
def test_beside_a_file_other_options_are_refused(file, words, told):
    done = zeroline("run", file(), *words)
    assert (done.exit_code, done.stderr) == (2, f"Error: {told}\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--source is missing, or the file of a station"),
        (["--source", "a", "--set", "a=b"], "--set and --data have no meaning without a file"),
        (["--source", "a", "--data", "b"], "--set and --data have no meaning without a file"),
    ],
)
def test_without_a_file(words, told):
    done = zeroline("run", *words)
    assert (done.exit_code, done.stderr) == (2, f"Error: {told}\n")


def test_no_model_of_the_program_is_left_out_of_the_page():
    assert "zeroline config init" in (ROOT / "docs" / "cli.md").read_text()


def test_recipes_may_lie_in_a_folder_one_in_each_file(file, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "default.yaml").write_text("window: 32\n")
    (tmp_path / "recipes" / "bracket-a.yaml").write_text("# none\nreference: a.npz\n")
    (tmp_path / "recipes" / "plain.yaml").write_text("")
    (tmp_path / "recipes" / "a.npz").write_bytes(b"")
    path = file("cameras: [{source: sim://parts, recipe: bracket-a}]\nrecipes: recipes/\n")
    found = read_station(path)
    assert sorted(found.station.recipes) == ["bracket-a", "default", "plain"]
    recipe = found.station.recipe("bracket-a")
    assert (recipe.window, recipe.reference) == (32, tmp_path / "recipes" / "a.npz")
    shown = [line.strip() for line in effective(found)]
    assert any(line.startswith("window: 32") and "default.yaml, line 1" in line for line in shown)
    assert any(line.startswith("reference: a.npz") for line in shown)
    by_command = read_station(path, changes=["recipes.default.window=16"])
    assert by_command.station.recipe("bracket-a").window == 16


def test_what_is_wrong_in_a_recipes_file_is_named_with_that_file(file, tmp_path):
    (tmp_path / "recipes").mkdir()
    bad = tmp_path / "recipes" / "bad.yaml"
    bad.write_text("model: tiny\nwindw: 32\nband: 3\n")
    path = file("cameras: [{source: sim://parts}]\nrecipes: recipes\n")
    assert problems(path) == [
        f'{bad}:2: recipes.bad.windw is no setting: did you mean "window"?',
        f"{bad}:3: recipes.bad.band is 3: a number from 0 to 2 is allowed",
    ]
    with pytest.raises(InputError, match='recipes "nothing": there is no folder of that name'):
        read_station(file("cameras: [{source: sim://parts}]\nrecipes: nothing\n"))


def test_a_webhooks_secrets_are_taken_and_not_shown(file, monkeypatch):
    monkeypatch.setenv("HOOK_PASSWORD", "tell-nobody")
    path = file(
        "cameras: [{source: sim://parts}]\n"
        "outputs: [{kind: webhook, url: 'https://me:${HOOK_PASSWORD}@mes/x', secret_file: k}]\n"
    )
    found = read_station(path)
    (output,) = found.station.outputs
    assert output.kind == "webhook"
    assert output.url == "https://me:tell-nobody@mes/x"
    assert output.secret_file == path.parent / "k"
    assert "tell-nobody" not in "\n".join(effective(found))
    monkeypatch.delenv("HOOK_PASSWORD")
    assert any('the environment has no variable "HOOK_PASSWORD"' in line for line in problems(path))


def test_variables_that_the_environment_lacks_come_from_the_file_beside_it(file, monkeypatch):
    """config check and doctor found no variable that the service has."""
    path = file(
        GOOD.replace("sim://parts?parts=9", "rtsp://a:${CAMERA_PASSWORD}@b/1?key=${GATE}")
        .replace("kind: json_lines\n    path: verdicts.jsonl",
                 "kind: webhook\n    url: http://a\n    secret_env: HOOK")
    )  # fmt: skip
    for name in ("CAMERA_PASSWORD", "HOOK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GATE", "of-the-environment")
    beside = path.with_suffix(".env")
    beside.write_text("# ours\nCAMERA_PASSWORD='s3 cret'\nGATE=of-the-file\nHOOK=\"h00k\"\n")
    found = read_station(path)
    assert found.station.cameras[0].source == "rtsp://a:s3 cret@b/1?key=of-the-environment"
    assert found.variables == {"CAMERA_PASSWORD": "s3 cret", "HOOK": "h00k"}
    assert zeroline("config", "check", path).exit_code == 0
    wrong = zeroline("config", "check", path, "--set", "recipes.default.window=1").output
    shown = zeroline("config", "show", path).output
    for text in (repr(found), wrong, shown):
        assert "h00k" not in text
    assert "s3 cret" not in wrong + shown
    beside.write_text("CAMERA_PASSWORD=1\n")
    told = zeroline("state", "--station", path).output  # it asks for an address alone
    assert "HOOK" not in told
    assert [line.partition(": ")[2] for line in problems(path)] == [
        f'outputs[0].secret_env is HOOK: the environment has no such variable, nor has "{beside}"'
    ]


@pytest.fixture
def open_folder():
    """A folder that every user may read; the test ends as the user that began it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        os.seteuid(os.getuid())


def test_a_file_of_variables_that_may_not_be_read_is_named(open_folder, monkeypatch):
    monkeypatch.delenv("CAMERA_PASSWORD", raising=False)
    as_root = os.getuid() == 0
    path = open_folder / "press-6.yaml"
    path.write_text("cameras: [{source: 'rtsp://a:${CAMERA_PASSWORD}@b/'}]\n")
    path.with_suffix(".env").write_text("CAMERA_PASSWORD=s3cret\n")
    path.with_suffix(".env").chmod(0o600 if as_root else 0)
    if as_root:
        os.seteuid(65534)
    (told,) = problems(path)
    who = "may be read by root alone" if as_root else "may not be read by this user"
    assert told.endswith(f'no variable "CAMERA_PASSWORD", and "{path.with_suffix(".env")}" {who}')
    monkeypatch.setenv("CAMERA_PASSWORD", "of-systemd")  # the service reads no file
    assert read_station(path).station.cameras[0].source == "rtsp://a:of-systemd@b/"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b c  ", "b c"),
        ("  A =  b", "b"),
        ("A=a#b ;c", "a#b ;c"),
        ("A='a \"b\" \\n c'", 'a "b" \\n c'),
        ('A="a \'b\' \\" \\\\ \\n"', "a 'b' \" \\ \\n"),
        ("A='a'\"b\"c", "abc"),
        ("A=ab'c\"d", "ab'c\"d"),
        ("A=a\\bc\\\\d", "abc\\d"),
        ("A=", ""),
        ("A=a=b", "a=b"),
        ("#A=1", None),
        (" ;A=1", None),
        ("export A=1", None),
        ("A=goes on\\", None),
        ("A='goes on", None),
    ],
)
def test_variables_are_read_as_systemd_does(line, value):
    """Compared once with what systemd's reader of environment.d makes of the same lines."""
    assert parsed(f"{line}\nB=2\n").get("A") == value
    assert parsed(f"{line}\nB=2\n")["B"] == "2"


def test_a_webhooks_secret_that_is_missing_is_an_error_of_the_file(file, monkeypatch):
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    path = file(
        "cameras: [{source: sim://parts}]\n"
        "outputs:\n  - kind: webhook\n    url: http://a\n    secret_env: NO_SUCH_SECRET\n"
    )
    assert problems(path) == [
        "5: outputs[0].secret_env is NO_SUCH_SECRET: the environment has no such variable"
    ]


def test_text_that_looks_like_a_number_is_shown_as_text(file):
    path = file('cameras: [{source: sim://parts}]\ndeadline_ms: "500"\n')
    assert problems(path) == ['2: deadline_ms is "500": a number from 10 to 600000 is allowed']


def test_what_another_machine_needs_is_packed(file, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "bundle").mkdir()
    for name in ("good.npz", "mask.png", "recipes/a.npz", "key", "bundle/model.onnx"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "recipes" / "default.yaml").write_text(
        "reference: ../good.npz\nmask: ../mask.png\n"
    )
    (tmp_path / "recipes" / "other.yaml").write_text("model: ../bundle\nreference: a.npz\n")
    path = file(
        """\
        cameras: [{source: "rtsp://me:${CAMERA_PASSWORD}@cam/1"}]
        recipes: recipes
        outputs:
          - {kind: webhook, url: "https://me:${file:key}@mes/x", secret_env: NO_SUCH_SECRET}
        """
    )
    pack = tmp_path / "config.tar"
    done = zeroline("config", "pack", path, pack)
    assert done.exit_code == 0, done.output
    names = (
        "bundle", "good.npz", "mask.png", "recipes/a.npz", "recipes/default.yaml",
        "recipes/other.yaml", "station.yaml",
    )  # fmt: skip
    assert sorted(done.stdout.splitlines()) == [str(tmp_path / name) for name in names]
    with tarfile.open(pack) as archive:
        packed = {f"/{member.name}" for member in archive if member.isfile()}
    assert packed == {
        *(str(tmp_path / name) for name in names if name != "bundle"),
        str(tmp_path / "bundle" / "model.onnx"),
    }
    assert done.stderr.splitlines() == [
        f"note: {secret} is a secret, and is not in it"
        for secret in (
            "the variable CAMERA_PASSWORD",
            'the file "key"',
            "the variable NO_SUCH_SECRET",
        )
    ]


def test_a_pack_is_whole_or_not_there(file, tmp_path):
    (tmp_path / "good.npz").symlink_to(tmp_path / "far")
    (tmp_path / "far").write_bytes(b"set")
    text = "cameras: [{source: sim://parts}]\nrecipes: {default: {reference: good.npz}}\n"
    path, pack = file(text), tmp_path / "config.tar"
    assert zeroline("config", "pack", path, pack).exit_code == 0
    with tarfile.open(pack) as archive:
        kept = archive.extractfile(str(tmp_path / "good.npz").lstrip("/"))
        assert kept is not None
        assert kept.read() == b"set"  # what the link leads to
    before = pack.read_bytes()
    done = zeroline("config", "pack", path, pack)
    assert (done.exit_code, "exists already" in done.stderr) == (1, True)
    done = zeroline("config", "pack", tmp_path / "staton.yaml", tmp_path / "other.tar")
    assert done.exit_code == 1
    assert "staton.yaml" in done.stderr
    assert not (tmp_path / "other.tar").exists()
    assert pack.read_bytes() == before
