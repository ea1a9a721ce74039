"""Broken files of every kind: one clear error or a valid result, in bounded time and memory, leaving nothing behind.

Each file depends only on (target, seed, number), so these runs are the same everywhere. `python tests/fuzz` reads more.
"""

from pathlib import Path

import pytest

from fuzz import harness
from fuzz.forking import fork

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory in /proc")

# Number of files. Each of the 35 fixtures of videos is broken equally often.
COUNTS = {
    "videos": 35 * 8, "more_videos": 21 * 4, "opencv": 35 * 3, "frame_pickles": 300, "frame_folders": 150,
    "weights": 400, "checkpoints": 400, "configurations": 100, "peer_configurations": 80,
    "file_lists": 400, "labels": 300,
}  # fmt: skip


@pytest.mark.parametrize("target", COUNTS)
def test_broken_files(target):
    if target == "opencv":
        pytest.importorskip("cv2")
    summary = harness.run(target, seed=0, first=0, last=COUNTS[target], start=fork)
    assert not summary.findings, "\n".join(map(str, summary.findings))
    assert summary.outcomes.total() == COUNTS[target]
    # Some are broken enough to be refused, and some can still be read.
    assert all(summary.outcomes[outcome] > COUNTS[target] / 40 for outcome in ("ok", "refused"))
