"""tools/convert.py: real configurations of PaddleVideo and mmaction2, converted, with notes on the differences."""

import json
import os
from pathlib import Path

import pytest
import yaml

import mmaction2_configs
from conftest import run_script, says
from mmaction2_configs import write
from paddlevideo_configs import PADDLEVIDEO, SLOWFAST, as_yaml
from tools.convert import convert
from utils.config.loading import Config, load_config
from utils.errors import InputError

FIVE = {"TRAIN.classifier_learning_rate": 5, "TRAIN.no_decay_on_bn_and_bias": True}
PILLOW, FOUR_THIRDS = {"MODEL.resize": "pillow"}, {"MODEL.keep_aspect_ratio": False}
OPENCV = {"MODEL.resize": "opencv", "MODEL.keep_aspect_ratio": True}


def steps(rate: float, milestones: tuple, epochs: int, decay: float, clip: float) -> dict:
    return {
        "TRAIN.schedule": "steps", "TRAIN.learning_rate": rate, "TRAIN.learning_rate_decay": 0.1,
        "TRAIN.milestones": milestones, "TRAIN.epoch": epochs, "TRAIN.l2_weight_decay": decay,
        "TRAIN.clip_gradient_norm": clip, "TRAIN.momentum": 0.9, "TRAIN.nesterov": False,
    }  # fmt: skip


def cosine(rate: float, start: float, epochs: int) -> dict:
    return {
        "TRAIN.schedule": "cosine", "TRAIN.learning_rate": rate, "TRAIN.warmup_learning_rate": start,
        "TRAIN.warmup_epochs": 10, "TRAIN.epoch": epochs, "TRAIN.l2_weight_decay": 1e-4, "TRAIN.nesterov": True,
        "TRAIN.clip_gradient_norm": 0, "TRAIN.mixup_alpha": 0.2,
    }  # fmt: skip


def network(name: str, classes: int, dropout: float, pretrain: str, layers: int = 50, backbone: str = "resnet") -> dict:
    return {
        "MODEL.name": name, "MODEL.num_classes": classes, "MODEL.dropout": dropout, "TRAIN.pretrain": pretrain,
        "MODEL.num_layers": layers, "MODEL.backbone": backbone,
        "MODEL.image_mean": (0.485, 0.456, 0.406), "MODEL.image_std": (0.229, 0.224, 0.225),
    }  # fmt: skip


def read(train: int, test: int, sampling: str, crops: int, batch: int, places: object, testing: str = "") -> dict:
    """Return the keys for segments, sampling, crops of the test, videos per step and places of the random crop."""
    return {
        "TRAIN.seg_num": train, "VALID.seg_num": train, "TEST.seg_num": test, "TRAIN.sampling": sampling,
        "TEST.sampling": testing or sampling, "TEST.crops": crops, "VALID.crops": 1, "TRAIN.batch_size": batch,
        "TRAIN.multi_scale_crop": places, "TRAIN.short_size": 256, "TRAIN.target_size": 224, "TEST.short_size": 256,
    }  # fmt: skip


VD, ZOO = "resnet50-vd-ssld", "https://download.openmmlab.com/mmaction/recognition/"
PPTSM = (
    network("TSM", 400, 0.5, VD, backbone="resnet_vd") | FIVE | {"TRAIN.label_smoothing": 0.1} | PILLOW | FOUR_THIRDS
)
EXPECTED = {
    "tsn_k400_videos, 0314ce2f": [
        network("TSN", 400, 0.4, "resnet50-paddlevideo"), read(3, 25, "uniform", 10, 256, 5), OPENCV,
        steps(0.01, (40, 80), 100, 1e-4, 40), {"TEST.batch_size": 1, "VALID.batch_size": 256, "INFER.seg_num": 25,
        "INFER.target_size": 224, "TRAIN.use_gpu": False, "TRAIN.classifier_learning_rate": None, "TRAIN.flip": True},
    ],
    "tsn, 2791324e": [
        network("TSN", 101, 0.2, "data/ResNet50/ppcls.pdparams"), read(3, 25, "segment", 1, 256, "none"), PILLOW,
        FOUR_THIRDS, steps(0.001, (30, 60), 80, 1e-4, 0), {"INFER.kinetics_labels": "", "TEST.batch_size": 32},
    ],
    "tsm_k400_videos, 71329cff": [
        network("TSM", 400, 0.5, "resnet50-paddlevideo"), read(8, 8, "uniform", 1, 128, 13), PILLOW, FIVE,
        {"MODEL.keep_aspect_ratio": True, "TEST.batch_size": 16}, steps(0.02, (20, 40), 50, 1e-4, 20),
    ],
    "tsm_ucf101_frames, 13204c9d": [
        network("TSM", 101, 0.8, "paddlevideo-tsm-r50-8"), read(8, 8, "uniform", 1, 128, 13), PILLOW, FIVE,
        {"MODEL.keep_aspect_ratio": True, "MODEL.format": "frames", "MODEL.filename_tmpl": "img_{:05}.jpg"},
        steps(0.001, (10, 20), 25, 0, 20),
    ],
    "tsm_ucf101_videos, 71329cff": [
        network("TSM", 101, 0.8, "paddlevideo-tsm-r50-8"), read(8, 8, "uniform", 1, 128, 13), PILLOW, FIVE,
        {"MODEL.keep_aspect_ratio": True, "MODEL.decoder": "auto"}, steps(0.001, (10, 20), 25, 0, 20),
    ],
    "pptsm (TSMHead), 13db84f8": [
        network("TSM", 101, 0.5, VD, backbone="resnet_vd"), read(8, 8, "segment", 1, 128, "none"), PILLOW, FOUR_THIRDS,
        FIVE, steps(0.01, (40, 60), 80, 2e-4, 0), {"TRAIN.label_smoothing": 0, "TRAIN.mixup_alpha": 0},
    ],
    "pptsm_k400_videos_uniform, 71329cff": [
        PPTSM, read(8, 8, "segment", 1, 128, "none"), cosine(0.01, 0.005, 80), {"INFER.seg_num": 8},
    ],
    "pptsm_k400_frames_dense, 45d1fdbe": [
        PPTSM, read(8, 8, "segment", 1, 128, "none"), cosine(0.02, 0.01, 80), {"TEST.batch_size": 1},
    ],
    "pptsm_k400_frames_dense_r101, 21d13e0e": [
        PPTSM, read(8, 8, "segment", 1, 128, "none"), cosine(0.02, 0.01, 100),
        {"MODEL.num_layers": 101, "TRAIN.pretrain": "resnet101-vd-ssld"},
    ],
    "pptsn_k400_videos, 548cf73e": [
        network("TSN", 400, 0.4, VD, backbone="resnet_vd"), read(3, 25, "uniform", 10, 256, 13, "segment"),
        OPENCV, FIVE, cosine(0.01, 0.005, 100), {"TRAIN.label_smoothing": 0.1},
    ],
    "pptsm_lcnet_k400_8frames_uniform, ce179097": [
        network("PPTSMv2", 400, 0.2, "lcnetv2-ssld"), read(8, 8, "segment", 1, 128, "none"), PILLOW, FOUR_THIRDS,
        cosine(0.01, 0.005, 120), {"TRAIN.no_decay_on_bn_and_bias": True, "TRAIN.classifier_learning_rate": None,
        "MODEL.format": "frames", "TRAIN.data_prefix": "data/k400/rawframes"},
    ],
    "pptsm_lcnet_k400_16frames_uniform, ae970e32": [
        network("PPTSMv2", 400, 0.2, "lcnetv2-ssld"), read(16, 16, "segment", 1, 128, "none"), PILLOW, FOUR_THIRDS,
        cosine(0.01, 0.005, 120), {"INFER.seg_num": 16},
    ],
    "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb": [
        network("TSN", 400, 0.4, "resnet50"), read(3, 25, "uniform", 10, 256, 5), OPENCV,
        steps(0.01, (40, 80), 100, 1e-4, 40), {"TEST.batch_size": 1, "TRAIN.keep_checkpoints": 3, "TRAIN.flip": True,
        "MODEL.average": "logits", "TRAIN.num_reader_threads": 8, "VALID.batch_size": 256},
    ],
    "tsn_tiny_two_classes": [
        network("TSN", 2, 0.4, "mmaction2-tsn-r50-3"), read(3, 25, "uniform", 10, 256, 5), OPENCV,
        steps(0.01, (4, 8), 10, 1e-4, 40), {"TRAIN.keep_checkpoints": 1, "INFER.kinetics_labels": ""},
    ],
    "tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb": [
        network("TSN", 400, 0.4, "resnet50"), read(8, 25, "uniform", 10, 256, 5), OPENCV,
        steps(0.01, (40, 80), 100, 1e-4, 40),
    ],
    "tsn_imagenet-pretrained-r101_8xb32-1x1x8-100e_kinetics400-rgb": [
        network("TSN", 400, 0.4, "resnet101", 101), read(8, 25, "uniform", 10, 256, 5), OPENCV,
        steps(0.01, (40, 80), 100, 1e-4, 40),
    ],
    "tsn_imagenet-pretrained-r50_8xb32-dense-1x1x5-100e_kinetics400-rgb": [
        network("TSN", 400, 0.5, "resnet50"), read(5, 25, "uniform", 1, 256, 13), OPENCV,
        steps(0.06, (40, 80), 100, 1e-4, 40),
    ],
    "tsn_imagenet-pretrained-r50_8xb32-1x1x8-50e_sthv2-rgb": [
        network("TSN", 174, 0.5, "resnet50"), read(8, 25, "uniform", 10, 256, 5), OPENCV,
        steps(0.01, (20, 40), 50, 1e-4, 40), {"TRAIN.flip_pairs": ((86, 87), (93, 94), (166, 167))},
    ],
    "tsn_r50-in1k-pre_8xb16-1x1x6-100e_mit-rgb": [
        network("TSN", 339, 0.4, "resnet50"), read(6, 6, "uniform", 3, 128, 5), OPENCV,
        steps(0.01, (40, 80), 100, 1e-4, 40),
    ],
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb": [
        network("TSM", 400, 0.5, "resnet50"), read(8, 8, "uniform", 10, 128, 13), OPENCV, FIVE,
        steps(0.02, (25, 45), 50, 1e-4, 20),
        {"TRAIN.warmup_epochs": 5, "TRAIN.warmup_learning_rate": 0.002, "MODEL.average": "probabilities"},
    ],
    "tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400-rgb": [
        network("TSM", 400, 0.5, "resnet50"), read(16, 16, "uniform", 10, 128, 13), OPENCV, FIVE,
        steps(0.02, (25, 45), 50, 1e-4, 20), {"TRAIN.warmup_epochs": 5},
    ],
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb": [
        network("TSM", 174, 0.5, "resnet50"), read(8, 8, "uniform", 10, 128, 13), OPENCV, FIVE,
        steps(0.02, (25, 45), 50, 5e-4, 20),
    ],
    "tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb": [
        network("TSM", 174, 0.5, "resnet101", 101), read(8, 8, "uniform", 10, 128, 13), FIVE,
        steps(0.02, (25, 45), 50, 5e-4, 20),
    ],
    "tsm_r50_mixup_1x1x8_50e_sthv1_rgb": [
        network("TSM", 174, 0.5, "resnet50"), read(8, 8, "uniform", 3, 64, 13), OPENCV, FIVE,
        steps(0.01, (20, 40), 50, 1e-4, 20), {"TRAIN.mixup_alpha": 0.2, "TRAIN.flip": False,
        "VALID.filename_tmpl": "{:05}.jpg", "TEST.format": "frames", "TEST.data_prefix": "data/sthv1/rawframes"},
    ],
    "tsm_k400_pretrained_r50_1x1x8_25e_ucf101_rgb": [
        network("TSM", 101, 0.5, f"{ZOO}tsm/tsm_r50_20210701-68d582b4.pth"),
        read(8, 8, "uniform", 1, 96, 13), FIVE, steps(0.01, (10, 20), 25, 1e-4, 20), {"TRAIN.flip": False,
        "TRAIN.filelist": "data/ucf101/ucf101_train_split_1_rawframes.txt"},
    ],
    "tsn_r50_1x1x8_50e_hmdb51_kinetics400_rgb": [
        network("TSN", 51, 0.4, f"{ZOO}tsn/tsn_r50_256p_1x1x8_100e_kinetics400_rgb_20200817-883baf16.pth"),
        read(8, 8, "uniform", 1, 256, "none"), OPENCV, steps(0.025, (20, 40), 50, 1e-4, 40),
        {"TRAIN.save_dir": "./work_dirs/tsn_hmdb51/", "TEST.target_size": 256, "TRAIN.flip": True},
    ],
    # Its loss is multiplied by 160: 0.01 x 160, 0.0001 / 160 and 20 / 160 make the same steps.
    "tsn_r101_1x1x5_50e_mmit_rgb": [
        network("TSN", 313, 0.5, "resnet101", 101), read(5, 5, "uniform", 1, 128, 5), OPENCV, FIVE,
        steps(1.6, (20, 40), 50, 6.25e-7, 0.125), {"MODEL.labels": "multi", "TRAIN.class_weights": "none",
        "MODEL.format": "frames", "MODEL.filename_tmpl": "img_{:05}.jpg", "INFER.kinetics_labels": ""},
    ],
    "tsm_r50_video_1x1x8_50e_kinetics400_rgb": [
        network("TSM", 400, 0.5, "resnet50"), read(8, 8, "uniform", 1, 64, 13), OPENCV, FIVE,
        steps(0.02, (20, 40), 50, 1e-4, 20), {"MODEL.average": "probabilities", "TEST.batch_size": 8},
    ],
}  # fmt: skip
# Parts of the notes on some configurations.
SAID = {
    "tsn_k400_videos, 0314ce2f": ["MODEL.head.std 0.01: ", "decode.backend decord: ", ": save_interval 10, use_npu"],
    "tsm_k400_videos, 71329cff": ["valid.transform.Scale.do_round False: ", "PIPELINE.train.transform: no Scale"],
    "pptsm_k400_videos_uniform, 71329cff": ["MultiScaleCrop: not supported before a", "equivalent here: PRECISEBN"],
    "pptsm_k400_frames_dense, 45d1fdbe": ["GroupFullResSample: not supported", "dense_sample True: not supported"],
    "tsn_r50-in1k-pre_8xb16-1x1x6-100e_mit-rgb": ["MultiScaleCrop.scales (1, 0.8): the scales are", "scale_gap 0: "],
    "tsn_imagenet-pretrained-r50_8xb32-dense-1x1x5-100e_kinetics400-rgb": ["DenseSampleFrames: not supported"],
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb": ["twice_sample True: not", "LinearLR: the rate rises"],
    "tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb": ["depth 101: features are shifted in every block"],
    "tsn_r101_1x1x5_50e_mmit_rgb": ["model.cls_head.loss_cls.loss_weight 160.0: multiplies the rate instead"],
    "tsm_r50_mixup_1x1x8_50e_sthv1_rgb": ["equivalent here: default_hooks", "pretrained torchvision://resnet50: "],
    "tsn_r50_1x1x8_50e_hmdb51_kinetics400_rgb": ["RandomResizedCrop: not", "checkpoint_config", "gpu_ids range"],
}  # fmt: skip


def made(config: str, peer: str, out: Path) -> list[str]:
    """Return the lines about a configuration that is written to the folder."""
    out.mkdir()
    return convert(config, peer, out, None, None)


def given(name: str, folder: Path) -> tuple[str, str]:
    """Return (the file of a configuration, its project)."""
    if name not in PADDLEVIDEO:
        return str(write(folder, name)), "mmaction2"
    path = folder / "configs" / "given.yaml"
    path.parent.mkdir()
    path.write_text(as_yaml(PADDLEVIDEO[name].tree()))
    return str(path), "paddlevideo"


def flat(config: Config, keys: dict) -> dict:
    return {key: getattr(getattr(config, key.split(".")[0].lower()), key.split(".")[1]) for key in keys}


def test_a_dozen_of_each_project_are_converted():
    assert len(PADDLEVIDEO) >= 12 and len(EXPECTED) - len(PADDLEVIDEO) >= 12 and EXPECTED.keys() >= PADDLEVIDEO.keys()
    assert {*EXPECTED, *mmaction2_configs.REFUSED} == {*PADDLEVIDEO, *mmaction2_configs.CONFIGS}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_configurations(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = made(*given(name, tmp_path), Path("out"))
    expected = {key: value for part in EXPECTED[name] for key, value in part.items()}
    assert flat(load_config("out/config.yaml"), expected) == expected
    for text in SAID.get(name, []):
        assert any(text in line for line in lines), text
    written = Path("out/config.yaml").read_text().replace("\n# ", " ")
    assert all(line in written for line in lines[1:-1]) and lines[-1].startswith("python train.py --config=out/config")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("flow", ["model.backbone.in_channels 10: ", "optical flow"]),
        ("flow_by_its_colours", ["model.data_preprocessor.mean: ", "optical flow"]),
        ("nl_gaussian", ["model.backbone.non_local ((0, 0, 0), (1, 0, 1, 0)): ", "another network"]),
        ("slowfast", ["model.type Recognizer3D: ", "another network"]),
        ("tsn_r50_320p_1x1x8_50e_activitynet_clip_rgb", ["data.train.with_offset True: ", "its own folder"]),
    ],
)
def test_unsupported_networks_and_data_are_one_line(name, why, tmp_path):
    path = write(tmp_path, name)
    with pytest.raises(InputError) as error:
        convert(str(path), "mmaction2", tmp_path / "out", None, None)
    says(error.value, f"{path}: ", *why, "TSN, TSM, PP-TSN, PP-TSM and PP-TSMv2", "RGB", "docs/migration.md")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, "MODEL.framework Recognizer3D: another network or task; supported are "),
        ({"framework": "Recognizer2D"}, "MODEL.backbone.name ResNetSlowFast: another network; supported are "),
        ({"framework": None}, "MODEL.framework None: another network or task; supported are "),
    ],
)
def test_other_networks_of_paddlevideo(change, why, tmp_path):
    path = tmp_path / "slowfast.yaml"
    path.write_text(as_yaml(SLOWFAST | {"MODEL": SLOWFAST["MODEL"] | change}))
    with pytest.raises(InputError) as error:
        convert(str(path), "paddlevideo", tmp_path / "out", None, None)
    assert str(error.value).startswith(f"{path}: {why}")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("epochs", "many", "epochs many: TRAIN.epoch takes a whole number from 1 to 1000000, not many"),
        ("DATASET.batch_size", [1], "DATASET.batch_size: expected a number"),
        ("DATASET.batch_size", 1e9, "DATASET.batch_size 1000000000.0: TRAIN.batch_size takes a whole number"),
        (
            "MODEL.head.drop_ratio",
            1,
            "MODEL.head.drop_ratio 1: MODEL.dropout takes a number from 0, below 1, not 1",
        ),
        ("MODEL.backbone.depth", 14, "MODEL.backbone.depth 14: MODEL.num_layers takes one of 18, 34, 50, 101, 152"),
        ("DATASET.train.format", "SFVideoDataset", "DATASET.train.format SFVideoDataset: another kind of data"),
        ("OPTIMIZER.momentum", True, "OPTIMIZER.momentum True: TRAIN.momentum takes a number"),
        ("PIPELINE.train", 3, None),
        ("OPTIMIZER", [1, {"a": 2}], None),
        ("DATASET", "x", None),
    ],
)
def test_values_that_our_keys_refuse(key, value, why, tmp_path):
    tree = yaml.safe_load(as_yaml(PADDLEVIDEO["tsm_k400_videos, 71329cff"].tree()))
    *parts, last = key.split(".")
    place = tree
    for part in parts:
        place = place[part]
    place[last] = value
    (tmp_path / "x.yaml").write_text(as_yaml(tree))
    if why is None:  # left out, because it is not a section
        made(str(tmp_path / "x.yaml"), "paddlevideo", tmp_path / "out")
        return
    with pytest.raises(InputError) as error:
        made(str(tmp_path / "x.yaml"), "paddlevideo", tmp_path / "out")
    assert str(error.value).startswith(f"{tmp_path / 'x.yaml'}: {why}")


RATE = "OPTIMIZER.learning_rate"


@pytest.mark.parametrize(
    ("changes", "keys", "said"),
    [
        ({"MODEL.backbone.data_format": "NHWC"}, {"TRAIN.channels_last": True}, ""),
        ({"PIPELINE.test.sample.linspace_sample": True}, {"TEST.sampling": "linspace"}, ""),
        ({"PIPELINE.test.transform": [{"Scale": {"short_size": 224}}, {"UniformCrop": {"target_size": 224}}]},
         {"TEST.crops": 3, "TEST.short_size": 224}, ""),
        ({"PIPELINE.train.sample.seg_len": 4, "PIPELINE.train.transform": []}, {"TRAIN.flip": False},
         "seg_len 4: one frame of each segment"),
        ({RATE: 0.003}, {"TRAIN.learning_rate": 0.003, "TRAIN.learning_rate_decay": 1}, ""),
        ({f"{RATE}.values": [0.1, 0.01, 0.005]}, {"TRAIN.learning_rate": 0.1, "TRAIN.learning_rate_decay": 0.1},
         f"{RATE}.values: every milestone multiplies the rate by TRAIN.learning_rate_decay, 0.1"),
        ({RATE: {"name": "CustomWarmupPiecewiseDecay"}}, {}, "CustomWarmupPiecewiseDecay: not supported: set"),
        ({"OPTIMIZER.name": "Adam", "OPTIMIZER.weight_decay": 0.1}, {"TRAIN.l2_weight_decay": 0.1},
         "OPTIMIZER.name Adam: not supported: the optimizer is Momentum"),
        ({"OPTIMIZER.weight_decay": {"name": "L1", "value": 0.1}}, {}, "weight_decay.value 0.1"),
        ({"MIX": {"name": "Cutmix", "alpha": 0.2}}, {"TRAIN.mixup_alpha": 0}, "MIX.name Cutmix: not supported: "),
        ({"GRADIENT_ACCUMULATION": {"global_batch_size": 1024}}, {"TRAIN.accumulate_steps": 8}, ""),
        ({"output_dir": "runs/x", "val_interval": 5}, {"TRAIN.save_dir": "runs/x"}, "--valid_interval=5"),
        ({"MODEL.backbone.pretrained": ""}, {"TRAIN.pretrain": "none"}, ""),
    ],
)  # fmt: skip
def test_other_keys_of_paddlevideo(changes, keys, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = yaml.safe_load(as_yaml(PADDLEVIDEO["tsm_k400_videos, 71329cff"].tree()))
    for key, value in changes.items():
        *parts, last = key.split(".")
        place = tree
        for part in parts:
            place = place[part]
        place[last] = value
    Path("x.yaml").write_text(as_yaml(tree))
    lines = made("x.yaml", "paddlevideo", Path("out"))
    assert flat(load_config("out/config.yaml"), keys) == keys and any(said in line for line in lines)


WRAPPER = "optim_wrapper = dict(_delete_=True, optimizer=dict(type='{}', lr=0.1), {})"


@pytest.mark.parametrize(
    ("line", "keys", "said"),
    [
        ("model = dict(backbone=dict(frozen_stages=1, norm_eval=True, norm_cfg=dict(type='SyncBN')))",
         {"TRAIN.freeze_stages": 2, "TRAIN.freeze_batch_norm": True, "TRAIN.sync_batch_norm": True}, ""),
        ("model = dict(backbone=dict(frozen_stages=-1))", {"TRAIN.freeze_stages": 0}, ""),
        ("model = dict(cls_head=dict(label_smooth_eps=0.1, num_classes=2, "
         "loss_cls=dict(type='CrossEntropyLoss', class_weight=[1, 2])))",
         {"TRAIN.label_smoothing": 0.1, "TRAIN.class_weights": (1, 2)}, ""),
        ("custom_hooks = [dict(type='EMAHook', momentum=0.001), dict(type='EarlyStoppingHook', patience=3)]",
         {"TRAIN.ema": 0.999, "TRAIN.patience": 3}, ""),
        ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='RandomErasing', erase_prob=0.25), dict("
         "type='PytorchVideoWrapper', op='RandAugment', magnitude=7, num_layers=4), dict(type='ColorJitter')]))",
         {"TRAIN.random_erasing": 0.25, "TRAIN.rand_augment": 4, "TRAIN.rand_augment_magnitude": 7},
         "pipeline.ColorJitter: not supported, left out"),
        ("model = dict(data_preprocessor=dict(mean=[0, 0, 0], std=[255, 255, 255], to_bgr=True))",
         {"MODEL.image_mean": (0, 0, 0), "MODEL.image_std": (1, 1, 1)}, "model.data_preprocessor: colours stay RGB"),
        (WRAPPER.format("SGD", "type='AmpOptimWrapper', accumulative_counts=4"),
         {"TRAIN.amp": "O1", "TRAIN.accumulate_steps": 4, "TRAIN.momentum": 0, "TRAIN.clip_gradient_norm": 0}, ""),
        (WRAPPER.format("AdamW", "paramwise_cfg=dict(x=1)"), {"TRAIN.learning_rate": 0.1}, "type AdamW: not"),
        (WRAPPER.format("SGD", "constructor='TSMOptimWrapperConstructor', paramwise_cfg=dict(fc_lr5=False)"),
         {"TRAIN.classifier_learning_rate": 1, "TRAIN.no_decay_on_bn_and_bias": True}, ""),
        ("param_scheduler = dict(type='CosineAnnealingLR', T_max=90, eta_min=0.001)", {"TRAIN.schedule": "cosine"},
         "falls to 0 over all epochs with the warm-up; in mmaction2, from begin to 0.001"),
        ("param_scheduler = []", {"TRAIN.learning_rate_decay": 1, "TRAIN.schedule": "steps"}, ""),
        ("param_scheduler = [dict(type='PolyLR')]", {}, "PolyLR: not supported: set TRAIN.schedule and"),
        ("param_scheduler = [dict(type='LinearLR', start_factor=0.1, end=500, by_epoch=False)]",
         {"TRAIN.warmup_epochs": 0}, "end 500: counts steps, but TRAIN.warmup_epochs counts epochs: left out"),
        ("train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=9)", {"TRAIN.epoch": 45},
         "train_cfg.max_epochs: not given: TRAIN.epoch has its default"),
        ("auto_scale_lr = dict(enable=True, base_batch_size=64)",
         {"TRAIN.learning_rate_batch": 64, "TRAIN.batch_size": 64}, "--gpus=2"),
        ("train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=3, dataset=dict("
         "type='VideoDataset', ann_file='x', pipeline=[dict(type='Resize', scale=(340, 256), keep_ratio=False)])))",
         {"TRAIN.short_size": 256, "TRAIN.keep_aspect_ratio": False}, "times 3: an epoch reads the list once"),
        ("randomness = dict(seed=7)", {"TRAIN.seed": 7}, ""),
        ("load_from = 'mmcls://resnet50'", {"TRAIN.pretrain": "resnet50"}, "such addresses are not supported"),
    ],
)  # fmt: skip
def test_other_keys_of_mmaction2(line, keys, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path(), "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb")
    path = mmaction2_configs.FOLDER / "own.py"
    path.write_text(f"_base_ = 'tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py'\n{line}\n")
    lines = made(str(path), "mmaction2", Path("out"))
    assert flat(load_config("out/config.yaml"), keys) == keys and any(said in line for line in lines)


def test_a_cosine_of_0_x_with_a_warm_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(Path(), "tsm_r50_video_1x1x8_50e_kinetics400_rgb")
    warm = "warmup='linear', warmup_iters=4, warmup_by_epoch=True, warmup_ratio=0.1"
    path.write_text(path.read_text() + f"lr_config = dict(policy='CosineAnnealing', min_lr=0, {warm})\nfp16 = dict()\n")
    made(str(path), "mmaction2", Path("out"))
    keys = {
        "TRAIN.schedule": "cosine",
        "TRAIN.warmup_epochs": 4,
        "TRAIN.warmup_learning_rate": 0.002,
        "TRAIN.amp": "O1",
    }
    assert flat(load_config("out/config.yaml"), keys) == keys


def test_lists_and_labels_come_with_a_configuration_far_from_their_folder(tmp_path):
    """The project is in another folder than this repository. Prefix, suffix and label file are converted."""
    project, name = tmp_path / "project", "tsm_ucf101_videos, 71329cff"
    config = Path(given(name, project_folder(project))[0])
    (project / "clips/A b.avi").write_bytes(b"x")
    tree = yaml.safe_load(config.read_text())
    for part in ("train", "valid", "test"):
        tree["DATASET"][part] |= {"data_prefix": "clips", "file_path": f"{'val' if part != 'train' else part}.txt"}
    tree["MODEL"]["head"]["num_classes"] = 2
    config.write_text(as_yaml(tree))
    (project / "train.txt").write_text("A b 0\n/elsewhere/c 1\n")
    (project / "labels.txt").write_text("0 apply lipstick\n1 archery\n")
    flags = ["--from=paddlevideo", config, f"--labels={project / 'labels.txt'}", "--out=out", "--gpus=1"]
    ended = run_script("tools/convert", *map(str, flags), cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "out/train.list").read_text() == f"{project}/clips/A b.avi 0\n/elsewhere/c.avi 1\n"
    assert json.loads((tmp_path / "out/kinetics_labels.json").read_text()) == ["apply lipstick", "archery"]
    assert sorted(os.listdir(tmp_path / "out")) == ["config.yaml", "kinetics_labels.json", "train.list"]
    ours = load_config(tmp_path / "out/config.yaml")
    assert (ours.train.filelist, ours.valid.filelist, ours.train.batch_size) == ("out/train.list", "val.txt", 16)
    lines = ended.stdout.splitlines()
    assert lines[1:3] == [
        f"out/train.list: 2 videos of {project}/train.txt, 1 of them missing",
        f"out/kinetics_labels.json: 2 names of {project}/labels.txt",
    ]
    assert "DATASET.valid.file_path val.txt: no such file: VALID.filelist keeps the path" in lines
    (tmp_path / "out/config.yaml").write_text("MODEL: {}\n")
    refused = run_script("tools/convert", *map(str, flags), cwd=tmp_path)
    assert refused.returncode == 2
    says(refused.stderr, "error: --out out: ", "config.yaml", "not made by tools/convert.py", "another folder")


def project_folder(project: Path) -> Path:
    (project / "clips").mkdir(parents=True)
    return project


def test_folders_of_frames_keep_their_three_columns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, _ = given("pptsm_lcnet_k400_8frames_uniform, ce179097", tmp_path)
    (tmp_path / "data/k400/rawframes/a/b").mkdir(parents=True)
    (tmp_path / "data/k400/train.list").write_text("a/b 250 3\nc/d 90 1\n")
    lines = made(config, "paddlevideo", tmp_path / "out")
    below = "data/k400/rawframes"
    assert (tmp_path / "out/train.list").read_text() == f"{below}/a/b 250 3\n{below}/c/d 90 1\n"
    config = load_config("out/config.yaml")
    assert (config.train.data_prefix, config.valid.data_prefix, config.train.format) == ("", below, "frames")
    assert any(line.endswith("2 videos of data/k400/train.list, 1 of them missing") for line in lines)


def test_lines_that_would_have_to_be_run_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb")
    more = "import os\nopen('made', 'w')\ntrain_cfg = dict(max_epochs=int('7'))\nload_from = os.environ['HOME']\n"
    path.write_text(path.read_text() + more + "optim_wrapper['optimizer']['lr'] = 1 / 0\n")
    lines = made(str(path), "mmaction2", tmp_path / "out")
    config = load_config(tmp_path / "out/config.yaml")
    assert (config.train.epoch, config.train.learning_rate) == (45, 0.01) and not Path("made").exists()
    assert "train_cfg.max_epochs int('7'): would have to be run, left out: set TRAIN.epoch" in lines
    assert "load_from os.environ['HOME']: would have to be run, left out: set TRAIN.pretrain" in lines
    for text in ("import os", "open('made', 'w')", "optim_wrapper['optimizer']['lr'] = 1 / 0"):
        assert any(
            line.startswith("left out, because it would have to be run: ") and line.endswith(text) for line in lines
        )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0 abseiling\n1 air drumming\n", ["abseiling", "air drumming"]),
        ("abseiling\nair drumming\n\n", ["abseiling", "air drumming"]),
        ("\ufeff0 跳舞\r\n1 a\r\n", ["跳舞", "a"]),
        ("0 a\n2 b\n", ("labels.txt:2: ", "expected '1 NAME'", "'2 b'")),
        ("0 a\nb\n", ("labels.txt:2: ", "expected '1 NAME'", "'b'")),
        ("a\n\x1b[2J\n", ("labels.txt:2: ", "expected a name", "'\\x1b[2J'")),
        ("\n\n", ("labels.txt: ", "empty")),
        (None, ("labels.txt: ", "the label list", "No such file or directory")),
    ],
)
def test_label_files(text, names, tmp_path, monkeypatch):
    from tools.peers.peer_lists import read_peer_labels

    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("labels.txt").write_text(text)
    if isinstance(names, list):
        assert read_peer_labels("labels.txt") == names
    else:
        with pytest.raises(InputError) as error:
            read_peer_labels("labels.txt")
        says(error.value, *names)
