"""Rows of eval.py and predict.py with random values, and a hostile text for them."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from inference.label_kinds import many_evaluations_of
from metrics.accuracy import log_softmax, top_classes, true_class_rank

# A name of a file or a class, or an error, that would run as a script if a page took it for markup.
HOSTILE = "\"'></td><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>{{ 7 * 7 }}"


def evaluation_rows(logits: np.ndarray, labels: np.ndarray, folder: str = "clips") -> Iterator[dict]:
    """Yield a row for each video of logits [N, K] with labels int64 [N]."""
    log_probabilities = log_softmax(logits)
    named, ranks = top_classes(logits, 1)[:, 0], true_class_rank(logits, labels)
    for i, (label, best, rank) in enumerate(zip(labels.tolist(), named.tolist(), ranks.tolist())):
        yield {
            "position": i,
            "video": f"{folder}/{i}.mp4",
            "label": label,
            "predicted_class": best,
            "predicted_name": str(best),
            "probability": float(np.exp(log_probabilities[i, best])),
            "rank": rank,
            "true_probability": float(np.exp(log_probabilities[i, label])),
            "loss": -float(log_probabilities[i, label]),
        }


def two_class_rows(labels: Sequence[int], first: Sequence[float]) -> list[dict]:
    """Return rows of two classes. first: the probability of class 0."""
    shares = np.stack([first, 1 - np.array(first)], axis=1)
    return list(evaluation_rows(np.log(shares), np.array(labels)))


def many_rows(probabilities: Sequence[Sequence[float]], labels: Sequence[Sequence[int]]) -> list[dict]:
    """Return a row for each video with these probabilities of all classes, and these labels (0 or 1) [N, K]."""
    shares = np.array(probabilities)
    values = many_evaluations_of([])(np.log(shares / (1 - shares)), np.array(labels))
    return [{"position": i, "video": f"clips/{i}.mp4", **value} for i, value in enumerate(values)]


def prediction_rows(videos: int, names: Sequence[str]) -> Iterator[dict]:
    """Yield a row for each video; one in a hundred is unreadable."""
    for i in range(videos):
        if i % 100 == 7:
            yield {"position": i, "video": f"clips/{i}.mp4", "error": "truncated"}
            continue
        shares = np.random.default_rng(i).dirichlet([0.5] * 5)
        best = [
            {"class_id": (i + j) % len(names), "label": names[(i + j) % len(names)], "probability": float(p)}
            for j, p in enumerate(sorted(shares, reverse=True))
        ]
        yield {"position": i, "video": f"clips/{i}.mp4", "predictions": best}


def timeline_records(video: str, names: Sequence[str], windows: int = 60) -> list[dict]:
    """Return the windows of a video, with the classes in turn."""
    return [
        {
            "video": video,
            "start": 5.0 * i,
            "end": 5.0 * i + 10,
            "predictions": [{"class_id": i % len(names), "label": names[i % len(names)], "probability": 0.5}],
        }
        for i in range(windows)
    ]


def noise_frames(positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield six frames of each video, noise that no picture format can compress."""
    for position in positions:
        yield position, np.random.default_rng(position).integers(0, 256, (6, 224, 224, 3), dtype=np.uint8)


def log_line(mode: str, epoch: int, step: int, **values: object) -> dict:
    """Return a line of train_log.jsonl."""
    line = {
        "mode": mode, "epoch": epoch, "iter": step, "loss": 2.0 / (1 + epoch + step / 10), "top1_acc": 20.0 * epoch,
        "lr": 0.01, "videos_per_second": 12.5, "data_wait": 0.02, "time": 1.7e9 + 100 * epoch + step,
    }  # fmt: skip
    return line | ({"videos": 5, "unreadable": 0} if mode == "valid" else {}) | values
