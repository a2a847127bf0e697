"""The command, as a user types it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROUTES = {"plain", "folded", "streamed", "cudnn", "pallas"}


def inspect(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "perceiver_jax.inspect", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def fails(*arguments):
    """The message of a mistake: on one screen, without a traceback, with exit code 2."""
    result = inspect(*arguments)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr and not result.stdout
    assert len(result.stderr.splitlines()) < 25
    return result.stderr


@pytest.mark.core
def test_a_model_of_the_zoo():
    result = inspect("--model=imagenet_conv")
    assert result.returncode == 0, result.stderr
    lines = [re.split(r"\s{2,}", line) for line in result.stdout.splitlines()]
    assert "48,646,522 parameters, and 258 values of state" in result.stdout
    tower = "perceiver_encoder/~/self_attention_{0..5}/mlp/linear"
    assert [tower, "w", "1024 x 1024", "6", "6,291,456"] in lines
    assert ["input elements", "3,136 x 322", "M x C"] in lines
    assert ["latents", "512 x 1,024", "N x D"] in lines
    assert ["output queries", "1 x 1,024", "O x E"] in lines
    assert ["output outputs", "1,000"] in lines
    # 7 x 7 x 3 -> 64 at stride 2.
    stem = 2 * 112 * 112 * 64 * 7 * 7 * 3
    assert ["preprocessor", f"{stem:,}", "0", f"{stem:,}", "236.0M", "0.1 %"] in lines
    # The table's rows are all of the parameters and of the state.
    rows = [line for line in lines if len(line) >= 5 and line[3].isdigit()]
    assert sum(int(line[4].replace(",", "")) for line in rows) == 48_646_522 + 258
    assert "\nRoutes of the attentions here, forward, one example\n" in result.stdout
    (tower,) = [line for line in lines if line[0] == "perceiver_encoder/~/self_attention/attention"]
    assert tower[1] == "512 x 512, 8 heads" and tower[2] in ROUTES
    assert tower[3:] == ["5.4B", "5.4B", "8.0 MiB"]
    assert ", not\n" not in result.stdout  # No reasons unless asked for.


def test_overrides_and_json():
    changes = ("--config.encoder.num_latents=128", "--config.decoder.num_classes=10")
    result = inspect("--model=imagenet_fourier", "--json", *changes)
    anatomy = json.loads(result.stdout)
    assert anatomy["latents"] == [128, 1024] and anatomy["outputs"] == {"outputs": [10]}
    assert anatomy["num_params"] == 48_440_627 - 384 * 1024 - 990 * 1025
    parts = {part: each["total"] for part, each in anatomy["flops"].items()}
    assert parts.pop("total") == sum(parts.values())
    assert anatomy["attentions"]["self-attends"]["calls"] == 48
    inputs, tower, outputs = anatomy["routes"]
    assert inputs["module"] == "perceiver_encoder/~/cross_attention/attention"
    assert inputs["weights_bytes"] == 4 * 128 * 50_176
    assert inputs["flops"] <= inputs["projected_flops"]
    for each in (inputs, tower, outputs):
        assert {each["route"], *each["declined"]} == ROUTES


def test_the_config_names_the_route_of_attentions():
    # So many weights that no rule leaves them to 'plain'.
    result = inspect("--model=imagenet_fourier", "--routes", "--config.attention=streamed")
    assert result.returncode == 0, result.stderr
    _, reasons = result.stdout.split("\nRoutes of the attentions here")
    inputs = "perceiver_encoder/~/cross_attention/attention"
    rows = [re.split(r"\s{2,}", line) for line in reasons.splitlines()]
    (row,) = [row for row in rows if row[0] == inputs]
    assert row[1:3] == ["512 x 50,176, 1 head", "streamed"] and row[3] == row[4]
    below = reasons[reasons.index(f"{inputs}: streamed, not") :].split("\n\n")[0].splitlines()
    assert "  folded: attention=streamed was asked for" in below
    assert {line.split(":")[0].strip() for line in below[1:]} == ROUTES - {"streamed"}


def test_all_shows_every_block():
    text = inspect("--model=perceiver_table5_4_cross_attends", "--all").stdout
    assert "cross_attention_3/mlp/linear_1" in text and "{" not in text
    assert "12,654,868 parameters" in text


def test_the_model_of_an_experiment(tmp_path):
    (tmp_path / "tiny.py").write_text(
        "import dataclasses\n"
        "from perceiver_jax.config import load_experiment\n"
        f"EXPERIMENT = load_experiment({str(ROOT / 'experiments' / 'digits.py')!r})\n"
        "VARIANTS = {'usual': lambda: EXPERIMENT, 'other': lambda: EXPERIMENT}\n"
    )
    arguments = (f"--config={tmp_path / 'tiny.py'}:other", "--json")
    usual = json.loads(inspect(*arguments).stdout)
    fewer = json.loads(inspect(*arguments, "--config.model.encoder.num_latents=7").stdout)
    assert fewer["latents"][0] == 7 and usual["latents"][1] == fewer["latents"][1]
    gone = usual["latents"][0] - 7
    assert usual["num_params"] - fewer["num_params"] == gone * usual["latents"][1]


def test_mistakes_are_answered():
    assert "--paper_tables" in fails()
    message = fails("--model=imagenet_forier")
    assert "imagenet_fourier" in message and "imagenet_forier" in message
    assert "num_latents" in fails("--model=mlm", "--config.encoder.num_latent=3")
    assert "expects int" in fails("--model=mlm", "--config.encoder.num_latents=many")
    assert "not both" in fails("--model=mlm", "--list")
    assert "--list has none" in fails("--list", "--config.encoder.num_latents=3")
    assert "nowhere.py" in fails("--config=experiments/nowhere.py")
    assert "--list does not go with it" in fails("--list", "--routes")
    assert "'mlm'" in fails("mlm")
    # Widths that only meet inside the model.
    message = fails("--model=imagenet_fourier", "--config.encoder.cross_attend_heads=7")
    assert "not divisible by num_heads=7" in message


def test_the_model_of_a_checkpoint():
    folder = ROOT / "tests/golden/hf_small/vision-perceiver-fourier"
    result = inspect(f"--checkpoint={folder}", "--json")
    assert result.returncode == 0, result.stderr
    assert "a Hugging Face checkpoint" in result.stderr
    assert json.loads(result.stdout)["num_params"] == 176_725
    tiny = ROOT / "tests/golden/pickles/imagenet_fourier_position_encoding.tiny.pystate"
    assert "arrays do not tell encoder.num_blocks" in fails(f"--checkpoint={tiny}")
    assert "--checkpoint and --list, not both" in fails(f"--checkpoint={tiny}", "--list")


def test_a_sheet_of_the_first_batch(tmp_path):
    config = f"--config={ROOT / 'experiments' / 'digits.py'}"
    out = tmp_path / "out.png"
    result = inspect(config, f"--show_batch={out}", "--config.task.mixing=MixConfig")
    assert result.returncode == 0, result.stderr
    assert "digits_fourier: 32 of 32 examples of the first training batch, each made of 2" in (
        result.stdout
    )
    assert f"written     {out}" in result.stdout
    assert out.read_bytes().startswith(b"\x89PNG") and [*tmp_path.iterdir()] == [out]
    assert "name of a PNG file" in fails(config, "--show_batch=out.jpg")
    assert "does not exist" in fails(config, f"--show_batch={tmp_path / 'no' / 'out.png'}")
    assert "has no method picture" in fails(
        "--config=experiments/dry_run.py", f"--show_batch={out}"
    )
    assert "goes with --config." in fails("--model=mlm", f"--show_batch={out}")
    assert "goes with --config, without --json" in fails(config, f"--show_batch={out}", "--json")
