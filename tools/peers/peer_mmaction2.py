"""Convert mmaction2's configurations, of 1.x and 0.x. The meaning of its keys is that of release 1.2.0."""

import re

from tools.peers.peer_keys import CLASSIFIER, Ours, Theirs
from tools.peers.peer_lists import Source
from tools.peers.peer_pipeline import read_pipeline

_NETWORKS = {"ResNet": "TSN", "ResNetTSM": "TSM"}
_HEADS = ("TSNHead", "TSMHead")
_INPUT = "optical flow, or another input than RGB"
# Keys of other networks, with the values that switch them off.
_PLAIN = {"non_local": ((0, 0, 0, 0), False), "temporal_pool": (False,), "shift_div": (8,), "partial_bn": (False,)}
# Keys without effect here: how the peer runs, numbers that follow from others, and top-1 and top-5, always computed.
_IGNORED = """
log_level default_scope val_evaluator test_evaluator evaluation train_cfg val_cfg test_cfg auto_scale_lr
default_hooks.checkpoint.type default_hooks.checkpoint.save_best default_hooks.logger.type
model.cls_head.in_channels model.cls_head.spatial_type model.cls_head.consensus model.cls_head.is_shift
model.cls_head.num_segments model.backbone.num_segments model.backbone.norm_cfg model.backbone.with_cp
model.data_preprocessor.type model.data_preprocessor.format_shape
optim_wrapper.clip_grad.norm_type optimizer_config.grad_clip.norm_type
""".split()
# (section, dataloader in 1.x, data set in 0.x)
SECTIONS = (("TRAIN", "train"), ("VALID", "val"), ("TEST", "test"))


def convert(theirs: Theirs, ours: Ours, devices: int) -> dict[str, Source]:
    """Fill in our configuration, and return each section's list. Raises InputError if it is not supported."""
    _network(theirs.at("model"), ours)
    sources = {}
    for section, name in SECTIONS:
        loader, old = theirs.at(f"{name}_dataloader"), theirs.at("data")
        _loader(loader, old, ours, section, name, devices)
        data = loader.at("dataset") if loader.at("dataset").value is not None else old.at(name)
        if data.value is not None:
            sources[section] = _data(data, ours, section)
    _average(theirs, ours)
    _optimizer(theirs, ours)
    _schedule(theirs, ours)
    _weigh(theirs.at("model", "cls_head", "loss_cls", "loss_weight"), ours)
    _running(theirs, ours)
    for name in _IGNORED:
        theirs.ask(*name.split("."))
    return sources


def _network(model: Theirs, ours: Ours) -> None:
    kind, backbone, head = model.ask("type"), model.at("backbone"), model.at("cls_head")
    if kind.value != "Recognizer2D":
        raise ours.refuse(kind, "another network or task")
    name, over = backbone.ask("type"), head.ask("type")
    if name.word not in _NETWORKS:
        raise ours.refuse(name, "another network")
    if over.value not in _HEADS:
        raise ours.refuse(over, "another head")
    for key, values in _PLAIN.items():
        if (part := backbone.ask(key)).value not in (None, *values):
            raise ours.refuse(part, "another network")
    if backbone.ask("in_channels").value not in (None, 3):
        raise ours.refuse(backbone.at("in_channels"), _INPUT)
    ours.put("MODEL.name", name, _NETWORKS[name.value])
    ours.put("MODEL.num_layers", backbone.ask("depth"))
    if _NETWORKS[name.value] == "TSM" and backbone.at("depth").value == 101:
        ours.say(backbone.at("depth"), "features are shifted in every block; mmaction2 shifts in every second one")
    ours.put("MODEL.num_classes", head.ask("num_classes"))
    ratio = head.ask("dropout_ratio")  # if it is missing, the head's own default
    ours.put("MODEL.dropout", ratio, (0.4 if over.value == "TSNHead" else 0.8) if ratio.value is None else None)
    ours.put("TRAIN.label_smoothing", head.ask("label_smooth_eps"))
    if (deviation := head.ask("init_std")).value is not None:
        ours.say(deviation, CLASSIFIER)
    loss = head.at("loss_cls")
    losses = ("BCELossWithLogits", "CrossEntropyLoss") if head.at("multi_class").value else ("CrossEntropyLoss",)
    if (kind := loss.ask("type")).value not in (None, *losses):
        raise ours.refuse(kind, "another loss")
    ours.put("TRAIN.class_weights", loss.ask("class_weight"))
    if head.ask("multi_class").value:
        ours.put("MODEL.labels", head.at("multi_class"), "multi")
    if (stages := ours.number(backbone.ask("frozen_stages"))) is not None and stages >= 0:
        ours.put("TRAIN.freeze_stages", backbone.at("frozen_stages"), stages + 1)
    if backbone.get("norm_eval") is True:
        ours.put("TRAIN.freeze_batch_norm", backbone.at("norm_eval"))
    if backbone.get("norm_cfg", "type") == "SyncBN":
        ours.put("TRAIN.sync_batch_norm", backbone.at("norm_cfg", "type"), True)
    ours.start_from(backbone.ask("pretrained"))
    _colours(model.at("data_preprocessor"), ours)
    blending = model.first(("data_preprocessor", "blending"), ("train_cfg", "blending"))
    if blending.get("type") == "MixupBlending":
        ours.put("TRAIN.mixup_alpha", blending.ask("alpha"))
    elif blending.value is not None:
        ours.say(blending, "not supported: clips are not mixed")


def _colours(given: Theirs, ours: Ours) -> None:
    """Convert mean and deviation of RGB, which the peer gives from 0 to 255."""
    for key, name in (("mean", "image_mean"), ("std", "image_std")):
        values = (part := given.ask(key)).value
        if values is None:
            continue
        if not isinstance(values, list | tuple) or len(values) != 3:
            raise ours.refuse(part, _INPUT)
        numbers = [ours.number(one) for one in part.parts()]
        ours.put(f"MODEL.{name}", part, None if None in numbers else [round(number / 255, 6) for number in numbers])
    if given.get("to_bgr") or given.get("to_rgb") is False:
        ours.say(given, "colours stay RGB")


def _loader(loader: Theirs, old: Theirs, ours: Ours, section: str, name: str, devices: int) -> None:
    """Convert batch sizes and readers, which the peer gives per GPU."""
    own = old.at(f"{name}_dataloader")
    pairs = {"batch_size": "videos_per_gpu", "num_workers": "workers_per_gpu"}
    for new, key in pairs.items():
        part = next((p for p in (loader.ask(new), own.ask(key), old.ask(key)) if p.value is not None), loader.at(new))
        if (number := ours.number(part)) is None:
            continue
        if new == "batch_size":
            ours.put(f"{section}.batch_size", part, number * (devices if section != "TEST" else 1))
        elif number > 0:
            ours.put(f"{section}.num_reader_threads", part)
    for key in ("persistent_workers", "sampler", "drop_last", "shuffle", "pin_memory"):
        loader.ask(key)


def _data(data: Theirs, ours: Ours, section: str) -> Source:
    """Return the list of a data set, and convert how its videos are read."""
    if data.at("type").value == "RepeatDataset":
        ours.say(data.ask("times"), "an epoch reads the list once: multiply TRAIN.epoch by this")
        data.ask("type")
        data = data.at("dataset")
    kind = data.ask("type")
    if kind.value not in ("VideoDataset", "RawframeDataset"):
        raise ours.refuse(kind, "another kind of data set")
    if data.ask("modality").value not in (None, "RGB"):
        raise ours.refuse(data.at("modality"), _INPUT)
    if data.ask("with_offset").value:
        raise ours.refuse(data.at("with_offset"), "several clips in a folder of frames: each needs its own folder")
    if data.ask("multi_class").value:
        ours.put("MODEL.labels", data.at("multi_class"), "multi")
    if kind.value == "RawframeDataset":
        ours.put(f"{section}.format", kind, "frames")
        ours.put(f"{section}.filename_tmpl", data.ask("filename_tmpl"))
    read_pipeline(data.at("pipeline"), ours, section)
    normalised = next((step for step in data.at("pipeline").parts() if step.at("type").value == "Normalize"), None)
    if normalised is not None:
        _colours(normalised, ours)
    for key in ("test_mode", "start_index", "num_classes"):
        data.ask(key)
    prefix = data.first(("data_prefix", "video"), ("data_prefix", "img"), ("data_prefix",)).word
    delimiter = data.ask("delimiter").word or " "
    return Source(data.ask("ann_file"), prefix, frames=kind.value != "VideoDataset", delimiter=delimiter)


def _average(theirs: Theirs, ours: Ours) -> None:
    way = theirs.first(("model", "cls_head", "average_clips"), ("model", "test_cfg", "average_clips"),
                       ("test_cfg", "average_clips"))  # fmt: skip
    if ours.values["MODEL"]["name"] == "TSM":
        ours.put("MODEL.average", way, "logits" if way.value == "score" else "probabilities")


def _optimizer(theirs: Theirs, ours: Ours) -> None:
    new = theirs.at("optim_wrapper")
    wrapper = new if new.value is not None else theirs
    given = wrapper.at("optimizer")
    if (kind := given.ask("type")).value != "SGD":
        ours.say(kind, "not supported: the optimizer is Momentum")
    ours.put("TRAIN.learning_rate", given.ask("lr"))
    for key, name in (("momentum", "momentum"), ("weight_decay", "l2_weight_decay")):
        part = given.ask(key)
        ours.put(f"TRAIN.{name}", part, 0 if part.value is None else None)
    ours.put("TRAIN.nesterov", given.ask("nesterov"))
    clip = theirs.first(("optim_wrapper", "clip_grad", "max_norm"), ("optimizer_config", "grad_clip", "max_norm"),
                        ("default_hooks", "optimizer", "grad_clip", "max_norm"))  # fmt: skip
    ours.put("TRAIN.clip_gradient_norm", clip)
    ours.put("TRAIN.accumulate_steps", wrapper.ask("accumulative_counts"))
    constructor = next((p for p in (wrapper.ask("constructor"), given.ask("constructor")) if p.value), None)
    if constructor and str(constructor.value).startswith("TSMOptim"):
        five = wrapper.get("paramwise_cfg", "fc_lr5") or given.get("paramwise_cfg", "fc_lr5")
        ours.put("TRAIN.classifier_learning_rate", constructor, 5 if five else 1)
        ours.put("TRAIN.no_decay_on_bn_and_bias", constructor, True)
    elif constructor:
        ours.say(constructor, "not supported: all parameters learn at the same rate")
    if new.get("type") == "AmpOptimWrapper" or theirs.ask("fp16").value is not None:
        ours.put("TRAIN.amp", new.at("type"), "O1")


def _schedule(theirs: Theirs, ours: Ours) -> None:
    epochs = theirs.first(("train_cfg", "max_epochs"), ("total_epochs",), ("runner", "max_epochs"))
    ours.put("TRAIN.epoch", epochs)
    if epochs.value is None:
        ours.say(epochs.name, "not given: TRAIN.epoch has its default")
    rate, old = ours.values["TRAIN"].get("learning_rate", 0.01), theirs.at("lr_config")
    steps = theirs.at("param_scheduler").parts() or (
        [theirs.at("param_scheduler")] if theirs.at("param_scheduler").value else []
    )
    falling = [step for step in steps if step.at("type").value in ("MultiStepLR", "CosineAnnealingLR")]
    for step in steps:
        kind = step.ask("type")
        if kind.value == "LinearLR":
            _warm_up(
                ours, step, rate, step.ask("start_factor"), step.ask("end"), step.ask("by_epoch").value is not False
            )
            if step.get("convert_to_iter_based") is not True:
                ours.say(step, "the rate rises at every step; in mmaction2, once an epoch")
        elif step in falling:
            _fall(ours, step, "milestones", kind.value == "CosineAnnealingLR", step.ask("eta_min"))
        else:
            ours.say(kind, "not supported: set TRAIN.schedule and TRAIN.milestones")
        for key in ("begin", "end", "by_epoch", "T_max", "convert_to_iter_based"):
            step.ask(key)
    if not steps and old.value is not None:
        policy = old.ask("policy")
        falling = [old] if policy.value in ("step", "CosineAnnealing") else []
        if falling:
            _fall(ours, old, "step", policy.value == "CosineAnnealing", old.ask("min_lr"))
        else:
            ours.say(policy, "not supported: set TRAIN.schedule and TRAIN.milestones")
        if old.get("warmup"):
            factor, by_epoch = old.ask("warmup_ratio"), old.get("warmup_by_epoch") is True
            _warm_up(ours, old, rate, factor, old.ask("warmup_iters"), by_epoch)
    if not falling:
        ours.put("TRAIN.learning_rate_decay", theirs.at("param_scheduler"), 1)


def _fall(ours: Ours, step: Theirs, key: str, cosine: bool, lowest: Theirs) -> None:
    if cosine:
        ours.put("TRAIN.schedule", step, "cosine")
        ours.say(step, f"falls to 0 over all epochs with the warm-up; in mmaction2, from begin to {lowest.value or 0}")
        return
    ours.put("TRAIN.milestones", step.ask(key))
    if step.at(key).value is None:
        ours.say(step, f"no {key}: TRAIN.milestones are after one and two thirds of the epochs")
    ours.put("TRAIN.learning_rate_decay", step.ask("gamma"), 0.1 if step.at("gamma").value is None else None)


def _warm_up(ours: Ours, step: Theirs, rate: float, factor: Theirs, end: Theirs, by_epoch: bool) -> None:
    if not by_epoch:
        ours.say(end, "counts steps, but TRAIN.warmup_epochs counts epochs: left out")
        return
    ours.put("TRAIN.warmup_epochs", end)
    start = ours.number(factor, 0.1 if step.at("policy").value else 1 / 3)
    ours.put("TRAIN.warmup_learning_rate", factor, round(rate * start, 12))


def _weigh(weight: Theirs, ours: Ours) -> None:
    """Get the steps of a configuration that multiplies the loss by a number."""
    factor, train = ours.number(weight.ask()), ours.values["TRAIN"]
    if factor in (None, 1) or factor <= 0 or "learning_rate" not in train:
        return
    for key in ("learning_rate", "warmup_learning_rate"):
        if key in train:
            ours.put(f"TRAIN.{key}", weight, round(train[key] * factor, 12))
    for key in ("l2_weight_decay", "clip_gradient_norm"):
        if train.get(key):
            ours.put(f"TRAIN.{key}", weight, train[key] / factor)
    ours.say(weight, "multiplies the rate instead of the loss, and divides decay and clipping, for the same steps")


def _running(theirs: Theirs, ours: Ours) -> None:
    """Convert initial weights, averages, stopping, and what is written when."""
    load, keep = theirs.ask("load_from"), theirs.at("default_hooks", "checkpoint")
    if load.value is not None:
        ours.start_from(load)
    for hook in theirs.at("custom_hooks").parts():
        if hook.at("type").value == "EMAHook":
            ours.put("TRAIN.ema", hook.ask(), 1 - ours.number(hook.at("momentum"), 0.0002))
        elif hook.at("type").value == "EarlyStoppingHook":
            ours.put("TRAIN.patience", hook.ask(), hook.at("patience").value or 5)
    ours.put("TRAIN.save_dir", theirs.ask("work_dir"))
    if (kept := ours.number(keep.ask("max_keep_ckpts"))) is not None:
        ours.put("TRAIN.keep_checkpoints", keep.at("max_keep_ckpts"), max(kept, 0))
    if theirs.get("auto_scale_lr", "enable") is True:
        ours.put("TRAIN.learning_rate_batch", theirs.ask("auto_scale_lr", "base_batch_size"))
    ours.put("TRAIN.seed", theirs.ask("randomness", "seed"))
    for flag, ways in (
        ("valid_interval", (("train_cfg", "val_interval"), ("evaluation", "interval"), ("val_cfg", "interval"))),
        ("log_interval", (("default_hooks", "logger", "interval"), ("log_config", "interval"))),
    ):
        if type(number := theirs.first(*ways).value) is int and number > 0:
            ours.flags.append(f"--{flag}={number}")


def devices_of(theirs: Theirs, name: str) -> int | None:
    """Return the number of GPUs that the learning rate is for; None unless the file or its name (8xb32) gives it."""
    each, total = theirs.at("train_dataloader", "batch_size").value, theirs.at("auto_scale_lr", "base_batch_size").value
    if type(each) is int and type(total) is int and 0 < each <= total and total % each == 0:
        return total // each
    found = re.search(r"(?:^|_)(\d{1,3})xb\d", name)
    return int(found[1]) if found else None
