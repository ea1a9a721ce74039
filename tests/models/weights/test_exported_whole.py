"""An export that is killed while it replaces another leaves the old one, the new one, or a folder that is refused."""

import os
import shutil
import signal
from pathlib import Path

import paddle
import pytest

from conftest import run_script, says
from inference.finding import find_network
from models.graphs import exporting
from networks import tiny_network
from utils.config.loading import Config, load_config
from utils.errors import InputError
from utils.storage.shelf import digest

NAMES = ["config.yaml", "model.json", "model.pdiparams", "weights.pdparams"]
REFUSED = "weights.pdparams and config.yaml", "not of one export", "export again"


@pytest.fixture(scope="module")
def exports(all_narrow, workspace, tmp_path_factory) -> list[Path]:
    """Return the folders of an old export and of a new one with other weights."""
    folders = [tmp_path_factory.mktemp(name) for name in ("old", "new")]
    for number, folder in enumerate(folders):
        config, model = tiny_network(workspace)
        with paddle.no_grad():
            model.fc.bias[0] = float(number)
        exporting.save_paddle(model, config, folder)
    return folders


def config_of(workspace, folder: Path) -> Config:
    return load_config(str(workspace.folder / "tiny.yaml"), {"INFER.weights": str(folder)})


def export_again(new: Path, folder: Path) -> None:
    """Replace the folder's files as save_paddle does."""
    with exporting.whole_or_not_at_all(folder) as made:
        for name in NAMES:
            shutil.copyfile(new / name, made / name)


def killed_before(renaming: int, new: Path, folder: Path) -> None:
    """Export in a process that is killed before its renaming number `renaming`, counted from 0."""
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        return
    replace, done = os.replace, []

    def killed(*arguments) -> None:
        if len(done) == renaming:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(replace(*arguments))

    os.replace = killed
    try:
        export_again(new, folder)
    finally:
        os._exit(1)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.iterdir()}


@pytest.mark.parametrize("digests", [True, False], ids=["with digests", "of an older version"])
@pytest.mark.parametrize("renaming", range(len(NAMES)))
def test_a_killed_export_mixes_nothing(exports, workspace, tmp_path, renaming, digests):
    old, new = exports
    shutil.copytree(old, folder := tmp_path / "exported")
    if not digests:
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(text.partition("# The files")[0])
    before, wanted = contents(folder), contents(new)
    killed_before(renaming, new, folder)
    [left] = folder.glob(".export-*")
    found = {name: digest(folder / name) for name in NAMES if (folder / name).exists()}
    assert "model.json" not in found and set(found) == {*NAMES} - {"model.json"}
    try:
        used = find_network(config := config_of(workspace, folder), config.infer, "gpu").sha256
    except InputError as error:
        says(error, f"{folder}: ", *REFUSED)
        assert found["config.yaml"] == wanted["config.yaml"]
    else:
        whole = wanted if found["config.yaml"] == wanted["config.yaml"] else before
        assert used == found["weights.pdparams"] == whole["weights.pdparams"]
    export_again(new, folder)
    assert contents(folder) == wanted and not left.exists()


def test_other_files_are_refused_by_predict_in_one_line(exports, workspace, tmp_path):
    old, new = exports
    shutil.copytree(new, folder := tmp_path / "exported")
    shutil.copyfile(old / "weights.pdparams", folder / "weights.pdparams")
    ended = run_script("predict", workspace.config, f"--weights={folder}", f"--save_dir={tmp_path / 'out'}")
    assert ended.returncode == 2
    says(ended.stderr, f"error: {folder}: ", *REFUSED)


def test_the_config_names_the_files_that_it_was_exported_with(exports):
    text = (exports[0] / "config.yaml").read_text()
    for name, sha256 in contents(exports[0]).items():
        assert (f"# {sha256}  {name}\n" in text) == (name != "config.yaml")


def test_what_is_not_left_by_an_export_stays(exports, tmp_path):
    kept = [tmp_path / name for name in (".export-of-mine", ".export-12345678", "notes")]
    kept[0].mkdir()
    kept[1].write_text("a file")
    kept[2].write_text("a file")
    (tmp_path / ".export-abcdefgh").mkdir()
    export_again(exports[0], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*NAMES, *(path.name for path in kept)])
