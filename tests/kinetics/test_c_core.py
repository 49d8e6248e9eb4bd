"""Compile the C core without Python, strictly and under sanitizers, and run its own checks."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "simulators" / "kinetics"
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
    binary = tmp_path / "check"
    sources = [path for path in sorted(CORE.glob("*.c")) if path.name != "module.c"]
    sources.append(Path(__file__).with_name("check_kinetics.c"))
    command = [CC, *WARNINGS, *flags, f"-I{CORE}", *map(str, sources), "-lm", "-lpthread", "-o", str(binary)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    result = subprocess.run([str(binary)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == "0 failed\n"


def test_core_is_free_of_python() -> None:
    including = [path.name for path in CORE.iterdir() if "Python.h" in path.read_text("utf-8")]
    assert including == ["module.c"]
