"""Real configurations of PaddleVideo: their facts, read at the given commits, as trees for YAML."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

MEAN_STD = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
END = [{"Image2Array": None}, {"Normalization": MEAN_STD}]
CV2 = {"short_size": 256, "fixed_ratio": False, "do_round": True, "backend": "cv2"}
RATIO, FOUR_THIRDS = {"short_size": 256, "fixed_ratio": False}, {"short_size": 256}
FIVE_PLACES = {"target_size": 224, "allow_duplication": True, "more_fix_crop": False, "backend": "cv2"}


def steps(*given: tuple[str, dict | None]) -> list[dict]:
    """Return the steps of a transform, with those that end it."""
    return [{name: arguments} for name, arguments in given] + END


PPTSM_TRAIN = steps(
    ("Scale", FOUR_THIRDS), ("MultiScaleCrop", {"target_size": 256}), ("RandomCrop", {"target_size": 224}),
    ("RandomFlip", None),
)  # fmt: skip
TSM_TRAIN = steps(("MultiScaleCrop", {"target_size": 224, "allow_duplication": True}), ("RandomFlip", None))
CENTRE_FOUR_THIRDS = steps(("Scale", FOUR_THIRDS), ("CenterCrop", {"target_size": 224}))
CENTRE_RATIO = steps(("Scale", RATIO), ("CenterCrop", {"target_size": 224}))
CENTRE_CV2 = steps(("Scale", CV2), ("CenterCrop", {"target_size": 224, "do_round": False}))
TEN = steps(("Scale", CV2), ("TenCrop", {"target_size": 224}))
DENSE_TEST = steps(("Scale", FOUR_THIRDS), ("GroupFullResSample", {"crop_size": 224}))


def piecewise(boundaries: list[int], first: float, decay: float | None, clip: float | None) -> dict:
    values = [round(first * 0.1**i, 8) for i in range(len(boundaries) + 1)]
    rate = {"name": "PiecewiseDecay", "boundaries": boundaries, "values": values}
    given: dict = {"name": "Momentum", "momentum": 0.9, "learning_rate": rate}
    if decay:
        given["weight_decay"] = {"name": "L2", "value": decay}
    return given | ({"grad_clip": {"name": "ClipGradByGlobalNorm", "value": clip}} if clip else {})


def cosine(epochs: int, start: float, base: float) -> dict:
    rate = {
        "iter_step": True, "name": "CustomWarmupCosineDecay", "max_epoch": epochs, "warmup_epochs": 10,
        "warmup_start_lr": start, "cosine_base_lr": base,
    }  # fmt: skip
    decay = {"name": "L2", "value": 0.0001}
    return {"name": "Momentum", "momentum": 0.9, "learning_rate": rate, "weight_decay": decay, "use_nesterov": True}


@dataclass(frozen=True)
class Paddle:
    """The facts of a YAML file of PaddleVideo."""

    backbone: dict
    head: dict
    lists: tuple[str, str]  # of training, of validation and test
    pipelines: tuple[list, list, list]
    optimizer: dict
    epochs: int
    name: str
    batches: tuple[int, ...] = (16,)  # training; validation; test
    segments: tuple[int, int] = (8, 8)  # in training and validation; in test
    frames: bool = False
    prefix: str | None = None
    suffix: str | None = None
    backend: str | None = None
    sample: Mapping[str, object] = ()  # of all three
    test_sample: Mapping[str, object] | None = None
    more: Mapping[str, object] = ()

    def tree(self) -> dict:
        names = ("batch_size", "valid_batch_size", "test_batch_size")
        data: dict = dict(zip(names, self.batches)) | {"num_workers": 4}
        for part, path in zip(("train", "valid", "test"), (*self.lists, self.lists[1])):
            data[part] = {"format": "FrameDataset" if self.frames else "VideoDataset", "file_path": path}
            if self.prefix is not None:
                data[part] |= {"data_prefix": self.prefix, "suffix": self.suffix or "img_{:05}.jpg"}
        lines = {}
        for part, transform in zip(("train", "valid", "test"), self.pipelines):
            decode = {"name": "FrameDecoder" if self.frames else "VideoDecoder"}
            own = self.test_sample if part == "test" and self.test_sample is not None else self.sample
            number = self.segments[part == "test"]
            sample = {"name": "Sampler", "num_seg": number, "seg_len": 1, "valid_mode": part != "train", **dict(own)}
            lines[part] = {
                "decode": decode | ({"backend": self.backend} if self.backend else {}),
                "sample": sample,
                "transform": transform,
            }
        return {
            "MODEL": {"framework": "Recognizer2D", "backbone": self.backbone, "head": self.head},
            "DATASET": data,
            "PIPELINE": lines,
            "OPTIMIZER": self.optimizer,
            "METRIC": {"name": "CenterCropMetric"},
            **dict(self.more),
            "model_name": self.name,
            "epochs": self.epochs,
            "log_level": "INFO",
        }


def head(name: str, classes: int, drop: float, std: float, ls_eps: float | None = None) -> dict:
    given = {"name": name, "num_classes": classes, "in_channels": 2048, "drop_ratio": drop, "std": std}
    return given | ({"ls_eps": ls_eps} if ls_eps else {})


RESNET = {"name": "ResNet", "pretrained": "data/ResNet50_pretrain.pdparams", "depth": 50}
RESNET_TSM = {"name": "ResNetTSM", "pretrained": "data/ResNet50_pretrain.pdparams", "num_seg": 8, "depth": 50}
UCF_TSM = RESNET_TSM | {"pretrained": "data/TSM_k400.pdparams"}
TWEAKS_TSM = {"name": "ResNetTweaksTSM", "pretrained": "data/ResNet50_vd_ssld_v2_pretrained.pdparams", "depth": 50}
TWEAKS_TSN = {"name": "ResNetTweaksTSN", "pretrained": "data/ResNet50_vd_ssld_v2_pretrained.pdparams", "layers": 50}
LCNET = {"name": "PPTSM_v2", "pretrained": "data/PPLCNetV2_base_ssld_pretrained.pdparams", "class_num": 400}
VIDEOS, FRAMES = (
    ("data/k400/train.list", "data/k400/val.list"),
    ("data/k400_frames/train.list", "data/k400_frames/val.list"),
)
UCF = tuple(f"data/ucf101/ucf101_{part}_split_1_%s.txt" for part in ("train", "val"))
UCF_VIDEOS, UCF_FRAMES = (tuple(path % kind for path in UCF) for kind in ("videos", "rawframes"))
LEFT = {"select_left": True}
PRECISE = {"PRECISEBN": {"preciseBN_interval": 5, "num_iters_preciseBN": 200}}
MIXUP = {"MIX": {"name": "Mixup", "alpha": 0.2}}
INFER_TSN = {"INFERENCE": {"name": "ppTSN_Inference_helper", "num_seg": 25, "target_size": 224}}
INFER_TSM = {"INFERENCE": {"name": "ppTSM_Inference_helper", "num_seg": 8, "target_size": 224}}
PPTSN_TRAIN = steps(("Scale", CV2), ("MultiScaleCrop", FIVE_PLACES | {"more_fix_crop": True}), ("RandomFlip", None))
TSN_TRAIN = steps(("Scale", CV2), ("MultiScaleCrop", FIVE_PLACES), ("RandomFlip", None))
PPTSM_HEAD, PPTSN_HEAD = head("ppTSMHead", 400, 0.5, 0.01, 0.1), head("ppTSNHead", 400, 0.4, 0.01, 0.1)
TSN_K400 = Paddle(
    RESNET, head("TSNHead", 400, 0.4, 0.01), VIDEOS, (TSN_TRAIN, CENTRE_CV2, TEN),
    piecewise([40, 80], 0.01, 1e-4, 40.0), 100, "TSN", (32, 32, 1), (3, 25), backend="decord", sample=LEFT,
    more=INFER_TSN | {"log_interval": 20, "save_interval": 10, "use_gpu": False, "use_npu": True},
)  # fmt: skip
PPTSM = Paddle(
    TWEAKS_TSM, PPTSM_HEAD, VIDEOS, (PPTSM_TRAIN, CENTRE_FOUR_THIRDS, CENTRE_FOUR_THIRDS), cosine(80, 0.005, 0.01),
    80, "ppTSM", more=INFER_TSM | MIXUP | PRECISE | {"log_interval": 10},
)  # fmt: skip
PADDLEVIDEO = {
    "tsn_k400_videos, 0314ce2f": TSN_K400,
    "tsn, 2791324e": Paddle(
        RESNET | {"pretrained": "data/ResNet50/ppcls.pdparams"}, head("TSNHead", 101, 0.2, 0.01), UCF_FRAMES,
        (steps(("Scale", FOUR_THIRDS), ("RandomCrop", {"target_size": 224}), ("RandomFlip", None)), CENTRE_FOUR_THIRDS,
         CENTRE_FOUR_THIRDS), piecewise([30, 60], 0.001, 1e-4, None), 80, "TSN", (32, 32), (3, 25), True, "",
        more={"EVALUATION": {"interval": 5, "function": "topk", "topk": "(1,5)"}, "log_interval": 20},
    ),
    "tsm_k400_videos, 71329cff": Paddle(
        RESNET_TSM, head("TSMHead", 400, 0.5, 0.001), VIDEOS, (TSM_TRAIN, CENTRE_RATIO, CENTRE_RATIO),
        piecewise([20, 40], 0.02, 1e-4, 20.0), 50, "TSM", sample=LEFT, more=INFER_TSM | {"log_interval": 20},
    ),
    "tsm_ucf101_frames, 13204c9d": Paddle(
        UCF_TSM, head("TSMHead", 101, 0.8, 0.001), UCF_FRAMES, (TSM_TRAIN, CENTRE_RATIO, CENTRE_RATIO),
        piecewise([10, 20], 0.001, None, 20.0), 25, "TSM", frames=True, prefix="", sample=LEFT,
    ),
    "tsm_ucf101_videos, 71329cff": Paddle(
        UCF_TSM, head("TSMHead", 101, 0.8, 0.001), UCF_VIDEOS, (TSM_TRAIN, CENTRE_RATIO, CENTRE_RATIO),
        piecewise([10, 20], 0.001, None, 20.0), 25, "TSM", prefix="", suffix=".avi", backend="cv2", sample=LEFT,
    ),
    "pptsm (TSMHead), 13db84f8": Paddle(
        TWEAKS_TSM | {"pretrained": "./ResNet50_vd_ssld_v2_pretrained.pdparams"}, head("TSMHead", 101, 0.5, 0.01),
        UCF_FRAMES, (PPTSM_TRAIN, CENTRE_FOUR_THIRDS, CENTRE_FOUR_THIRDS), piecewise([40, 60], 0.01, 2e-4, None), 80,
        "ppTSM", frames=True, prefix="", more=PRECISE | {"log_interval": 20, "resume_from": ""},
    ),
    "pptsm_k400_videos_uniform, 71329cff": PPTSM,
    "pptsm_k400_frames_dense, 45d1fdbe": Paddle(
        TWEAKS_TSM, PPTSM_HEAD, FRAMES, (PPTSM_TRAIN, CENTRE_FOUR_THIRDS, DENSE_TEST), cosine(80, 0.01, 0.02), 80,
        "ppTSM", (16, 16, 1), frames=True, prefix="", test_sample={"dense_sample": True}, more=MIXUP | PRECISE,
    ),
    "pptsm_k400_frames_dense_r101, 21d13e0e": Paddle(
        TWEAKS_TSM | {"pretrained": "data/ResNet101_vd_ssld_pretrained.pdparams", "depth": 101}, PPTSM_HEAD, FRAMES,
        (PPTSM_TRAIN, CENTRE_FOUR_THIRDS, DENSE_TEST), cosine(100, 0.01, 0.02), 100, "ppTSM", (16, 16, 1), frames=True,
        prefix="", test_sample={"dense_sample": True}, more=MIXUP | PRECISE | INFER_TSM,
    ),
    "pptsn_k400_videos, 548cf73e": Paddle(
        TWEAKS_TSN, PPTSN_HEAD, VIDEOS,
        (PPTSN_TRAIN, CENTRE_CV2, steps(("Scale", RATIO | {"backend": "cv2"}), ("TenCrop", {"target_size": 224}))),
        cosine(100, 0.005, 0.01), 100, "ppTSN", (32, 32, 1), (3, 25), backend="decord", sample=LEFT, test_sample={},
        more=MIXUP | INFER_TSN,
    ),
    "pptsm_lcnet_k400_8frames_uniform, ce179097": Paddle(
        LCNET | {"num_seg": 8}, {"name": "MoViNetHead"}, VIDEOS, (PPTSM_TRAIN, CENTRE_FOUR_THIRDS, CENTRE_FOUR_THIRDS),
        cosine(120, 0.005, 0.01), 120, "ppTSMv2", frames=True, prefix="data/k400/rawframes", more=MIXUP | INFER_TSM,
    ),
    "pptsm_lcnet_k400_16frames_uniform, ae970e32": Paddle(
        LCNET | {"num_seg": 16}, {"name": "MoViNetHead"}, VIDEOS, (PPTSM_TRAIN, CENTRE_FOUR_THIRDS, CENTRE_FOUR_THIRDS),
        cosine(120, 0.005, 0.01), 120, "ppTSMv2", segments=(16, 16), frames=True, prefix="data/k400/rawframes",
        more=MIXUP | {"INFERENCE": {"name": "ppTSM_Inference_helper", "num_seg": 16, "target_size": 224}},
    ),
}  # fmt: skip
SLOWFAST = {
    "MODEL": {"framework": "Recognizer3D", "backbone": {"name": "ResNetSlowFast", "depth": 50}},
    "DATASET": {"batch_size": 8, "train": {"format": "SFVideoDataset", "file_path": "./data/k400/train.csv"}},
}  # of slowfast.yaml, 1b15bc25


def as_yaml(tree: dict) -> str:
    """Return the text of a configuration, without PyYAML's anchors for lists that occur twice."""
    return yaml.safe_dump(json.loads(json.dumps(tree)), sort_keys=False)
