"""Convert the steps of mmaction2's pipelines: frame sampling, frame size, crops."""

from tools.peers.peer_keys import AUTO, Ours, Theirs

_DECODERS = ("DecordInit", "PyAVInit", "OpenCVInit")
_CROPS = {"CenterCrop": 1, "ThreeCrop": 3, "TenCrop": 10}
# Steps without a key of ours, because they leave nothing to choose.
_ALWAYS = set("DecordDecode PyAVDecode OpenCVDecode RawFrameDecode FrameSelector FormatShape PackActionInputs".split())
_ALWAYS |= {"Normalize", "Collect", "ToTensor"}
_SCALES = (1, 0.875, 0.75, 0.66)


def read_pipeline(line: Theirs, ours: Ours, section: str) -> None:
    """Fill in a section's keys. Raises InputError for optical flow, and for values that our keys do not accept."""
    cut, mirrored = False, 0.0
    for step in line.parts():
        kind = step.ask("type").word
        if kind in _DECODERS:
            ours.say(kind, AUTO)
            step.ask()
        elif kind == "FormatShape" and "Flow" in str(step.at("input_format").value):
            raise ours.refuse(step.at("input_format"), "optical flow")
        elif kind in _ALWAYS:
            step.ask()
        elif kind.endswith("SampleFrames"):
            _sample(step, ours, section)
        elif kind == "Resize":
            _resize(step, ours, section, cut)
        elif kind in _CROPS and section != "TRAIN":
            cut = True
            _crop(step, ours, section)
        elif kind == "MultiScaleCrop":
            cut = True
            _multi_scale(step, ours)
        elif kind in ("RandomCrop", "CenterCrop"):
            cut = True
            ours.put(
                f"{section}.target_size", step.ask(), step.at("size" if kind == "RandomCrop" else "crop_size").value
            )
        elif kind == "RandomResizedCrop":
            cut = True
            ours.say(step.ask(), "not supported: a random square of target_size is cut from the resized frame")
        elif kind == "RandomErasing" and section == "TRAIN":
            ours.put("TRAIN.random_erasing", step.ask(), ours.number(step.at("erase_prob"), 0.5))
            ours.say(kind, "one box per clip becomes noise")
        elif kind == "PytorchVideoWrapper" and step.at("op").value == "RandAugment" and section == "TRAIN":
            ours.put("TRAIN.rand_augment", step.ask(), ours.number(step.at("num_layers"), 2))
            ours.put("TRAIN.rand_augment_magnitude", step.at("magnitude"))
        elif kind == "Flip":
            share = ours.number(step.ask("flip_ratio"), 0.5)
            mirrored = share if section == "TRAIN" else mirrored
            if section == "TRAIN" and share not in (0, 0.5):
                ours.say(step.at("flip_ratio"), "half of the clips are mirrored")
            _exchange(step.ask("flip_label_map"), ours)
            step.ask()
        else:
            ours.say(step.ask(), "not supported, left out")
    if section == "TRAIN" and line.value is not None:
        ours.put("TRAIN.flip", line, mirrored > 0)


def _sample(step: Theirs, ours: Ours, section: str) -> None:
    kind, length = step.at("type"), step.ask("clip_len")
    ours.put(f"{section}.seg_num", step.ask("num_clips"))
    ours.put(f"{section}.sampling", step, "uniform")
    if kind.value != "SampleFrames":
        ours.say(str(kind.value), "not supported: segments cover the whole video, as with SampleFrames")
    if length.value not in (None, 1):
        ours.say(length, "one frame of each segment")
    if step.ask("twice_sample").value:
        ours.say(step.at("twice_sample"), "not supported: frames are sampled once")
    step.ask()


def _resize(step: Theirs, ours: Ours, section: str, cut: bool) -> None:
    """Convert a resize: of the frame if it comes before the crop, of the crop if it comes after."""
    scale, keeps = step.ask("scale"), step.at("keep_ratio").value is not False
    given = scale.value if isinstance(scale.value, list | tuple) else ()
    sides = [side for side in given if type(side) is int and side > 0]
    if step.at("interpolation").value not in (None, "bilinear"):
        ours.say(step.at("interpolation"), "bilinear")
    step.ask()
    if not sides:
        ours.say(scale, f"expected sides in pixels: set {section}.short_size")
    elif cut:
        ours.put(f"{section}.target_size", scale, min(sides))
    else:
        ours.put(f"{section}.short_size", scale, min(sides))
        ours.put(f"{section}.resize", scale, "opencv")
        ours.put(f"{section}.keep_aspect_ratio", scale, keeps)
        if not keeps:
            ours.say(scale, "frames become 4:3")
        elif len(sides) == 2 and -1 not in given:
            ours.say(scale, "the short side is resized to the smaller number")


def _crop(step: Theirs, ours: Ours, section: str) -> None:
    size, crops = step.at("crop_size"), _CROPS[step.at("type").value]
    value = size.value[0] if isinstance(size.value, list | tuple) and size.value else size.value
    if crops != 3:
        ours.put(f"{section}.target_size", size, value)
    elif value != ours.values[section].get("short_size"):
        ours.say(size, "three crops have the side short_size")
    ours.put(f"{section}.crops", step.ask(), crops)


def _multi_scale(step: Theirs, ours: Ours) -> None:
    size, scales = step.at("input_size"), step.at("scales").value
    ours.put("TRAIN.target_size", size, size.value[0] if isinstance(size.value, list | tuple) and size.value else None)
    ours.put("TRAIN.multi_scale_crop", step, 13 if step.at("num_fixed_crops").value == 13 else 5)
    if scales is not None and tuple(scales if isinstance(scales, list | tuple) else ()) != _SCALES:
        ours.say(step.at("scales"), f"the scales are {_SCALES}")
    if step.at("max_wh_scale_gap").value not in (None, 1):
        ours.say(step.at("max_wh_scale_gap"), "sides are at most one scale apart")
    if step.at("random_crop").value:
        ours.say(step.at("random_crop"), "crops have fixed places")
    step.ask()


def _exchange(pairs: Theirs, ours: Ours) -> None:
    """Convert the classes that a mirrored clip exchanges. The peer's dictionary has both directions."""
    if not isinstance(pairs.value, dict):
        return
    both = {(min(a, b), max(a, b)) for a, b in pairs.value.items() if type(a) is int and type(b) is int}
    if any(pairs.value.get(b) != a or pairs.value.get(a) != b for a, b in both) or 2 * len(both) != len(pairs.value):
        ours.say(pairs, "left out: expected pairs of classes that replace each other: set TRAIN.flip_pairs")
    else:
        ours.put("TRAIN.flip_pairs", pairs, sorted(both))
