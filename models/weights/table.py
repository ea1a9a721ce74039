"""`bash run.sh weights`: the published weights, their published accuracy, and which of them are downloaded."""

from models.weights.download import place_of
from utils.config.published import Published, published_weights


def lines() -> list[str]:
    """Return the lines of the table with a heading, and a note on how to use the names."""
    rows = [("name", "data", "frames", "top-1", "licence", "downloaded"), *map(_cells, published_weights())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    note = "top-1: published by the authors for this number of frames x crops, not measured here"
    return [*table, "", note, "python predict.py --weights=NAME --video_path=clip.mp4; train.py takes --pretrain=NAME"]


def _cells(row: Published) -> tuple[str, ...]:
    frames = f"{row.test['seg_num']} x {row.test['crops']}" if row.test else ""
    accuracy = f"{row.top1:g}" if row.top1 else ""
    other = f" ({row.of_another_test})" if row.of_another_test else ""
    place = place_of(row.url)
    file = str(place) if place.is_file() else ""
    return ", ".join((*row.aliases, row.name)), row.data, frames, accuracy + other, row.source["licence"], file


if __name__ == "__main__":
    print("\n".join(lines()))
