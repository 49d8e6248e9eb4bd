"""Protocols for the tests: one with everything, and a way to write short ones."""

EVERYTHING = """\
# yaml-language-server: $schema=protocol.schema.json
protocol: everything
shows: Every step and every key once.
metadata: {sample: CNF-12, operator: A. Name, air_exposure: 30 s, notes: "a note: with a colon"}
site: fibre 1
beam: {dose_rate: 20 e/A^2/s, budget: 500 e/A^2}
camera: {rate: 25 Hz, exposure: 35 ms}
pre_roll: 0.5 s
clapperboard: false
steps:
  - prompt: Bring the fibre into view and focus; then blank the beam.
  - comment: free text, goes into documents and log
  - leakage_baseline: {bias: 5 V, levels: 2, readings: 16, longest: 5 s}
  - approach:
      bias: 0.5 V
      threshold: 2 pA
      short: 5 nA
      sigmas: 5.0
      readings: 4
      oxide: 10 Gohm
      fine_step: 0.5 V
      least_step: 20 mV
      fine_range: 20 V
      coarse_step: 3
      max_coarse_steps: 60
      learn_steps: true
  - survey: {frames: 4}
  - cycles:
      repeat: 3
      deposit: {bias: -5 V, duration: 1 s, ramp: 10 V/s}
      between: 0.1 s
      strip: {bias: 5 V, until: {charge: 0 C, current: below 10 pA}, timeout: 3 s}
      rest: 0.25 s
  - deposit: {levels: [-1 V, -2 V, -5 V], each: 2 s}
  - strip: {bias: 5 V, until: {event: stripped, contact: lost, dose: 90 e/A^2}, timeout: 20 s}
  - hold: {bias: 1 V, until: {elapsed: 2 s}, timeout: 3 s}
  - rest: {duration: 1 s}
  - blank: {duration: 10 s, bias: -5 V, snapshots: {every: 5 s, frames: 3}}
  - diffraction: {frames: 10, camera_length: 0.5 m}
  - site: fibre 2
  - retract
"""


def with_step(step: str) -> str:
    """Return a protocol with one step, which stands on line 3."""
    return f"protocol: short\nsteps:\n  - {step}\n"


def with_key(line: str) -> str:
    """Return a protocol with a line of its own, line 2."""
    return f"protocol: short\n{line}\nsteps:\n  - retract\n"
