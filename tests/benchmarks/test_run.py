"""The commands, from their command lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def command(
    module: str, *arguments: str, paths: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT)))}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_ours_and_plain_and_a_peer_that_is_not_installed(tmp_path: Path) -> None:
    # Wherever PyTorch is installed, it is not for this test.
    (tmp_path / "torch.py").write_text("raise ImportError('not here')\n")
    out = tmp_path / "rows.json"
    done = command(
        "benchmarks.run",
        "--models=imagenet_fourier",
        "--modes=forward",
        "--peers=plain,perceiver_io",
        "--repeats=2",
        f"--json={out}",
        f"--plot={tmp_path / 'ratios.svg'}",
        "--config.preprocessor.shape=6,6",
        "--config.encoder.latent_channels=16",
        paths=(tmp_path,),
    )
    assert done.returncode == 0, done.stderr
    ours, plain, peer = json.loads(out.read_text())
    assert [row["contender"] for row in (ours, plain, peer)] == ["ours", "plain", "perceiver_io"]
    for row in (ours, plain):
        assert row["error"] is None and len(row["run_s_all"]) == 2
        assert row["gflop_per_s"] == pytest.approx(row["gflop"] / row["run_s"])
        assert row["matmul_gflop_per_s"] > 0
        assert row["peak_bytes"] > 0.9 * row["weights_bytes"] > 0.9 * row["import_bytes"] > 0
    assert ours["gflop"] == plain["gflop"] == peer["gflop"]
    assert peer["run_s"] is None and "benchmarks/requirements.txt" in peer["error"]
    assert "imagenet_fourier forward 1 perceiver_io: not measured: torch" in done.stdout
    assert (tmp_path / "ratios.svg").exists()


@pytest.mark.parametrize(
    ("module", "flag", "words"),
    [
        ("run", "--modes=backward", "the modes are forward, train"),
        ("run", "--peers=nobody", "the peers are plain, huggingface"),
        ("run", "--batches=0", "whole numbers"),
        ("scaling", "--axis=depth", "the axes are inputs, outputs, batch, latents"),
        ("scaling", "--contenders=huggingface", "among ours, plain"),
        ("operations", "--modes=backward", "the modes are forward, train"),
    ],
)
def test_mistakes_in_flags(module: str, flag: str, words: str) -> None:
    done = command(f"benchmarks.{module}", flag)
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["run", "scaling", "operations"])
def test_help_tells_what_is_measured_and_lists_all_flags(module: str) -> None:
    done = command(f"benchmarks.{module}", "--help")
    assert f"python -m benchmarks.{module}" in done.stdout
    flags = ["--modes:", "--json:", "--[no]markdown:"]
    flags += [] if module == "operations" else ["--repeats:", "--limit:", "--memory:", "--plot:"]
    assert [flag for flag in flags if flag not in done.stdout] == []


def test_a_model_that_is_not_there() -> None:
    done = command("benchmarks.run", "--models=nothing", "--peers=")
    assert done.returncode == 2
    assert "there is no model named 'nothing'" in done.stderr and "Traceback" not in done.stderr
