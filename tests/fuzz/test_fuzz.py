"""Broken files of every kind: one clear error or a valid result, in bounded time and memory, leaving nothing behind.

Each file depends only on (target, seed, number), so these runs are the same everywhere. `python tests/fuzz` reads more.
"""

from pathlib import Path

import pytest

from fuzz import harness

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory in /proc")

# How many files of each. There are 36 fixtures of videos, each of which is broken equally often.
COUNTS = {
    "videos": 36 * 50, "more_videos": 21 * 30, "opencv": 36 * 5, "frame_pickles": 600, "frame_folders": 200,
    "weights": 1500, "checkpoints": 800, "configurations": 300, "peer_configurations": 300,
    "file_lists": 600, "labels": 400,
}  # fmt: skip


@pytest.mark.parametrize("target", COUNTS)
def test_broken_files(target):
    if target == "opencv":
        pytest.importorskip("cv2")
    summary = harness.run(target, seed=0, first=0, last=COUNTS[target])
    assert not summary.findings, "\n".join(map(str, summary.findings))
    assert summary.outcomes.total() == COUNTS[target]
    # Some are broken enough to be refused, and some can still be read.
    assert all(summary.outcomes[outcome] > COUNTS[target] / 40 for outcome in ("ok", "refused"))
