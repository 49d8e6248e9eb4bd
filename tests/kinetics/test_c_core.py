"""Compile the C core without Python, strictly and under sanitizers, and run its own checks."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "simulators" / "kinetics"
BINDING = ["binding.h", *sorted(path.name for path in CORE.glob("module*.[ch]"))]
CC = shutil.which("cc")
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-Wno-psabi"]
NUMERICS = ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]


@pytest.mark.skipif(CC is None, reason="no C compiler")
@pytest.mark.parametrize(
    "flags",
    [
        ["-O3", *NUMERICS],
        ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    ],
    ids=["optimised", "sanitized"],
)
def test_core_passes_its_own_checks(tmp_path: Path, flags: list[str]) -> None:
    assert CC is not None
    sources = [path for path in sorted(CORE.glob("*.c")) if path.name not in BINDING]
    compiling = [CC, *WARNINGS, *flags, f"-I{CORE}"]
    run([*compiling, "-c", *map(str, sources)], tmp_path)
    objects = [str(tmp_path / f"{source.stem}.o") for source in sources]
    for checks in sorted(Path(__file__).parent.glob("check_*.c")):
        binary = str(tmp_path / checks.stem)
        run([*compiling, str(checks), *objects, "-lm", "-lpthread", "-o", binary], tmp_path)
        assert run([binary], tmp_path) == "0 failed\n", checks.name


def run(command: list[str], folder: Path) -> str:
    """Run a command that must succeed; returns what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_core_is_free_of_python() -> None:
    faces = ("<Python.h>", '"binding.h"', '"module')
    texts = {path.name: path.read_text("utf-8") for path in CORE.iterdir()}
    including = {name for name, text in texts.items() if any(face in text for face in faces)}
    assert "module.c" in including
    assert including <= set(BINDING)
