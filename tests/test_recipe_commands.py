"""The small forms run as their first lines say: the commands there are typed as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="training needs the training extra")

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ROOT / "training"
PATIENCE_S = 900  # of a machine that has much else to do

#: What the commands leave. Those of `cellnet transfer` are run by test_transfer.py.
MADE = {
    "dysplasianet-selection-small": ("runs/small/report.html", "runs/small/bundle/CARD.md"),
    "unknown-drawn": ("runs/unknown-drawn/page.html",),
}


def commands(recipe: str) -> list[str]:
    text = (TRAINING / f"{recipe}.yaml").read_text("utf-8")
    return re.findall(r"^#   (cellnet .*)$", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", MADE)
def test_the_commands_in_a_small_recipe_run(recipe, tmp_path):
    (tmp_path / "training").symlink_to(TRAINING)
    program = tmp_path / "bin" / "cellnet"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom cellnet.cli import main\n"
        'if __name__ == "__main__":\n    sys.exit(main())\n'
    )
    program.chmod(0o755)
    typed = commands(recipe)
    assert typed[0].startswith("cellnet data draw")
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(typed)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if "epoch 1 of" in line]
    assert len(said) == (recipe == "unknown-drawn")  # once; runs of a study have logs of their own
    assert all(line.startswith("cellnet: ") for line in said)
    for file in MADE[recipe]:
        assert (tmp_path / file).is_file(), file
