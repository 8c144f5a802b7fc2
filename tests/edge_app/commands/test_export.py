"""The commands of `zeroline export`: wrong usage is one line; an ONNX file becomes a bundle."""

import json

import pytest
from click.testing import CliRunner

from zeroline.edge_app.cli import main

COMMANDS = ("backbone", "engine", "onnx", "precision")
ONNX = ("onnx", "f", "--output", "o", "--size", 64, "--mean", "0,0,0", "--std", "1,1,1")


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_help_of_the_group_and_of_each_command():
    group = zeroline("export", "--help")
    assert group.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in group.output
        done = zeroline("export", command, "-h")
        assert done.exit_code == 0
        assert f"zeroline export {command} [OPTIONS]" in done.output.replace("main", "zeroline")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["--backbone", "ViT-S-32"], "No such option '--backbone'"),
        (["backbone", "--output", "o"], "Missing argument 'NAME'"),
        (["backbone", "ViT-S-32"], "Missing option '--output'"),
        (["backbone", "ViT-S-32", "--output", "o"], "--pretrained TAG|none or --checkpoint FILE"),
        (["backbone", "ViT-S-32", "--output", "o", "--mean", "0,0,0"], "No such option '--mean'"),
        (
            ["backbone", "ViT-S-32", "--output", "o", "--layers", "a"],
            "'a': different whole numbers",
        ),
        (["onnx", "f", "--output", "o"], "Missing option '--size'"),
        ([*ONNX, "--precision", "fp16"], "No such option '--precision'"),
        ([*ONNX, "--mean", "0.5"], "'0.5': three numbers with commas are expected"),
        (["precision", "tiny", "--output", "o"], "Missing option '--precision'"),
        (["precision", "tiny", "--output", "o", "--precision", "fp32"], "'fp32' is not one of"),
        (["precision", "tiny", "--output", "o", "--size", 64], "No such option '--size'"),
        (["engine", "tiny", "--output", "o"], "No such option '--output'"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message):
    done = zeroline("export", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output.splitlines()) == 1


def test_export_wraps_and_refuses(own_bundle, tmp_path):
    numbers = ["--size", 64, "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]
    source = own_bundle / "model.onnx"
    arguments = ["export", "onnx", source, *numbers, "--output", tmp_path / "new"]
    outcome = zeroline(*arguments, "--rscin", "off", "--licence", "Apache-2.0")
    assert outcome.exit_code == 0, outcome.output
    assert 'bundle "new"' in outcome.output
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert manifest["defaults"]["rscin"] == []
    assert manifest["source"]["licence"] == "Apache-2.0"
    outcome = zeroline(*arguments)
    assert outcome.exit_code == 1
    assert "exists and is not an empty folder" in outcome.output
    outcome = zeroline("export", "onnx", source, "--size", 64, "--mean", "0.5", "--std", "1,1,1",
                       "--output", tmp_path / "b")  # fmt: skip
    assert outcome.exit_code == 2
    numbers[-1] = "0,0,0"
    refused = zeroline("export", "onnx", source, *numbers, "--output", tmp_path / "b")
    assert refused.exit_code == 1
    assert (
        "std: all three values must be over 0, 0.000001 at least (is (0.0, 0.0, 0.0))"
        in refused.output
    )
    refused = zeroline("export", "onnx", own_bundle, *numbers, "--output", tmp_path / "b")
    assert "is not a file" in refused.output
    (tmp_path / "file").write_text("x")
    numbers[-1] = "1,1,1"
    refused = zeroline("export", "onnx", source, *numbers, "--output", tmp_path / "file" / "b")
    assert "cannot be written" in refused.output
    assert "'0.5': three numbers with commas" in outcome.output
