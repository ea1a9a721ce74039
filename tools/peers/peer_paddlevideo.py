"""Convert PaddleVideo's configurations. The meaning of its keys is that of release 2.3.1."""

from tools.peers.peer_keys import AUTO, CLASSIFIER, Ours, Theirs
from tools.peers.peer_lists import Source

# Name of the backbone -> MODEL.name, MODEL.backbone, and the TRAIN keys for its parameters' settings.
_FIVE = {"classifier_learning_rate": 5, "no_decay_on_bn_and_bias": True}
_NETWORKS = {
    "ResNet": ("TSN", "resnet", {}),
    "ResNetTSM": ("TSM", "resnet", _FIVE),
    "ResNetTweaksTSN": ("TSN", "resnet_vd", _FIVE),
    "ResNetTweaksTSM": ("TSM", "resnet_vd", _FIVE),
    "PPTSM_v2": ("PPTSMv2", None, {"no_decay_on_bn_and_bias": True}),
}
# Name of the head -> its default dropout. PPTSM_v2's backbone contains its head.
_HEADS = {"TSNHead": 0.4, "ppTSNHead": 0.4, "TSMHead": 0.5, "ppTSMHead": 0.8, "MoViNetHead": 0.2}
SECTIONS = {"train": "TRAIN", "valid": "VALID", "test": "TEST"}


def convert(theirs: Theirs, ours: Ours, devices: int) -> dict[str, Source]:
    """Fill in our configuration, and return each section's list. Raises InputError if it is not supported."""
    _network(theirs.at("MODEL"), ours)
    _numbers(theirs.at("DATASET"), ours, devices)
    sources = {}
    for name, section in SECTIONS.items():
        _pipeline(theirs.at("PIPELINE", name), ours, section)
        if source := _list(theirs.at("DATASET", name), ours, section):
            sources[section] = source
    _optimizer(theirs.at("OPTIMIZER"), ours, theirs.ask("epochs"))
    _mix(theirs.at("MIX"), ours)
    ours.put("INFER.seg_num", theirs.ask("INFERENCE", "num_seg"))
    ours.put("INFER.target_size", theirs.ask("INFERENCE", "target_size"))
    ours.put("TRAIN.save_dir", theirs.ask("output_dir"))
    for name in ("model_name", "METRIC", "EVALUATION", "log_level", "INFERENCE"):
        theirs.ask(name)
    for name in ("log_interval", "val_interval"):
        if type(number := theirs.get(name)) is int and number > 0:
            ours.flags.append(f"--{name.replace('val_', 'valid_')}={number}")
    if theirs.get("use_gpu") is False:
        for section in ("TRAIN", "VALID", "TEST", "INFER"):
            ours.put(f"{section}.use_gpu", theirs.at("use_gpu"))
    if (batch := ours.number(theirs.ask("GRADIENT_ACCUMULATION", "global_batch_size"))) is not None:
        steps = max(1, int(batch // ours.values["TRAIN"].get("batch_size", 256)))
        ours.put("TRAIN.accumulate_steps", theirs.at("GRADIENT_ACCUMULATION"), steps)
    return sources


def _network(model: Theirs, ours: Ours) -> None:
    framework, backbone, head = model.ask("framework"), model.at("backbone"), model.at("head")
    if framework.value != "Recognizer2D":
        raise ours.refuse(framework, "another network or task")
    name, kind = backbone.ask("name"), head.ask("name")
    if name.word not in _NETWORKS or backbone.at("use_temporal_att").value:
        raise ours.refuse(name if name.word not in _NETWORKS else backbone.at("use_temporal_att"), "another network")
    if kind.word not in _HEADS:
        raise ours.refuse(kind, "another head")
    known, variant, settings = _NETWORKS[name.value]
    ours.put("MODEL.name", name, known)
    if variant:
        ours.put("MODEL.backbone", name, variant)
        ours.put("MODEL.num_layers", backbone.first(("depth",), ("layers",)))
    for key, value in settings.items():
        ours.put(f"TRAIN.{key}", name, value)
    ours.put("MODEL.num_classes", model.first(("head", "num_classes"), ("backbone", "class_num")))
    dropout = head.ask("drop_ratio")
    ours.put("MODEL.dropout", dropout, _HEADS[kind.value] if dropout.value is None else None)
    ours.put("TRAIN.label_smoothing", head.ask("ls_eps"))
    if (deviation := head.ask("std")).value is not None:
        ours.say(deviation, CLASSIFIER)
    if "NHWC" in (backbone.get("data_format"), head.get("data_format")):
        ours.put("TRAIN.channels_last", backbone.at("data_format"), True)
    for part, key in ((head, "in_channels"), (backbone, "num_seg"), (backbone, "use_temporal_att")):
        part.ask(key)
    ours.start_from(backbone.ask("pretrained"))


def _numbers(data: Theirs, ours: Ours, devices: int) -> None:
    """Convert batch sizes, given per GPU, and readers. Validation and test default to the training's batch size."""
    each = data.ask("batch_size")
    for section, part in (
        ("TRAIN", each),
        ("VALID", data.ask("valid_batch_size")),
        ("TEST", data.ask("test_batch_size")),
    ):
        own = part if part.value is not None else each
        if (number := ours.number(own)) is not None:
            ours.put(f"{section}.batch_size", own, number * (devices if section != "TEST" else 1))
        if type(workers := data.get("num_workers")) is int and workers > 0:
            ours.put(f"{section}.num_reader_threads", data.at("num_workers"))


def _list(data: Theirs, ours: Ours, section: str) -> Source | None:
    if data.value is None:
        return None
    kind, file, prefix, suffix = (data.ask(key) for key in ("format", "file_path", "data_prefix", "suffix"))
    if kind.value == "FrameDataset":
        ours.put(f"{section}.format", kind, "frames")
        ours.put(f"{section}.filename_tmpl", suffix)
        return Source(file, prefix.word, frames=True)
    if kind.value != "VideoDataset":
        raise ours.refuse(kind, "another kind of data set")
    return Source(file, prefix.word, suffix.word)


def _pipeline(line: Theirs, ours: Ours, section: str) -> None:
    """Convert how a section's videos are read: frames, resize, crops."""
    if line.value is None:
        return
    line.ask("decode", "name")
    if (decoder := line.ask("decode", "backend")).value is not None:
        ours.say(f"decode.backend {decoder.value}", AUTO)
    _sampler(line.at("sample"), ours, section)
    steps = [
        step.at(name) for step in line.at("transform").parts() if isinstance(step.value, dict) for name in step.value
    ]
    kinds = [step.path[-1] for step in steps]
    flips = False
    if section == "TRAIN" and "Scale" not in kinds:
        ours.say(line.at("transform"), "no Scale: frames are resized to a short side of 256 before the crop")
    for step, kind in zip(steps, kinds):
        if kind == "Scale":
            _scale(step, ours, section)
        elif kind == "MultiScaleCrop" and "RandomCrop" in kinds:
            ours.say(step.ask(), "not supported before a RandomCrop, which alone is kept")
        elif kind == "MultiScaleCrop":
            positions = 5 if step.at("more_fix_crop").value is False else 13
            ours.put("TRAIN.multi_scale_crop", step.ask(), positions)
            ours.put("TRAIN.target_size", step.at("target_size"))
            if "Scale" not in kinds and section == "TRAIN":
                ours.put("TRAIN.resize", step, "opencv" if step.at("backend").value == "cv2" else "pillow")
                ours.put("TRAIN.keep_aspect_ratio", step, True)
        elif kind in ("RandomCrop", "CenterCrop", "TenCrop", "UniformCrop"):
            size = step.ask("target_size")
            if kind != "UniformCrop":
                ours.put(f"{section}.target_size", size)
            elif size.value != ours.values[section].get("short_size"):
                ours.say(size, "three crops have the side short_size")
            if section != "TRAIN":
                ours.put(f"{section}.crops", step, {"TenCrop": 10, "UniformCrop": 3}.get(kind, 1))
            step.ask("do_round")
        elif kind == "RandomFlip":
            flips = True
            if (share := step.ask().at("p")).value not in (None, 0.5):
                ours.say(share, "half of the clips are mirrored")
        elif kind == "Image2Array":
            step.ask()
        elif kind == "Normalization":
            ours.put("MODEL.image_mean", step.ask("mean"))
            ours.put("MODEL.image_std", step.ask("std"))
            step.ask()
        else:
            ours.say(step.ask(), "not supported, left out")
    if section == "TRAIN":
        ours.put("TRAIN.flip", line.at("transform"), flips)


def _sampler(sample: Theirs, ours: Ours, section: str) -> None:
    if (name := sample.ask("name")).value != "Sampler":
        ours.say(name, "not supported: frames are chosen as by Sampler")
    ours.put(f"{section}.seg_num", sample.ask("num_seg"))
    ways = "linspace" if sample.get("linspace_sample") else "uniform" if sample.get("select_left") else "segment"
    ours.put(f"{section}.sampling", sample, ways)
    if sample.get("seg_len") not in (None, 1):
        ours.say(sample.at("seg_len"), "one frame of each segment")
    if sample.get("valid_mode") is (section == "TRAIN"):
        ours.say(sample.at("valid_mode"), "TRAIN draws frames at random, the other sections do not")
    for key in ("dense_sample", "frame_interval"):
        if sample.ask(key).value:
            ours.say(sample.at(key), "not supported: segments cover the whole video")


def _scale(step: Theirs, ours: Ours, section: str) -> None:
    cv2, shape = step.get("backend") == "cv2", step.get("fixed_ratio") is False or step.get("keep_ratio") is True
    ours.put(f"{section}.short_size", step.ask("short_size"))
    ours.put(f"{section}.resize", step, "opencv" if cv2 else "pillow")
    ours.put(f"{section}.keep_aspect_ratio", step, shape)
    if shape and not step.get("do_round"):
        ours.say(f"{step.name}.do_round False", "the long side is rounded, which adds a pixel for some sizes")


def _optimizer(given: Theirs, ours: Ours, epochs: Theirs) -> None:
    if (name := given.ask("name")).value not in (None, "Momentum"):
        ours.say(name, "not supported: the optimizer is Momentum")
    ours.put("TRAIN.epoch", epochs)
    ours.put("TRAIN.momentum", given.ask("momentum"))
    ours.put("TRAIN.nesterov", given.ask("use_nesterov"))
    decay, clip = given.at("weight_decay"), given.at("grad_clip")
    if not isinstance(decay.value, dict):
        ours.put("TRAIN.l2_weight_decay", given.ask("weight_decay"), 0 if decay.value is None else None)
    elif decay.ask("name").value == "L2":
        ours.put("TRAIN.l2_weight_decay", decay.ask("value"))
    if clip.ask("name").value == "ClipGradByGlobalNorm":
        ours.put("TRAIN.clip_gradient_norm", clip.ask("value"))
    rate = given.at("learning_rate")
    if not isinstance(rate.value, dict):
        ours.put("TRAIN.learning_rate", given.ask("learning_rate"))
        ours.put("TRAIN.learning_rate_decay", rate, 1)
    elif (schedule := rate.ask("name")).value == "PiecewiseDecay":
        _steps_down(rate, ours)
    elif schedule.value == "CustomWarmupCosineDecay":
        ours.put("TRAIN.schedule", schedule, "cosine")
        ours.put("TRAIN.learning_rate", rate.ask("cosine_base_lr"))
        ours.put("TRAIN.warmup_epochs", rate.ask("warmup_epochs"))
        ours.put("TRAIN.warmup_learning_rate", rate.ask("warmup_start_lr"))
        if rate.get("max_epoch") != epochs.value:
            ours.say(rate.at("max_epoch"), "the cosine ends with TRAIN.epoch")
        if rate.get("iter_step") is not True:
            ours.say(f"{rate.name}.iter_step False", "the rate falls at every step")
    else:
        ours.say(schedule, "not supported: set TRAIN.schedule and TRAIN.learning_rate")


def _steps_down(rate: Theirs, ours: Ours) -> None:
    milestones, values = rate.ask("boundaries"), rate.ask("values")
    ours.put("TRAIN.milestones", milestones)
    given = values.value if isinstance(values.value, list) else []
    if len(given) < 2 or not all(type(value) in (int, float) and value > 0 for value in given):
        ours.say(values, "expected at least two positive rates: set TRAIN.learning_rate")
        return
    ratios = [round(b / a, 6) for a, b in zip(given, given[1:])]
    ours.put("TRAIN.learning_rate", values, given[0])
    ours.put("TRAIN.learning_rate_decay", values, ratios[0])
    if len(set(ratios)) > 1:
        ours.say(values, f"every milestone multiplies the rate by TRAIN.learning_rate_decay, {ratios[0]}")


def _mix(mix: Theirs, ours: Ours) -> None:
    if mix.value is None:
        return
    if (name := mix.ask("name")).value == "Mixup":
        ours.put("TRAIN.mixup_alpha", mix.ask("alpha"))
    else:
        ours.say(name, "not supported: clips are not mixed")
