"""What is listed, what is shipped, and what is said to be the version."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import stmtem_control

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_package_is_listed() -> None:
    """A package that is not listed works in a checkout and is missing from the wheel."""
    tool = PROJECT["tool"]["setuptools"]
    folder_of = tool["package-dir"]
    listed = {folder_of.get(name, name.replace(".", "/")) for name in tool["packages"]}
    found = {
        str(init.parent.relative_to(ROOT))
        for top in folder_of.values()
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert listed == found


def test_every_package_says_what_it_hands_out() -> None:
    """The doors in stmtem_control/*.pyi hand on __all__ and nothing else."""
    for name in ("devices", "plans", "simulators"):
        assert "__all__" in (ROOT / name / "__init__.py").read_text("utf-8")


def test_one_version_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert stmtem_control.__version__ == version
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(rf"^version: {re.escape(version)}$", citation, re.MULTILINE)


def test_no_file_names_a_package_host() -> None:
    pattern = re.compile(r"//[\w.]*(pypi|pythonhosted)\.org", re.IGNORECASE)
    for name in ("constraints.txt", "Makefile", "pyproject.toml", ".ci/run"):
        assert not pattern.search((ROOT / name).read_text("utf-8")), name


def test_the_command_line_helps_at_once() -> None:
    """Help must not wait for ophyd, NumPy or the rest."""
    code = (
        "import sys\n"
        "from stmtem_control.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'ophyd', 'bluesky', 'numpy', 'tifffile', 'matplotlib', 'pydantic', 'rich'}\n"
        "found = heavy & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: stmtem" in done.stdout


def test_the_simulators_stand_alone() -> None:
    """The bench must not pull in the drivers, nor ophyd with them."""
    code = (
        "import sys, stmtem_control.simulators\n"
        "strangers = {'ophyd', 'bluesky', 'pyvisa', 'serial', 'stmtem_control.devices'}\n"
        "found = strangers & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
