"""The page of a training, and its loggers in real processes: a failure in them does not end the run."""

import json
from html import unescape

from conftest import run_narrow, run_script
from report_rows import log_line
from results.pages.charts import LEFT, POINTS, Curve, ticks
from results.pages.timeline import minutes
from results.pages.training import write_training_page
from results.pages.words import in_english


def test_a_run_goes_on_if_page_and_logger_fail(workspace, tmp_path):
    (tmp_path / "report.html").mkdir()
    (tmp_path / "logger").write_text("a file")
    flags = ["--pretrain=none", "--report=True", "--set", "TRAIN.logger=tensorboard", f"--save_dir={tmp_path}"]
    ended = run_narrow("train", workspace.config, *flags)
    assert (ended.returncode, ended.stderr.count("Traceback")) == (0, 0), ended.stderr
    lines = ended.stdout.splitlines()
    report = f"no report: {tmp_path}/report.html: cannot be written: Is a directory"
    assert lines.count(report) == 3  # after each of two validations, and at the end
    gone = (
        f"TRAIN.logger tensorboard gets no more scalars: FileExistsError: [Errno 17] File exists: '{tmp_path}/logger'"
    )
    assert lines.count(gone) == 1
    assert (tmp_path / "TSN.pdparams").exists()


def test_a_run_without_the_packages(workspace, tmp_path):
    """This is a machine without the packages of requirements-extras.txt."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("jinja2", "tensorboardX"):
        (packages / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})")
    for flags, message in (
        (["--report=True"], "--report=True needs the package jinja2"),
        (["--set", "TRAIN.logger=tensorboard"], "TRAIN.logger tensorboard needs the package tensorboardX"),
    ):
        ended = run_script(
            "train", workspace.config, *flags, f"--save_dir={tmp_path / 'out'}", PYTHONPATH=str(packages)
        )
        install = "pip install -r requirements-extras.txt"
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == f"error: {message}, which is not installed: {install}\n"
        assert not (tmp_path / "out").exists()


def written(tmp_path, lines: list[dict], steps_per_epoch: int = 100) -> str:
    log = tmp_path / "train_log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_training_page(tmp_path / "report.html", log, steps_per_epoch, 1000, {})
    return in_english((tmp_path / "report.html").read_text("utf-8").partition("</style>")[2])


def test_the_best_epoch_is_the_first_of_the_best(tmp_path):
    accuracies = [10.0, 60.0, 30.0, 60.0]
    html = written(tmp_path, [log_line("valid", e, 99, top1_acc=top1) for e, top1 in enumerate(accuracies)])
    assert "Best top-1 60.00% after epoch 1" in html


def test_duration_and_time_left_leave_out_pauses(tmp_path):
    """The run has ten steps and a pause of an hour. The pace counts from the resume."""
    lines = [log_line("train", 0, step, time=1e9 + 60 * step) for step in range(6)]
    lines += [log_line("train", 0, step, time=1e9 + 3900 + 30 * step) for step in range(6, 10)]
    lines[6]["resumed"] = [0, 6]
    lines.append(log_line("epoch", 0, 9, time=1e9 + 3900 + 270, top1_acc=61.5))
    lines.append(log_line("valid", 0, 9, time=1e9 + 3900 + 300, top1_acc=50.0))
    html = written(tmp_path, lines, steps_per_epoch=10)
    assert "1 of 1000 epochs are done. Epochs are numbered" in html
    assert "Duration7:00from" in html  # 5 * 60 + 3 * 30 + 30
    assert f"Time left{minutes(40 * 9990)}at" in html  # 120 s for three steps and the validation
    assert "Training top-161.50%over all of epoch 0" in html
    assert "0 best1.052650.0061.500.0150" in html  # epoch, loss, top-1, training top-1, rate, videos, unreadable


def test_a_chart_has_its_values_by_step(tmp_path):
    log = [log_line("train", 0, 0, loss=2.0), log_line("train", 0, 9, loss=1.0), log_line("epoch", 0, 9, loss=1.5)]
    written(tmp_path, [*log, log_line("valid", 0, 9, loss=1.25)], steps_per_epoch=10)
    html = (tmp_path / "report.html").read_text("utf-8")
    seen = json.loads(unescape(html.partition('data-seen="')[2].partition('"')[0]))
    assert seen["train"] == [[LEFT, 0, 2.0, 2.0, 2.0], [seen["valid"][0][0], 9, 1.0, 1.0, 1.0]]
    assert (seen["epoch"][0][1:], seen["valid"][0][1:]) == ([9, 1.5], [9, 1.25])


def test_a_long_run_has_a_small_page(tmp_path):
    lines = [log_line("train", e, i) for e in range(400) for i in range(0, 100, 4)]
    lines += [log_line("valid", e, 99) for e in range(400)]
    lines += [log_line("train", 399, 99, resumed=[399, 98], loss=None)]
    html = written(tmp_path, lines)
    assert len(html) < 500_000 and "The last 200." in html and "Resumed at epoch 399, iter 98" in html


def test_a_run_before_its_first_validation(tmp_path):
    html = written(tmp_path, [log_line("train", 0, 0)])
    assert "Epoch 0, loss 2.0000" in html and "Validations" not in html


def test_a_point_of_a_curve_is_the_mean_of_its_steps():
    curve = Curve(100, 100 + 2 * POINTS - 1)
    for x in range(100, 100 + 2 * POINTS):
        curve.add(x, x)
    points = curve.points
    assert len(points) == POINTS and points[0] == (100.5, 100.5, 100, 101)
    assert points[-1] == (98.5 + 2 * POINTS, 98.5 + 2 * POINTS, 98 + 2 * POINTS, 99 + 2 * POINTS)


def test_ticks_are_round_numbers():
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert ticks(0, 0.013) == [0, 0.005, 0.01, 0.015]
    assert ticks(0, 0) == [0] and ticks(7, 7) == [7]
    assert ticks(0, 1e6) == [0, 2e5, 4e5, 6e5, 8e5, 1e6]
