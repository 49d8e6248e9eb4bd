from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

PARAMETERS: tuple[tuple[str, float, float, float], ...]
# height, width, pixel_nm, x_nm, y_nm, electrons_per_A2, energy_keV, underfocus_nm, probe, its x_nm,
# y_nm and axis_rad, threads
Scene: TypeAlias = tuple[
    int, int, float, float, float, float, float, float, bool, float, float, float, int
]

TRUTH_FIELDS: tuple[tuple[str, str], ...]
PARTICLE_FIELDS: tuple[tuple[str, str], ...]
EQUATIONS: tuple[tuple[str, int], ...]

def evaluate(name: str, values: tuple[float, ...], /, *columns: bytes) -> bytearray: ...

class Model:
    def __new__(cls, values: tuple[float, ...], seed: int) -> Model: ...
    def advance(
        self,
        seconds: float,
        bias_V: float,
        bias_end_V: float,
        series_GOhm: float,
        beam_e_per_nm2_s: float,
        /,
    ) -> None: ...
    def status(
        self,
    ) -> tuple[
        int,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        int,
        int,
        int,
        int,
    ]: ...
    def particles(self) -> bytearray: ...
    def events(self, start: int, /) -> bytearray: ...
    def frame(
        self,
        buffer: NDArray[np.uint16],
        scene: Scene,
        index: int,
        ccd: bool,
        gain: float,
        offset: float,
        readout: float,
        spread: float,
        /,
    ) -> None: ...
    def means(self, buffer: NDArray[np.float32], scene: Scene, /) -> None: ...
    def truth(
        self, height: int, width: int, pixel_nm: float, x_nm: float, y_nm: float, /
    ) -> bytearray: ...
    def thickness(
        self,
        buffer: NDArray[np.float32],
        height: int,
        width: int,
        pixel_nm: float,
        x_nm: float,
        y_nm: float,
        /,
    ) -> None: ...
    def diffraction(
        self,
        buffer: NDArray[np.float32],
        height: int,
        width: int,
        pixel_inverse_A: float,
        electrons: float,
        energy_keV: float,
        aperture_x_nm: float,
        aperture_y_nm: float,
        aperture_nm: float,
        beam_width_inverse_A: float,
        stop_radius_inverse_A: float,
        stop_axis_rad: float,
        /,
    ) -> None: ...
    def survey(
        self,
        buffer: NDArray[np.float32],
        height: int,
        width: int,
        pixel_nm: float,
        x_nm: float,
        y_nm: float,
        electrons_per_A2: float,
        energy_keV: float,
        inner_mrad: float,
        outer_mrad: float,
        line_noise: float,
        line_jitter_px: float,
        index: int,
        probe: bool,
        probe_x_nm: float,
        probe_y_nm: float,
        probe_axis_rad: float,
        /,
    ) -> None: ...
    def counts(
        self,
        buffer: NDArray[np.uint16],
        mean: NDArray[np.float32],
        height: int,
        width: int,
        purpose: str,
        index: int,
        noisy: bool,
        gain: float,
        offset: float,
        readout: float,
        spread: float,
        /,
    ) -> None: ...
    def grains(self) -> bytearray: ...
    def place(self, crystals: bytes, /) -> int: ...
    def instructions(self, name: str = ..., /) -> str: ...
    def save(self) -> bytearray: ...
    def load(self, state: bytes, /) -> None: ...

def bcc_families(
    metal: int, lattice_A: float, energy_keV: float, largest_inverse_A: float, /
) -> bytearray: ...

class Box:
    def __new__(
        cls,
        count: int,
        length: float,
        diffusivity: float,
        radius: float,
        step_s: float,
        dimensions: int,
        seed: int,
        instructions: str,
        every_pair: bool,
    ) -> Box: ...
    def advance(self, steps: int, /) -> None: ...
    def status(self) -> tuple[int, int, int, str]: ...
    def particles(self, folded: bool, /) -> tuple[bytearray, bytearray]: ...
