"""The documentation: what it says is so, and it says it in short sentences."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from support.machine import ROOT
from support.messages import (
    RUN,
    alarm_message,
    event_message,
    part_message,
    part_of,
    revision_message,
    view_of,
)
from zeroline.edge_app.batch.kept import KeptScores, write_scores
from zeroline.edge_app.batch.recurring import SetDefect
from zeroline.edge_app.batch.sets import ScoredSet
from zeroline.edge_app.bodies import part_body
from zeroline.edge_app.cli import main
from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.images import RESULTS_HEADER, ImageFile
from zeroline.edge_app.outputs.json_lines import JsonLines
from zeroline.runtime import RecurringDefect, Revision, Verdict
from zeroline.runtime.results import Reason

DOCS = ROOT / "docs"
#: Most words a sentence, in the mean.
SHORT = 13
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *(page for page in sorted(DOCS.glob("*.md")) if page.name != "cli.md"),
    *(ROOT / folder / "README.md" for folder in (
        "runtime", "runtime/models/tiny", "edge_app", "edge_app/sim", "export", "benchmarks",
        "docker", "docs/pictures",
    )),
]  # fmt: skip
#: Wordplay that a reader of a second language has to look up.
METAPHORS = re.compile(
    r"\b(vouch\w*|poison\w*|drown\w*|strangers?|heart|twins?|in its own crowd)\b", re.IGNORECASE
)


def prose(text: str) -> Iterator[str]:
    """Yield paragraphs and list items; code blocks, tables, headings and pictures are left out."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^ *```.*?^ *```", "\n", text, flags=re.S | re.M)
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        item = re.match(r"\s*(?:[-*]|\d+\.)\s+(.*)", line)
        if not line.strip() or item or line.lstrip().startswith(("|", "#", "![")):
            if block:
                yield re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", " ".join(block))
            block = [item[1]] if item else []
        else:
            block.append(line.strip())


def sentences(text: str) -> list[int]:
    """Return the number of words of each sentence."""
    ends = re.compile(r"(?<=[.!?])[)*]*\s+")
    parts = [part for block in prose(text) for part in ends.split(block.replace("et al.", "et al"))]
    counts = [sum(bool(re.search(r"\w", word)) for word in part.split()) for part in parts]
    return [count for count in counts if count]


def test_words_are_counted_as_people_count_them():
    text = (
        "# Not this\nOne two. Three\nfour five!\n\n- a `b c` [d e](f.md)\n\n| no |\n```\nno\n```\n"
    )
    assert sentences(text) == [2, 3, 5]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_short(page: Path) -> None:
    words = sentences(page.read_text(encoding="utf-8"))
    assert sum(words) <= SHORT * len(words), f"{sum(words) / len(words):.1f} words a sentence"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


@pytest.mark.parametrize("page", [*PAGES, DOCS / "cli.md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_words_are_plain(page: Path) -> None:
    assert METAPHORS.findall(page.read_text(encoding="utf-8")) == []


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page, as GitHub makes it from headings."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_links_to_sections_lead_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text("utf-8")):
            if not target.startswith("http"):
                there = (page.parent / target).resolve() if target else page
                assert there.suffix != ".md" or anchor in anchors(there), (
                    page.name,
                    target,
                    anchor,
                )


def test_the_page_of_commands_is_current():
    done = subprocess.run(
        [sys.executable, DOCS / "make_cli.py"], capture_output=True, text=True, check=True,
        cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.stdout == (DOCS / "cli.md").read_text(encoding="utf-8")


def test_what_fits_an_orin_nano_is_current():
    done = subprocess.run(
        [sys.executable, DOCS / "make_memory.py"], capture_output=True, text=True, check=True,
        cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.stdout.count("\n") == 2 + 9
    assert f"\n\n{done.stdout}\n" in (DOCS / "gpu.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """Return the first cells of a section's tables in docs/outputs.md."""
    text = (DOCS / "outputs.md").read_text(encoding="utf-8")
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.S | re.M)
    assert match, heading
    return re.findall(r"^\| `([^`]+)` \|", match[1], re.M)


def test_verdicts_and_reasons_are_documented():
    assert first_cells("Verdicts") == [verdict.value for verdict in Verdict]
    assert first_cells("Reasons") == [reason.value for reason in Reason]


def test_columns_of_the_table_are_documented():
    assert first_cells("scores.csv") == RESULTS_HEADER.split(",")


def test_json_lines_are_documented():
    marks = np.ones((1, 4), bool)
    revision = Revision(0, None, None, Verdict.NG, Reason.RECURRING, Verdict.OK, recurring=True)
    defect = RecurringDefect(1, True, 0, None, (0,), 0.5, marks)
    file = io.StringIO()
    output = JsonLines(file)
    for message in (
        part_message(1),
        alarm_message(2, defect),
        revision_message(3, revision),
        event_message(4, Event(EventName.CAMERA_LOST, "lost", {})),
    ):
        output.take(message)
    lines = [list(json.loads(line)) for line in file.getvalue().splitlines()]
    kinds = {keys[0]: keys for keys in lines}
    assert list(kinds) == ["frame", "alarm", "revision_of", "event"]
    assert first_cells("Part") == kinds["frame"]
    assert first_cells("Revision") == kinds["revision_of"]
    assert first_cells("Alarm") == kinds["alarm"]
    several = part_body(
        part_of(view_of(camera="a"), view_of(camera="b")), number=1, run=RUN, station="s"
    )
    assert first_cells("Cameras of a part") == list(several["cameras"][0])
    used = {
        EventName[name].value
        for path in (ROOT / "edge_app").rglob("*.py")
        for name in re.findall(r"EventName\.([A-Z_]+)", path.read_text("utf-8"))
    }
    own = len(kinds["event"])
    assert first_cells("Event")[:own] == kinds["event"]
    assert set(first_cells("Event")[own:]) == used - {EventName.RECURRING_BEGIN.value}


def test_files_of_evaluate_are_documented(tmp_path: Path) -> None:
    def run(*arguments: str) -> None:
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output

    run("sim", "--output", str(tmp_path / "line"), "--parts", "12", "--defects", "0.4")
    run("evaluate", str(tmp_path / "line"), "--output", str(tmp_path / "out"), "--threads", "1")
    for name in ("metrics.json", "verdicts.json"):
        content = json.loads((tmp_path / "out" / name).read_text())
        assert first_cells(name) == list(content["line"])
    columns = (tmp_path / "out" / "thresholds" / "line.csv").read_text().splitlines()[0].split(",")
    *fixed, by_kind = first_cells("Table of thresholds")
    assert fixed == columns[: len(fixed)]
    assert by_kind == "recall_<kind>"
    assert all(column.startswith("recall_") for column in columns[len(fixed) :])
    assert len(columns) > len(fixed)


def test_kept_scores_are_documented(tmp_path: Path) -> None:
    files = tuple(ImageFile(tmp_path / name, name) for name in "ab")
    marks, zeros = np.zeros((2, 4), bool), np.zeros(2, np.float32)
    scored = ScoredSet(
        (0, 1), files, np.zeros((2, 4), np.float32), zeros, zeros, zeros > 0,
        (SetDefect(files, marks, files, one_place=True),),
    )  # fmt: skip
    write_scores(tmp_path, KeptScores((scored,), (), "", {}, "all", 0.01, None))
    with np.load(tmp_path / "scores.npz") as content:
        assert [*content.files[:-1], "marks_<number>"] == first_cells("scores.npz")
        assert content.files[-1] == "marks_0"
        header = json.loads(content["header"].tobytes())
    assert list(header) == first_cells("Header of scores.npz")


def test_examples_in_python_run():
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text("utf-8"), re.S)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)  # noqa: S102 - our own page
    readme = (ROOT / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    names["frame"] = np.zeros((64, 64, 3), np.uint8)
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102


def test_every_name_is_on_the_page_of_python():
    import zeroline.runtime

    page = (DOCS / "python.md").read_text("utf-8")
    missing = [name for name in zeroline.runtime.__all__ if f"{name}" not in page]
    assert missing == []


def test_questions_lead_to_functions_that_are_there():
    text = (DOCS / "algorithms.md").read_text("utf-8")
    table = re.findall(r"^\| (.*\?) \| (.*) \| (.*) \|$", text.partition("## Where is")[2], re.M)
    assert len(table) >= 10
    for question, functions, modules in table:
        paths = re.findall(r"\]\(([^)]*\.py)\)", modules)
        sources = "\n".join((DOCS / path).read_text("utf-8") for path in paths)
        for name in re.findall(r"`([\w.]+)`", functions):
            for part in name.split("."):
                assert re.search(rf"(def|class) {part}\b", sources), (question, name)


def test_help_says_what_a_command_does_first():
    from test_package import commands_of  # the same walk over all commands

    for names, command in commands_of(main):
        assert isinstance(command, click.Command)
        first = (command.help or "").split("\n\n")[0]
        assert first.split()[0].istitle(), names
