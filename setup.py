"""Build the C core of the kinetic model; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

CORE = Path("simulators/kinetics")

setup(
    ext_modules=[
        Extension(
            "stmtem_control.simulators._kinetics",
            sources=sorted(str(path) for path in CORE.glob("*.c")),
            depends=sorted(str(path) for path in CORE.glob("*.h")),
            include_dirs=[str(CORE)],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            # -ffast-math is never given: it would fold away the rounding in exp().
            extra_compile_args=[
                "-O3",
                "-fvisibility=hidden",
                "-fno-math-errno",
                "-fno-trapping-math",
                "-ffp-contract=off",
                "-Wno-psabi",
            ],
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
