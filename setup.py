"""Build the C core of the kinetic model; everything else is in pyproject.toml."""

import sysconfig
from pathlib import Path

from setuptools import Extension, setup

CORE = Path("simulators/kinetics")
# An interpreter without a GIL has no limited API before 3.15; it gets a build of its own.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "stmtem_control.simulators._kinetics",
            sources=sorted(str(path) for path in CORE.glob("*.c")),
            depends=sorted(str(path) for path in CORE.glob("*.h")),
            include_dirs=[str(CORE)],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED else [],
            # -ffast-math is never given: it would fold away the rounding in exp().
            extra_compile_args=[
                "-O3",
                "-fvisibility=hidden",
                "-fno-math-errno",
                "-fno-trapping-math",
                "-ffp-contract=off",
                "-Wno-psabi",
            ],
            py_limited_api=LIMITED,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
