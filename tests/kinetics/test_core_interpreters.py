"""The C core in sub-interpreters, and in every Python of this machine that can load it.

The extension needs neither NumPy nor the package, so it is loaded alone, by its path.  A run gives
the same bytes wherever it is made.
"""

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.simulators import _kinetics

EXTENSION = Path(_kinetics.__file__)
ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "simulators" / "kinetics"
VERSIONS = [f"3.{minor}{kind}" for kind in ("", "t") for minor in range(11, 20)]
HERE = [version for version in VERSIONS if shutil.which(f"python{version}")]

# Needs PATH and RESULT; leaves a state and a frame in the file RESULT.
RUN = """
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader

loader = ExtensionFileLoader("stmtem_control.simulators._kinetics", PATH)
core = module_from_spec(spec_from_loader(loader.name, loader, origin=PATH))
loader.exec_module(core)
model = core.Model(tuple(row[1] for row in core.PARAMETERS), 11)
model.advance(0.5, -5.0, -5.0, 0.0, 0.0)
model.advance(0.1, 5.0, 4.0, 0.0, 0.0)
frame = bytearray(2 * 48 * 64)
scene = (48, 64, 30.0, 0.0, 0.0, 0.05, 200.0, 800.0, True, 50.0, 0.0, 3.0, 2)
model.frame(frame, scene, 4, True, 8.0, 100.0, 3.0, 0.08)
try:
    model.advance(-1.0, 0.0, 0.0, 0.0, 0.0)
except ValueError as error:
    frame += str(error).encode()
with open(RESULT, "wb") as file:
    file.write(bytes(model.save()) + frame)
"""

# In the main interpreter, then in two sub-interpreters at once; from 3.12 on each of these has a
# GIL of its own, and an extension that is not made for that refuses to load there.
EVERYWHERE = """
import sys
import threading

run, path, folder = sys.argv[1:]
exec(run, {"PATH": path, "RESULT": folder + "/main"})
try:
    import _interpreters as interpreters  # 3.13
    create = lambda: interpreters.create("isolated")
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=True)

def work(inner, name):
    code = f"PATH = {path!r}\\nRESULT = {folder + '/' + name!r}\\n{run}"
    failure = getattr(interpreters, "exec", interpreters.run_string)(inner, code)
    assert failure is None, failure.formatted

inner = [create(), create()]
threads = [threading.Thread(target=work, args=pair) for pair in zip(inner, ("first", "second"))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for each in inner:
    interpreters.destroy(each)
"""


def run_everywhere(python: str, folder: Path, **environment: str) -> dict[str, bytes]:
    """What the run leaves in each interpreter of this Python."""
    done = subprocess.run(
        [python, "-I", "-c", EVERYWHERE, RUN, str(EXTENSION), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    return {name: (folder / name).read_bytes() for name in ("main", "first", "second")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    result = tmp_path_factory.mktemp("here") / "result"
    exec(RUN, {"PATH": str(EXTENSION), "RESULT": str(result)})
    return result.read_bytes()


def test_the_run_is_one(expected: bytes) -> None:
    """Not an empty comparison: there are crystals, electrons and a refusal in it."""
    assert len(expected) > 10000
    assert expected.endswith(b"seconds must lie in 0 ... 1e5")


def test_sub_interpreters_give_the_same_bytes(tmp_path: Path, expected: bytes) -> None:
    for name, result in run_everywhere(sys.executable, tmp_path).items():
        assert result == expected, name


@pytest.mark.parametrize("version", HERE)
def test_other_pythons_give_the_same_bytes(version: str, tmp_path: Path, expected: bytes) -> None:
    python = f"python{version}"
    asked = "import sysconfig; print(bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    named = {"PYENV_VERSION": version}  # a shim of pyenv must be told which Python is meant
    works = subprocess.run(
        [python, "-I", "-c", asked],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **named},
    )
    if works.returncode != 0:
        pytest.skip(f"python{version} does not run here")
    if works.stdout.strip() == "True" or ".abi3." not in EXTENSION.name:
        pytest.skip(f"{EXTENSION.name} is not for python{version}")
    for name, result in run_everywhere(python, tmp_path, **named).items():
        assert result == expected, name


def test_the_name_says_who_may_load_it() -> None:
    """An interpreter without a GIL does not look for abi3 files, so it cannot load a wrong one."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert ".abi3." not in EXTENSION.name
    else:
        assert EXTENSION.suffixes[-2:] == [".abi3", ".so"]


@pytest.mark.parametrize(
    ("limited", "gil"),
    [(True, True), (False, True), (False, False)],
    ids=["limited API", "whole API", "no GIL"],
)
def test_the_binding_compiles_without_warnings(limited: bool, gil: bool, tmp_path: Path) -> None:
    compiler, include = shutil.which("cc"), sysconfig.get_path("include")
    if compiler is None or not Path(include, "Python.h").exists():
        pytest.skip("no C compiler, or no headers of Python")
    flags = [
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-O2",
        f"-I{CORE}",
        f"-isystem{include}",
    ]
    flags += ["-DPy_LIMITED_API=0x030B0000"] * limited + ["-DPy_GIL_DISABLED=1"] * (not gil)
    sources = [str(path) for path in CORE.glob("module*.c")]
    built = subprocess.run(
        [compiler, "-std=c11", *flags, "-c", *sources],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr


@pytest.mark.parametrize("gil", [True, False], ids=["GIL", "no GIL"])
def test_a_build_suits_its_interpreter(gil: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    setuptools = pytest.importorskip("setuptools")
    asked: dict[str, Any] = {}
    monkeypatch.setitem(sysconfig.get_config_vars(), "Py_GIL_DISABLED", int(not gil))
    monkeypatch.setattr(setuptools, "setup", asked.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    (extension,) = asked["ext_modules"]
    assert extension.py_limited_api == gil
    assert [name for name, _ in extension.define_macros] == ["Py_LIMITED_API"] * gil
    assert ("bdist_wheel" in asked["options"]) == gil
