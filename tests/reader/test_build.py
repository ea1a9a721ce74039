"""From a section of the configuration to the clips that are read, and the line that describes them."""

import pytest

from conftest import ROOT, says
from reader.build import build_loader, clip_spec, describe_protocol
from reader.dataset import ClipSpec
from reader.filelist import Entry
from utils.config.loading import load_config
from utils.errors import InputError
from utils.processes.ranks import World

PEERS = ("MODEL.sampling=uniform", "MODEL.resize=opencv")


def configuration(*sets: str):
    return load_config(ROOT / "configs" / "tsn.yaml", {}, sets)


def test_the_originals_clip():
    assert clip_spec(configuration().test) == ClipSpec(7, 1, 256, 224)
    assert clip_spec(configuration().train, augment_seed=3) == ClipSpec(3, 1, 256, 224, augment_seed=3)


def test_the_peers_clip():
    config = configuration(*PEERS, "MODEL.crops=10", "VALID.crops=3", "TRAIN.multi_scale_crop=13")
    how = {"sampling": "uniform", "resize": "opencv", "keep_aspect_ratio": True}
    assert clip_spec(config.test) == ClipSpec(7, 1, 256, 224, **how, crops=10)
    assert clip_spec(config.valid) == ClipSpec(3, 1, 256, 256, **how, crops=3)
    assert clip_spec(config.train, 5) == ClipSpec(3, 1, 256, 224, **how, multi_scale_crop=13, augment_seed=5)


@pytest.mark.parametrize("crops, given, videos", [(1, None, 16), (1, 5, 5), (3, None, 5), (10, None, 1), (10, 5, 1)])
def test_a_batch_has_fewer_videos_where_each_has_more_crops(crops, given, videos):
    config = configuration(f"TEST.crops={crops}", "TEST.num_reader_threads=1")
    with build_loader(config, config.test, [Entry("v.mp4", 0)], batch_size=given) as loader:
        assert loader.batch_size == videos


@pytest.mark.parametrize(
    "world, videos, readers",
    [
        (World(), 100, 12),  # as the file says
        (World(3, 8, on_machine=8), 100, 6),
        (World(3, 8, on_machine=4), 100, 12),  # two machines, each with its cores
        (World(3, 8), 16, 2),  # one for each of its videos
        (World(3, 8), 17, 3),
    ],
)
def test_a_rank_has_its_part_of_its_machines_cores(monkeypatch, world, videos, readers):
    monkeypatch.setattr("reader.loader.available_cores", lambda: 48)
    config, entries = configuration(), [Entry("v.mp4", 0)] * videos
    monkeypatch.setattr("reader.build.Loader", lambda *_, num_workers, **__: num_workers)
    assert build_loader(config, config.train, entries, world=world) == readers


@pytest.mark.parametrize(
    "sets, expected",
    [
        ((), "7 segments, short side 256 (4:3), 1 centre crop 224, sampling segment, resize pillow, average logits"),
        (
            (*PEERS, "MODEL.crops=10", "TEST.seg_num=25"),
            "25 segments, short side 256 (aspect ratio kept), 10 crops 224, sampling uniform, resize opencv, "
            "average logits",
        ),
        (
            ("TEST.crops=3", "TEST.short_size=128", "TEST.target_size=112", "TEST.average=probabilities"),
            "7 segments, short side 128 (4:3), 3 crops 128, sampling segment, resize pillow, average probabilities",
        ),
        (
            ("TEST.seglen=2", "TEST.sampling=linspace", "TEST.keep_aspect_ratio=True"),
            "7 segments of 2 frames, short side 256 (aspect ratio kept), 1 centre crop 224, sampling linspace, "
            "resize pillow, average logits",
        ),
    ],
)
def test_protocol(sets, expected):
    assert describe_protocol(configuration(*sets).test) == expected


def test_the_classes_that_a_mirror_exchanges(tmp_path):
    labels = tmp_path / "labels.json"
    labels.write_text('["left", "up", "right", "up left", "up right"]')
    pairs = ("TRAIN.flip_pairs=[[left, right], [3, 4]]", f"INFER.kinetics_labels={labels}", "MODEL.num_classes=5")
    config = configuration(*pairs, "MODEL.topk=1")
    entries = [Entry("a.mp4", 0)]
    assert build_loader(config, config.train, entries, augment_seed=1)._mirrors == {0: 2, 2: 0, 3: 4, 4: 3}
    assert build_loader(config, config.train, entries)._mirrors == {}
    config = configuration(*pairs[1:], "MODEL.topk=1", "TRAIN.flip_pairs=[[left, down]]")
    with pytest.raises(InputError) as error:
        build_loader(config, config.train, entries, augment_seed=1)
    says(error.value, "TRAIN.flip_pairs: ", "no class 'down'", "5")
