"""Compile the C core without Python, strictly and under sanitizers; run its checks and its fuzzer.

``make check-c`` does the same with valgrind, ``make fuzz`` for longer.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "simulators" / "kinetics"
BINDING = ["binding.h", *sorted(path.name for path in CORE.glob("module*.[ch]"))]
CC = shutil.which("cc")
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-Wno-psabi"]
OPTIMISED = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
SANITIZED = [
    "-O1",
    "-g1",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
]
FUZZ_INPUTS = 600
DRIVER = Path(__file__).with_name("fuzz_kinetics.c")

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler")


def run(command: list[str], folder: Path) -> str:
    """Run a command that must succeed; returns what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=[OPTIMISED, SANITIZED], ids=["optimised", "sanitized"])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Build":
    return Build(request.param, tmp_path_factory.mktemp("core"))


class Build:
    """The objects of the core, compiled with some flags."""

    def __init__(self, flags: list[str], folder: Path) -> None:
        assert CC is not None
        self.sanitized = flags is SANITIZED
        self.compiling = [CC, *WARNINGS, *flags, f"-I{CORE}"]
        self.folder = folder
        sources = [path for path in sorted(CORE.glob("*.c")) if path.name not in BINDING]
        run([*self.compiling, "-c", *map(str, sources)], folder)
        self.objects = [str(folder / f"{source.stem}.o") for source in sources]

    def link(self, main: Path, *options: str) -> str:
        """Make a program of the core and this file; returns its path."""
        program = str(self.folder / main.stem)
        libraries = ["-lm", "-lpthread", "-o", program]
        run([*self.compiling, *options, str(main), *self.objects, *libraries], self.folder)
        return program


def test_core_passes_its_own_checks(build: Build) -> None:
    for checks in sorted(Path(__file__).parent.glob("check_*.c")):
        assert run([build.link(checks)], build.folder) == "0 failed\n", checks.name


def test_core_withstands_random_requests(build: Build) -> None:
    """Seeds that are always the same; a failure names the one to run again."""
    program = build.link(DRIVER, "-DFUZZ_DRIVER")
    inputs = FUZZ_INPUTS if build.sanitized else FUZZ_INPUTS // 2
    assert run([program, "-n", str(inputs)], build.folder).startswith(f"{inputs} inputs")


def test_core_is_free_of_python() -> None:
    faces = ("<Python.h>", '"binding.h"', '"module')
    texts = {path.name: path.read_text("utf-8") for path in CORE.iterdir()}
    including = {name for name, text in texts.items() if any(face in text for face in faces)}
    assert "module.c" in including
    assert including <= set(BINDING)
