"""Frames dated by the clapperboard: the frame in which a bias edge falls is right, or ambiguous."""

import numpy as np
import pytest

from benchmarks.clapperboard_scenes import Scene, take
from stmtem_control.recording.aligned_clock import align_clock
from stmtem_control.recording.clapperboard import fit_pattern
from stmtem_control.recording.edges import owners, spans

PERIOD_S, EDGE_S = 0.04, 2e-4


@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_every_edge_is_in_its_frame_or_said_to_be_ambiguous(lost: float) -> None:
    wrong, certain_ones, edges = 0, 0, 0
    for seed in range(25):
        taken = take(Scene(lost=lost, drift=5e-5), seed)
        model = align_clock(
            [fit_pattern(taken.frames, taken.edges, expected_offset_s=taken.expected_offset_s)]
        )
        random = np.random.default_rng([seed, 1])
        truth = [frame.camera_time_s + taken.truth(frame.camera_time_s) for frame in taken.frames]
        # Edges of the bias, and what the source's link tells of them.
        t = np.sort(random.uniform(truth[0], truth[-1], 400))
        told = t + random.uniform(-EDGE_S, EDGE_S, len(t))
        dated = [model.station_time(frame.camera_time_s) for frame in taken.frames]
        sequence = [frame.sequence for frame in taken.frames]
        periods = [PERIOD_S] * len(sequence)
        owned = spans([s for s, _ in dated], [u for _, u in dated], periods, sequence)
        index, certain = owners(told, np.full(len(t), EDGE_S), owned)
        # Who owns it in truth: the last frame that began before, unless the next one is lost.
        first = np.searchsorted(truth, t, "right") - 1
        mine = np.where(t < np.array(truth)[first] + PERIOD_S, first, -1)
        wrong += int(np.count_nonzero(certain & (index != mine)))
        certain_ones += int(np.count_nonzero(certain))
        edges += len(t)
        # Further from all borders than both uncertainties, no edge is called ambiguous.
        sure = max(u for _, u in dated)
        phase = (t - truth[0] + 0.5 * PERIOD_S) % PERIOD_S - 0.5 * PERIOD_S
        clear = np.abs(phase) > 2.0 * (sure + EDGE_S)
        inside = clear & (t < truth[-1])
        assert np.all(certain[inside])
    assert wrong == 0
    assert 0.9 * edges < certain_ones < edges
