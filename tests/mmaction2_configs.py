"""Real configurations of mmaction2, 1.x and 0.x: their facts, read at the given commits, as Python."""

from pathlib import Path


class Raw(str):
    """An expression that is written without quotes."""


def source(value: object) -> str:
    """Return the value in the style of these files."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return "{" + ", ".join(f"{key}: {source(part)}" for key, part in value.items()) + "}"
        return f"dict({', '.join(key + ('' if key.startswith('**') else f'={source(value[key])}') for key in value)})"
    if isinstance(value, list | tuple):
        parts = ", ".join(map(source, value))
        return f"[{parts}]" if isinstance(value, list) else f"({parts},)"
    return repr(value)


def write(folder: Path, name: str) -> Path:
    """Write a configuration and its bases below the folder, and return its path."""
    path = folder / FOLDER / f"{name}.py" if name in CONFIGS else folder / name
    lines = CONFIGS[name] if name in CONFIGS else BASES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} = {source(value)}\n" for key, value in lines.items()))
    bases = lines.get("_base_", [])
    for base in [bases] if isinstance(bases, str) else bases:
        write(folder, base.removeprefix("../../") if base.startswith("../../") else base.removesuffix(".py"))
    return path


FOLDER = Path("recognition/tsn")
TSN, SGD_100, RUNTIME = "../../_base_/models/tsn_r50.py", "../../_base_/schedules/sgd_100e.py", "../../_base_/run.py"
TSM, SGD_50, SGD_TSM = "../../_base_/models/tsm_r50.py", "../../_base_/sgd_50e.py", "../../_base_/sgd_tsm_50e.py"
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
SECOND = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
PLAIN = {"in_channels": 2048, "spatial_type": "avg", "consensus": {"type": "AvgConsensus", "dim": 1}}
TSN_HEAD = {"type": "TSNHead", "num_classes": 400, **PLAIN, "dropout_ratio": 0.4, "init_std": 0.01}
TSM_HEAD = {"type": "TSMHead", "num_classes": 400, **PLAIN, "dropout_ratio": 0.5, "init_std": 0.001, "is_shift": True}
RESNET_TSM = {
    "type": "ResNetTSM", "pretrained": "torchvision://resnet50", "depth": 50, "norm_eval": False, "shift_div": 8,
}  # fmt: skip
LOOP = {"type": "EpochBasedTrainLoop", "max_epochs": 50, "val_begin": 1, "val_interval": 1}


def multi_step(milestones: list[int], end: int) -> dict:
    return {"type": "MultiStepLR", "begin": 0, "end": end, "by_epoch": True, "milestones": milestones, "gamma": 0.1}


def sgd(rate: float, decay: float = 1e-4, norm: int = 40) -> dict:
    optimizer = {"type": "SGD", "lr": rate, "momentum": 0.9, "weight_decay": decay}
    return {"optimizer": optimizer, "clip_grad": {"max_norm": norm, "norm_type": 2}}


FC_LR5 = {"constructor": "TSMOptimWrapperConstructor", "paramwise_cfg": {"fc_lr5": True}}
BASES = {
    "_base_/models/tsn_r50.py": {
        "model": {
            "type": "Recognizer2D",
            "backbone": {"type": "ResNet", "pretrained": SECOND, "depth": 50, "norm_eval": False},
            "cls_head": TSN_HEAD | {"average_clips": "prob"},
            "data_preprocessor": {"type": "ActionDataPreprocessor", "mean": MEAN, "std": STD, "format_shape": "NCHW"},
            "train_cfg": None,
            "test_cfg": None,
        }
    },
    "_base_/models/tsm_r50.py": {
        "preprocess_cfg": {"mean": MEAN, "std": STD},
        "model": {
            "type": "Recognizer2D",
            "backbone": RESNET_TSM,
            "cls_head": TSM_HEAD | {"average_clips": "prob"},
            "data_preprocessor": {"type": "ActionDataPreprocessor", "**preprocess_cfg": None},
        },
    },
    "_base_/schedules/sgd_100e.py": {
        "train_cfg": LOOP | {"max_epochs": 100},
        "param_scheduler": [multi_step([40, 80], 100)],
        "optim_wrapper": sgd(0.01),
    },
    "_base_/sgd_50e.py": {
        "train_cfg": LOOP, "param_scheduler": [multi_step([20, 40], 50)], "optim_wrapper": sgd(0.01),
    },
    "_base_/sgd_tsm_50e.py": {
        "train_cfg": LOOP, "param_scheduler": [multi_step([20, 40], 50)], "optim_wrapper": FC_LR5 | sgd(0.01, norm=20),
    },
    "_base_/run.py": {
        "default_scope": "mmaction",
        "default_hooks": {
            "logger": {"type": "LoggerHook", "interval": 20, "ignore_last": False},
            "checkpoint": {"type": "CheckpointHook", "interval": 1, "save_best": "auto"},
        },
        "env_cfg": {"cudnn_benchmark": False, "dist_cfg": {"backend": "nccl"}},
        "log_level": "INFO",
        "load_from": None,
    },
}  # fmt: skip


def pipeline(clips: int, *crop: dict, sampler: str = "SampleFrames", video: bool = True, **more: object) -> list[dict]:
    """Return a pipeline of 1.x. more: arguments of its sampler."""
    sample = {"type": sampler, "clip_len": 1, "frame_interval": 1, "num_clips": clips, **more}
    first = [{"type": "DecordInit", "**file_client_args": None}] if video else []
    decode = {"type": "DecordDecode" if video else "RawFrameDecode"}
    last = [{"type": "FormatShape", "input_format": "NCHW"}, {"type": "PackActionInputs"}]
    return [*first, sample, decode, {"type": "Resize", "scale": (-1, 256)}, *crop, *last]


def multi_scale(**more: object) -> list[dict]:
    crop = {"type": "MultiScaleCrop", "input_size": 224, "scales": (1, 0.875, 0.75, 0.66), "random_crop": False}
    return [crop | {"max_wh_scale_gap": 1} | more, {"type": "Resize", "scale": (224, 224), "keep_ratio": False}]


FLIP, THIRTEEN = {"type": "Flip", "flip_ratio": 0.5}, {"num_fixed_crops": 13}
CENTRE, TEN = {"type": "CenterCrop", "crop_size": 224}, {"type": "TenCrop", "crop_size": 224}
THREE, RANDOM = {"type": "ThreeCrop", "crop_size": 256}, [{"type": "RandomResizedCrop"}, multi_scale()[1]]


def loaders(batch: int, root: str, lists: tuple[str, str], frames: bool = False, **more: object) -> dict:
    """Return the data of a file of 1.x: variables, and the loaders that use them."""
    found: dict = {"dataset_type": "RawframeDataset" if frames else "VideoDataset", "data_root": root}
    found |= {"ann_file_train": lists[0], "ann_file_val": lists[1]}
    for part, size in (("train", batch), ("val", batch), ("test", 1)):
        found[f"{part}_dataloader"] = {
            "batch_size": size,
            "num_workers": 8,
            "persistent_workers": True,
            "sampler": {"type": "DefaultSampler", "shuffle": part == "train"},
            "dataset": {
                "type": Raw("dataset_type"),
                "ann_file": Raw(f"ann_file_{'train' if part == 'train' else 'val'}"),
                "data_prefix": {"img" if frames else "video": Raw("data_root")},
                **more,
                "pipeline": Raw(f"{part}_pipeline"),
            },
        }
    return found | {"val_evaluator": {"type": "AccMetric"}, "test_evaluator": Raw("val_evaluator")}


def pipelines(train: list[dict], val: list[dict], test: list[dict]) -> dict:
    return {
        "file_client_args": {"io_backend": "disk"},
        "train_pipeline": train,
        "val_pipeline": val,
        "test_pipeline": test,
    }


def only_pipelines() -> dict:
    """Return the changes of a child to the loaders of its base."""
    return {
        f"{part}_dataloader": {"dataset": {"pipeline": Raw(f"{part}_pipeline")}} for part in ("train", "val", "test")
    }


def old(
    batch: int, kind: str, lists: tuple[str, str], root: str, clips: int, crop: list[dict], test: dict, **more: object
) -> dict:
    """Return the data of a file of 0.x, whose pipelines normalise frames. more: keys of each data set."""
    norm = {"type": "Normalize", "**img_norm_cfg": None}
    last = [norm, {"type": "FormatShape", "input_format": "NCHW"}]
    last += [{"type": "Collect", "keys": ["imgs", "label"], "meta_keys": []}, {"type": "ToTensor", "keys": ["imgs"]}]
    init = [{"type": "DecordInit"}] if kind == "VideoDataset" else []
    decode = {"type": "DecordDecode" if init else "RawFrameDecode"}
    sample = {"type": "SampleFrames", "clip_len": 1, "frame_interval": 1, "num_clips": clips}
    start = [*init, sample, decode, {"type": "Resize", "scale": (-1, 256)}]
    found: dict = {"dataset_type": kind, "img_norm_cfg": {"mean": MEAN, "std": STD, "to_bgr": False}}
    found |= {"train_pipeline": [*start, *crop, FLIP, *last]}
    found |= {"val_pipeline": [*start, test, {"type": "Flip", "flip_ratio": 0}, *last]}
    data: dict = {"videos_per_gpu": batch, "workers_per_gpu": 4}
    for part, path in (("train", lists[0]), ("val", lists[1]), ("test", lists[1])):
        line = Raw("train_pipeline" if part == "train" else "val_pipeline")
        data[part] = {"type": Raw("dataset_type"), "ann_file": path, "data_prefix": root, "pipeline": line}
        data[part] |= more
    return found | {"data": data}


K400 = tuple(f"data/kinetics400/kinetics400_{part}_list_videos.txt" for part in ("train", "val"))
TINY = tuple(f"data/kinetics400_tiny/kinetics_tiny_{part}_video.txt" for part in ("train", "val"))
SSV2 = tuple(f"data/sthv2/sthv2_{part}_list_videos.txt" for part in ("train", "val"))
SSV1 = tuple(f"data/sthv1/sthv1_{part}_list_rawframes.txt" for part in ("train", "val"))
MIT = tuple(f"data/mit/mit_{part}_list_videos.txt" for part in ("train", "val"))
ANET = tuple(f"data/ActivityNet/anet_{part}_clip.txt" for part in ("train", "val"))
MMIT = tuple(f"data/mmit/mmit_{part}_list_rawframes.txt" for part in ("train", "val"))
K400_ROOT, SSV2_FLIPS = "data/kinetics400/videos_train", {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
WARM = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": True, "begin": 0, "end": 5}
HOOKS = {"checkpoint": {"interval": 3, "max_keep_ckpts": 3}}
TSM_K400 = {
    "_base_": [TSM, RUNTIME],
    **pipelines(pipeline(8, *multi_scale(**THIRTEEN), FLIP), pipeline(8, CENTRE), pipeline(8, TEN)),
    **loaders(16, K400_ROOT, K400), "default_hooks": HOOKS, "train_cfg": LOOP,
    "param_scheduler": [WARM, multi_step([25, 45], 50)], "optim_wrapper": FC_LR5 | sgd(0.02, norm=20),
}  # fmt: skip
TSN_8 = pipelines(pipeline(8, *multi_scale(), FLIP), pipeline(8, CENTRE), pipeline(25, TEN))
ZOO = "https://download.openmmlab.com/mmaction/v1.0/recognition/tsn/"
OLD_ZOO = "https://download.openmmlab.com/mmaction/recognition/"
TINY_WEIGHTS = f"{ZOO}tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb/" + (
    "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb_20220906-cd10898e.pth"
)
CONFIGS: dict[str, dict] = {
    # 834ff609
    "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb": {
        "_base_": [TSN, SGD_100, RUNTIME],
        **pipelines(pipeline(3, *multi_scale(), FLIP), pipeline(3, CENTRE), pipeline(25, TEN)),
        **loaders(32, K400_ROOT, K400), "default_hooks": HOOKS,
    },
    # 0af1878d, somebody's own: two classes, and a batch set behind the loader
    "tsn_tiny_two_classes": {
        "_base_": [TSN, SGD_100, RUNTIME],
        **pipelines(pipeline(3, *multi_scale(), FLIP), pipeline(3, CENTRE), pipeline(25, TEN)),
        **loaders(32, "data/kinetics400_tiny/train", TINY), "train_dataloader['batch_size']": 4,
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 1}},
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 10, "val_interval": 1},
        "param_scheduler": [multi_step([4, 8], 10)], "model": {"cls_head": {"num_classes": 2}},
        "load_from": TINY_WEIGHTS, "auto_scale_lr": {"enable": False, "base_batch_size": 256},
    },
    # 14118a32
    "tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb": {
        "_base_": ["tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py"],
        **TSN_8, **only_pipelines(),
    },
    # 14118a32
    "tsn_imagenet-pretrained-r101_8xb32-1x1x8-100e_kinetics400-rgb": {
        "_base_": ["tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb.py"],
        "model": {"backbone": {"pretrained": SECOND.replace("50-11ad3fa6", "101-cd907fc2"), "depth": 101}},
    },
    # 2439d3c6
    "tsn_imagenet-pretrained-r50_8xb32-dense-1x1x5-100e_kinetics400-rgb": {
        "_base_": ["tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py"],
        "model": {"cls_head": {"dropout_ratio": 0.5, "init_std": 0.001}},
        **pipelines(*(pipeline(n, *crop, sampler="DenseSampleFrames") for n, crop in (
            (5, [*multi_scale(**THIRTEEN), FLIP]), (5, [CENTRE]), (25, [CENTRE])))),
        **only_pipelines(), "optim_wrapper": {"optimizer": sgd(0.06)["optimizer"]},
    },
    # 567e9a0b
    "tsn_imagenet-pretrained-r50_8xb32-1x1x8-50e_sthv2-rgb": {
        "_base_": [TSN, SGD_50, RUNTIME], "model": {"cls_head": {"num_classes": 174, "dropout_ratio": 0.5}},
        "sthv2_flip_label_map": SSV2_FLIPS,
        **pipelines(pipeline(8, *multi_scale(), FLIP | {"flip_label_map": Raw("sthv2_flip_label_map")}),
                    pipeline(8, CENTRE), pipeline(25, TEN)),
        **loaders(32, "data/sthv2/videos", SSV2), "default_hooks": HOOKS, "train_cfg": LOOP | {"val_interval": 5},
    },
    # 3d19ef20
    "tsn_r50-in1k-pre_8xb16-1x1x6-100e_mit-rgb": {
        "_base_": [TSN, SGD_100, RUNTIME], "model": {"cls_head": {"num_classes": 339}},
        **pipelines(pipeline(6, *multi_scale(scales=(1, 0.8), max_wh_scale_gap=0), FLIP), pipeline(6, CENTRE),
                    pipeline(6, THREE)),
        **loaders(16, "data/mit/videos/training", MIT), "default_hooks": HOOKS,
    },
    # 7edcb797
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb": TSM_K400,
    # 588732ba
    "tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400-rgb": {
        "_base_": "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb.py",
        "model": {"backbone": {"num_segments": 16}, "cls_head": {"num_segments": 16}},
        **pipelines(pipeline(16, *multi_scale(**THIRTEEN), FLIP), pipeline(16, CENTRE), pipeline(16, TEN)),
        **only_pipelines(),
    },
    # f05b1ddc, 14118a32
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb": TSM_K400 | {
        "model": {"cls_head": {"num_classes": 174, "dropout_ratio": 0.5}},
        **pipelines(pipeline(8, *multi_scale(**THIRTEEN), FLIP), pipeline(8, CENTRE),
                    pipeline(8, TEN, test_mode=True, twice_sample=True)),
        **loaders(16, "data/sthv2/videos", SSV2), "optim_wrapper": FC_LR5 | sgd(0.02, 5e-4, 20),
        "auto_scale_lr": {"enable": False, "base_batch_size": 128},
    },
    # 54182b2b
    "tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb": {
        "_base_": ["tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb.py"],
        "r101_checkpoint": SECOND.replace("50-11ad3fa6", "101-cd907fc2"),
        "model": {"backbone": {"pretrained": Raw("r101_checkpoint"), "depth": 101}},
    },
    # 5fc2469b, between 0.x and 1.x
    "tsm_r50_mixup_1x1x8_50e_sthv1_rgb": {
        "_base_": [SGD_TSM, RUNTIME],
        "model": {
            "type": "Recognizer2D", "backbone": RESNET_TSM,
            "cls_head": TSM_HEAD | {"num_classes": 174, "average_clips": "prob"},
            "train_cfg": {"blending": {"type": "MixupBlending", "num_classes": 174, "alpha": 0.2}}, "test_cfg": None,
        },
        **pipelines(pipeline(8, *multi_scale(**THIRTEEN), video=False), pipeline(8, CENTRE, video=False),
                    pipeline(8, THREE, video=False, twice_sample=True)),
        **loaders(8, "data/sthv1/rawframes", SSV1, True, filename_tmpl="{:05}.jpg"),
        "optimizer": {"weight_decay": 0.0005}, "val_cfg": {"interval": 2},
    },
    # 5441910e; the list's name is put together
    "tsm_k400_pretrained_r50_1x1x8_25e_ucf101_rgb": {
        "_base_": [TSM, SGD_TSM, RUNTIME],
        "model": {"backbone": {"num_segments": 8}, "cls_head": {"num_classes": 101, "num_segments": 8}}, "split": 1,
        **pipelines(*(pipeline(8, *crop, video=False) for crop in (multi_scale(**THIRTEEN), [CENTRE], [CENTRE]))),
        **loaders(12, "data/ucf101/rawframes/", ("", ""), True),
        "param_scheduler": [multi_step([10, 20], 25)], "train_cfg": {"by_epoch": True, "max_epochs": 25},
        "val_cfg": {"interval": 1}, "optimizer": {"lr": 0.0015},
        "load_from": f"{OLD_ZOO}tsm/tsm_r50_20210701-68d582b4.pth",
    },
    # 055a4eac, 0.x
    "tsn_r50_1x1x8_50e_hmdb51_kinetics400_rgb": {
        "model": {
            "type": "Recognizer2D", "cls_head": TSN_HEAD | {"num_classes": 51},
            "backbone": {"type": "ResNet", "pretrained": "torchvision://resnet50", "depth": 50, "norm_eval": False},
        },
        "train_cfg": None, "test_cfg": {"average_clips": None},
        **old(32, "RawframeDataset", ("data/hmdb51/train.txt", "data/hmdb51/val.txt"), "data/hmdb51/rawframes", 8,
              RANDOM, {"type": "CenterCrop", "crop_size": 256}),
        "optimizer": {"type": "SGD", "lr": 0.025, "momentum": 0.9, "weight_decay": 0.0001},
        "optimizer_config": {"grad_clip": {"max_norm": 40, "norm_type": 2}},
        "lr_config": {"policy": "step", "step": [20, 40]}, "total_epochs": 50, "checkpoint_config": {"interval": 5},
        "evaluation": {"interval": 1, "metrics": ["top_k_accuracy"]}, "log_config": {"interval": 20},
        "work_dir": "./work_dirs/tsn_hmdb51/", "resume_from": None, "gpu_ids": Raw("range(0, 1)"),
        "load_from": f"{OLD_ZOO}tsn/tsn_r50_256p_1x1x8_100e_kinetics400_rgb_20200817-883baf16.pth",
    },
    # 88ff0ce5, 0.x
    "tsn_r101_1x1x5_50e_mmit_rgb": {
        "model": {
            "type": "Recognizer2D",
            "backbone": {"type": "ResNet", "pretrained": "torchvision://resnet101", "depth": 101, "norm_eval": False},
            "cls_head": TSN_HEAD | {
                "num_classes": 313, "dropout_ratio": 0.5, "multi_class": True, "label_smooth_eps": 0,
                "loss_cls": {"type": "BCELossWithLogits", "loss_weight": 160.0},
            },
        },
        "train_cfg": None, "test_cfg": {"average_clips": None},
        **old(16, "RawframeDataset", MMIT, "data/mmit/rawframes/training", 5, multi_scale(), CENTRE,
              multi_class=True, num_classes=313),
        "optimizer": {"type": "SGD", "constructor": "TSMOptimizerConstructor", "paramwise_cfg": {"fc_lr5": True},
                      "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0001},
        "optimizer_config": {"grad_clip": {"max_norm": 20, "norm_type": 2}},
        "lr_config": {"policy": "step", "step": [20, 40]}, "total_epochs": 50, "checkpoint_config": {"interval": 5},
        "evaluation": {"interval": 5, "metrics": ["mmit_mean_average_precision"]}, "log_config": {"interval": 20},
        "dist_params": {"backend": "nccl"}, "work_dir": "./work_dirs/tsn_r101_1x1x5_50e_mmit_rgb/", "load_from": None,
        "workflow": [("train", 1)],
    },
    # 0c20e721, 0.x
    "tsm_r50_video_1x1x8_50e_kinetics400_rgb": {
        "model": {"type": "Recognizer2D", "backbone": RESNET_TSM, "cls_head": TSM_HEAD},
        "train_cfg": None, "test_cfg": {"average_clips": "prob"},
        **old(8, "VideoDataset", K400, K400_ROOT, 8, multi_scale(**THIRTEEN), CENTRE),
        "optimizer": {"type": "SGD", "constructor": "TSMOptimizerConstructor", "paramwise_cfg": {"fc_lr5": True},
                      "lr": 0.02, "momentum": 0.9, "weight_decay": 0.0001},
        "optimizer_config": {"grad_clip": {"max_norm": 20, "norm_type": 2}},
        "lr_config": {"policy": "step", "step": [20, 40]}, "total_epochs": 50, "checkpoint_config": {"interval": 5},
        "evaluation": {"interval": 5, "metrics": ["top_k_accuracy"]}, "dist_params": {"backend": "nccl"},
        "work_dir": "./work_dirs/tsm_video/", "load_from": None, "workflow": [("train", 1)],
    },
}  # fmt: skip
CONFIGS["tsm_k400_pretrained_r50_1x1x8_25e_ucf101_rgb"] |= {
    "ann_file_train": Raw("f'data/ucf101/ucf101_train_split_{split}_rawframes.txt'"),
    "ann_file_val": Raw("f'data/ucf101/ucf101_val_split_{split}_rawframes.txt'"),
}
# Networks and inputs that are not here: 63d2456b, ce32a04f, and SlowFast.
REFUSED = {
    # 07ff4bd8, 0.x: lines of its lists are "folder, first frame, frames, label"
    "tsn_r50_320p_1x1x8_50e_activitynet_clip_rgb": {
        "model": {"type": "Recognizer2D", "cls_head": TSN_HEAD | {"num_classes": 200},
                  "backbone": {"type": "ResNet", "pretrained": None, "depth": 50}},
        **old(8, "RawframeDataset", ANET, "data/ActivityNet/rgb", 8, RANDOM, CENTRE, with_offset=True,
              filename_tmpl="image_{:05d}.jpg"),
        "optimizer": {"type": "SGD", "lr": 0.001, "momentum": 0.9, "weight_decay": 0.0001},
    },
    "flow": {
        "_base_": [TSN, RUNTIME], "clip_len": 5, "model": {"backbone": {"in_channels": Raw("2 * clip_len")}},
    },
    "flow_by_its_colours": {
        "_base_": [TSN, RUNTIME], "model": {"data_preprocessor": {"mean": Raw("[128, 128] * 5")}},
    },
    "nl_gaussian": {"_base_": [TSM, RUNTIME], "model": {"backbone": {"non_local": ((0, 0, 0), (1, 0, 1, 0))}}},
    "slowfast": {"model": {"type": "Recognizer3D", "backbone": {"type": "ResNet3dSlowFast"}}},
}  # fmt: skip
CONFIGS |= REFUSED
