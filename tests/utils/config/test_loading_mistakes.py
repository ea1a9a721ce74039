"""The exact line that each mistake in a configuration gets, and what hostile files get."""

import random
import time
from pathlib import Path

import pytest

from utils.config.loading import load_config
from utils.config.strict_yaml import MAX_BYTES
from utils.errors import InputError

ORIGINAL = Path(__file__).parents[2] / "configs" / "original_tsn_dist_and_dali.yaml"


def error(path, flags=None, sets=()) -> str:
    with pytest.raises(InputError) as caught:
        load_config(path, flags, sets)
    message = str(caught.value)
    assert "\n" not in message and message.isprintable()
    return message


BAD_FILES = [
    # names
    ("TRAIN:\n    lerning_rate: 0.1\n", "x.yaml:2: unknown key TRAIN.lerning_rate; did you mean learning_rate?"),
    ("TRAIN:\n    Batch_Size: 8\n", "x.yaml:2: unknown key TRAIN.Batch_Size; did you mean batch_size?"),
    ("TEST:\n\n    seg_nun: 8\n", "x.yaml:3: unknown key TEST.seg_nun; did you mean seg_num?"),
    ("TEST:\n    num_classes: 8\n", "x.yaml:2: unknown key TEST.num_classes; it belongs to MODEL"),
    ("VALID:\n    precision: auto\n", "x.yaml:2: unknown key VALID.precision; it belongs to TEST or INFER"),
    ("MODEL:\n    epoch: 8\n", "x.yaml:2: unknown key MODEL.epoch; it belongs to TRAIN"),
    (
        "MODEL:\n    zzz: 8\n",
        "x.yaml:2: unknown key MODEL.zzz; the keys of MODEL are name, format, filename_tmpl, "
        "data_prefix, num_classes, labels, seg_num, seglen, image_mean, image_std, backbone, num_layers, dropout, "
        "topk, decoder, sampling, resize, keep_aspect_ratio, crops, average",
    ),
    ("TRIAN:\n    epoch: 8\n", "x.yaml:1: unknown section TRIAN; did you mean TRAIN?"),
    ("MODEL:\ntrain:\n    epoch: 8\n", "x.yaml:2: unknown section train; did you mean TRAIN?"),
    ("SOLVER:\n", "x.yaml:1: unknown section SOLVER; the sections are MODEL, TRAIN, VALID, TEST, INFER"),
    ("epoch: 8\n", "x.yaml:1: unknown section epoch; the sections are MODEL, TRAIN, VALID, TEST, INFER"),
    ("3: 8\n", "x.yaml:1: unknown section 3; the sections are MODEL, TRAIN, VALID, TEST, INFER"),
    ("MODEL:\n    topk: 3\n    seglen: 1\n    topk: 7\n", "x.yaml:4: duplicate key topk, first given at x.yaml:2"),
    ("MODEL:\n    seg_num: 3\n\nMODEL:\n    topk: 3\n", "x.yaml:4: duplicate key MODEL, first given at x.yaml:1"),
    ("TRAIN:\n    use_dali: 1\n    use_dali: 2\n", "x.yaml:3: duplicate key use_dali, first given at x.yaml:2"),
    # types
    ("TRAIN:\n    batch_size: yes\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not yes"),
    ("TRAIN:\n    batch_size: True\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not True"),
    ('TRAIN:\n    batch_size: "3"\n', 'x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not "3"'),
    ("TRAIN:\n    batch_size: 3.0\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not 3.0"),
    ("TRAIN:\n    batch_size: 1e2\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not 1e2"),
    ("TRAIN:\n    batch_size: 010\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not 010"),
    ("TRAIN:\n    batch_size: 1:30\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not 1:30"),
    ("TRAIN:\n    batch_size: [8]\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not [8]"),
    ("TRAIN:\n    batch_size:\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not nothing"),
    ("TRAIN:\n    batch_size: null\n", "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not null"),
    (
        "TRAIN:\n    batch_size:\n        global: 8\n",
        "x.yaml:2: TRAIN.batch_size: expected a whole number from 1 to 65536, not global: 8",
    ),
    ("TRAIN:\n    learning_rate: 0,1\n", "x.yaml:2: TRAIN.learning_rate: expected a number above 0, not 0,1"),
    ('TRAIN:\n    learning_rate: "0.1"\n', 'x.yaml:2: TRAIN.learning_rate: expected a number above 0, not "0.1"'),
    ("TRAIN:\n    learning_rate: true\n", "x.yaml:2: TRAIN.learning_rate: expected a number above 0, not true"),
    ("TRAIN:\n    use_gpu: 1\n", "x.yaml:2: TRAIN.use_gpu: expected True or False, not 1"),
    ("TRAIN:\n    use_gpu: 'True'\n", "x.yaml:2: TRAIN.use_gpu: expected True or False, not 'True'"),
    ("TRAIN:\n    use_gpu: maybe\n", "x.yaml:2: TRAIN.use_gpu: expected True or False, not maybe"),
    ("TEST:\n    filelist: 12\n", "x.yaml:2: TEST.filelist: expected a text that is not empty, not 12"),
    ("TEST:\n    filelist: ''\n", "x.yaml:2: TEST.filelist: expected a text that is not empty, not ''"),
    ("TEST:\n    filelist: [a, b]\n", "x.yaml:2: TEST.filelist: expected a text that is not empty, not [a, b]"),
    ('TEST:\n    filelist: "a\\0b"\n', 'x.yaml:2: TEST.filelist: expected a text that is not empty, not "a\\0b"'),
    ('TEST:\n    filelist: "\\uD800"\n', 'x.yaml:2: TEST.filelist: expected a text that is not empty, not "\\uD800"'),
    ("TEST:\n  filelist: |\n   a\n   b\n", "x.yaml:2: TEST.filelist: expected a text that is not empty, not | a b"),
    ("MODEL:\n    name: '  '\n", "x.yaml:2: MODEL.name: expected a text that is not empty, not ' '"),
    ("MODEL:\n    format: video\n", "x.yaml:2: MODEL.format: expected one of mp4, pkl, frames, not video"),
    ("MODEL:\n    format: [mp4]\n", "x.yaml:2: MODEL.format: expected one of mp4, pkl, frames, not [mp4]"),
    ("MODEL:\n    decoder: av\n", "x.yaml:2: MODEL.decoder: expected one of auto, pyav, decord, opencv, not av"),
    ("INFER:\n    precision: 8\n",
     "x.yaml:2: INFER.precision: expected one of auto, float32, bfloat16, float16, int8, not 8"),
    ("MODEL:\n    num_layers: 51\n", "x.yaml:2: MODEL.num_layers: expected one of 18, 34, 50, 101, 152, not 51"),
    ("MODEL:\n    num_layers: 50.0\n", "x.yaml:2: MODEL.num_layers: expected one of 18, 34, 50, 101, 152, not 50.0"),
    ("MODEL:\n    num_layers: '50'\n", "x.yaml:2: MODEL.num_layers: expected one of 18, 34, 50, 101, 152, not '50'"),
    ("TRAIN:\n    crops: 10\n", "x.yaml:2: TRAIN.crops: expected 1, not 10"),
    ("TEST:\n    crops: 5\n", "x.yaml:2: TEST.crops: expected one of 1, 3, 10, not 5"),
    ("MODEL:\n    crops: True\n", "x.yaml:2: MODEL.crops: expected one of 1, 3, 10, not True"),
    ("MODEL:\n    average: '1'\n", "x.yaml:2: MODEL.average: expected one of logits, probabilities, not '1'"),
    ("INFER:\n    sampling: 3\n", "x.yaml:2: INFER.sampling: expected one of segment, uniform, linspace, not 3"),
    ("VALID:\n    resize: cv2\n", "x.yaml:2: VALID.resize: expected one of pillow, opencv, not cv2"),
    ("TRAIN:\n    multi_scale_crop: 10\n", "x.yaml:2: TRAIN.multi_scale_crop: expected one of none, 5, 13, not 10"),
    ("TRAIN:\n    multi_scale_crop: '5'\n", "x.yaml:2: TRAIN.multi_scale_crop: expected one of none, 5, 13, not '5'"),
    ("VALID:\n    multi_scale_crop: 5\n", "x.yaml:2: unknown key VALID.multi_scale_crop; it belongs to TRAIN"),
    # ranges
    ("MODEL:\n    seg_num: 0\n", "x.yaml:2: MODEL.seg_num: expected a whole number from 1 to 1000, not 0"),
    ("TEST:\n    seg_num: -7\n", "x.yaml:2: TEST.seg_num: expected a whole number from 1 to 1000, not -7"),
    ("MODEL:\n    topk: 0\n", "x.yaml:2: MODEL.topk: expected a whole number from 1 up, not 0"),
    (
        "TRAIN:\n    num_reader_threads: all\n",
        "x.yaml:2: TRAIN.num_reader_threads: expected auto, or a whole number from 1 to 256, not all",
    ),
    (
        "TEST:\n    num_reader_threads: 0\n",
        "x.yaml:2: TEST.num_reader_threads: expected auto, or a whole number from 1 to 256, not 0",
    ),
    ("TRAIN:\n    seed: -1\n", "x.yaml:2: TRAIN.seed: expected a whole number from 0 to 2147483647, not -1"),
    ("TRAIN:\n    momentum: 1\n", "x.yaml:2: TRAIN.momentum: expected a number from 0, below 1, not 1"),
    ("TRAIN:\n    momentum: -0.1\n", "x.yaml:2: TRAIN.momentum: expected a number from 0, below 1, not -0.1"),
    ("TRAIN:\n    learning_rate: 0\n", "x.yaml:2: TRAIN.learning_rate: expected a number above 0, not 0"),
    ("TRAIN:\n    l2_weight_decay: -1e-4\n", "x.yaml:2: TRAIN.l2_weight_decay: expected a number from 0 up, not -1e-4"),
    ("TRAIN:\n    max_unreadable: 1.5\n", "x.yaml:2: TRAIN.max_unreadable: expected a number from 0 to 1, not 1.5"),
    (
        f"TRAIN:\n    buf_size: {'9' * 5000}\n",
        f"x.yaml:2: TRAIN.buf_size: expected a whole number from 1 to 1000000, not {'9' * 77}...",
    ),
    # not finite
    ("TRAIN:\n    learning_rate: .nan\n", "x.yaml:2: TRAIN.learning_rate: expected a number above 0, not .nan"),
    ("TRAIN:\n    learning_rate: .inf\n", "x.yaml:2: TRAIN.learning_rate: expected a number above 0, not .inf"),
    ("TRAIN:\n    learning_rate: 1e999\n", "x.yaml:2: TRAIN.learning_rate: expected a number above 0, not 1e999"),
    ("TRAIN:\n    learning_rate: nan\n", "x.yaml:2: TRAIN.learning_rate: expected a number above 0, not nan"),
    # colours
    (
        "MODEL:\n    image_mean: [0.5, 0.5]\n",
        "x.yaml:2: MODEL.image_mean: expected a list of three numbers, each from -1000 to 1000, not [0.5, 0.5]",
    ),
    (
        "MODEL:\n    image_mean: 0.5\n",
        "x.yaml:2: MODEL.image_mean: expected a list of three numbers, each from -1000 to 1000, not 0.5",
    ),
    (
        "MODEL:\n    image_mean: [0.5, x, 0.5]\n",
        "x.yaml:2: MODEL.image_mean: expected a list of three numbers, each from -1000 to 1000, not [0.5, x, 0.5]",
    ),
    (
        "VALID:\n    image_mean:\n        - 0\n        - [1]\n        - {a: b}\n",
        "x.yaml:2: VALID.image_mean: expected a list of three numbers, each from -1000 to 1000, not - 0 - [1] - {a: b}",
    ),
    (
        "MODEL:\n    image_std: [0.2, 0, 0.2]\n",
        "x.yaml:2: MODEL.image_std: expected a list of three numbers, each above 0 to 1000, not [0.2, 0, 0.2]",
    ),
    (
        "MODEL:\n    image_std: [0.2, .inf, 0.2]\n",
        "x.yaml:2: MODEL.image_std: expected a list of three numbers, each above 0 to 1000, not [0.2, .inf, 0.2]",
    ),
    # milestones
    (
        "TRAIN:\n    milestones: 40\n",
        "x.yaml:2: TRAIN.milestones: expected a list of rising whole numbers from 1 up, not 40",
    ),
    (
        "TRAIN:\n    milestones: []\n",
        "x.yaml:2: TRAIN.milestones: expected a list of rising whole numbers from 1 up, not []",
    ),
    (
        "TRAIN:\n    milestones: [40, 40]\n",
        "x.yaml:2: TRAIN.milestones: expected a list of rising whole numbers from 1 up, not [40, 40]",
    ),
    (
        "TRAIN:\n    milestones: [80, 40]\n",
        "x.yaml:2: TRAIN.milestones: expected a list of rising whole numbers from 1 up, not [80, 40]",
    ),
    (
        "TRAIN:\n    milestones: [0, 40]\n",
        "x.yaml:2: TRAIN.milestones: expected a list of rising whole numbers from 1 up, not [0, 40]",
    ),
    (
        "TRAIN:\n    milestones: [1.5]\n",
        "x.yaml:2: TRAIN.milestones: expected a list of rising whole numbers from 1 up, not [1.5]",
    ),
    (
        "TRAIN:\n    milestones: [true]\n",
        "x.yaml:2: TRAIN.milestones: expected a list of rising whole numbers from 1 up, not [true]",
    ),
    (
        "TRAIN:\n    milestones: [[1]]\n",
        "x.yaml:2: TRAIN.milestones: expected a list of rising whole numbers from 1 up, not [[1]]",
    ),
    # flip_pairs
    *(
        (
            f"TRAIN:\n    flip_pairs: {value}\n",
            "x.yaml:2: TRAIN.flip_pairs: expected a list of pairs of classes, each by its name or number, none of them "
            f"twice, not {value}",
        )
        for value in ("[1, 2]", "[[1, 2, 3]]", "[[left, right], [left, up]]", "[[1.5, 2]]")
    ),
    (
        "TRAIN:\n    flip: False\n    flip_pairs: [[1, 2]]\n",
        "x.yaml:3: TRAIN.flip_pairs needs TRAIN.flip True",
    ),
    # together
    (
        "MODEL:\n    format: pkl\nTRAIN:\n    balance_classes: True\n",
        "x.yaml:4: TRAIN.balance_classes needs labels in the list; with format pkl they are in the pickles",
    ),
    (
        "MODEL:\n    format: pkl\nTRAIN:\n    class_weights: balanced\n",
        "x.yaml:4: TRAIN.class_weights needs labels in the list; with format pkl they are in the pickles",
    ),
    (
        "TRAIN:\n    class_weights: balanced\n    balance_classes: True\n",
        "x.yaml:3: class_weights balanced and balance_classes both balance the classes: turn one off",
    ),
    (
        "TRAIN:\n    class_weights: [1, 2]\nMODEL:\n    num_classes: 3\n    topk: 1\n",
        "x.yaml:4: TRAIN.class_weights has 2 numbers, num_classes is 3",
    ),
    *(
        (
            f"TRAIN:\n    class_weights: {value}\n",
            "x.yaml:2: TRAIN.class_weights: expected none, balanced, or a list of a number above 0 for each class, not "
            f"{value}",
        )
        for value in ("even", "[]", "[1, 0]", "[1, balanced]", "2")
    ),
    ("TRAIN:\n    target_size: 300\n", "x.yaml:2: TRAIN: target_size 300 is larger than short_size 256"),
    ("TEST:\n    short_size: 112\n", "x.yaml:2: TEST: target_size 224 is larger than short_size 112"),
    ("VALID:\n    seglen: 5\n", "x.yaml:2: seglen must be the same in TRAIN and VALID"),
    ("TRAIN:\n    image_mean: [0, 0, 0]\n", "x.yaml:2: image_mean must be the same in TRAIN and VALID"),
    # shape of the file
    ("", "x.yaml: the file is empty"),
    ("# only a remark\n", "x.yaml: the file is empty"),
    ("---\n...\n", "x.yaml: the file is empty"),
    ("- MODEL\n", "x.yaml:1: expected sections like `MODEL:`, not - MODEL"),
    ("TSN\n", "x.yaml:1: expected sections like `MODEL:`, not TSN"),
    ("MODEL: 3\n", "x.yaml:1: section MODEL: expected lines `key: value`, not 3"),
    ("MODEL:\n    - seg_num: 3\n", "x.yaml:1: section MODEL: expected lines `key: value`, not - seg_num: 3"),
    ("MODEL:\n    [a, b]: 3\n", "x.yaml:2: a key must be a word"),
    # not YAML
    ("MODEL:\n\tseg_num: 3\n", "x.yaml:2: not valid YAML: a tab; indent with blanks"),
    ("MODEL:\n    image_mean: [0.5, 0.5\n", "x.yaml:3: not valid YAML: expected ',' or ']', but got '<stream end>'"),
    ("MODEL:\n    name: 'TSN\n", "x.yaml:3: not valid YAML: found unexpected end of stream"),
    ("MODEL:\n    seg_num 3\n    topk: 2\n", "x.yaml:3: not valid YAML: mapping values are not allowed here"),
    ("MODEL: a: b\n", "x.yaml:1: not valid YAML: mapping values are not allowed here"),
    (
        "MODEL:\n    seg_num: 3\n  topk: 2\n",
        "x.yaml:3: not valid YAML: expected <block end>, but found '<block mapping start>'",
    ),
    ("MODEL:\n---\nTRAIN:\n", "x.yaml:2: not valid YAML: but found another document"),
    ("MODEL:\n    name: a\x00b\n", "x.yaml:2: not valid YAML: character '\\x00'"),
    ('MODEL:\n    name: "\\UFFFFFFFF"\n', "x.yaml:2: not valid YAML: a number out of range"),
    (b"MODEL:\n    name: \xff\xfe\n", "x.yaml:2: not UTF-8 text"),
    ("MODEL:\n    name: TSN\n".encode("utf-16"), "x.yaml:1: not UTF-8 text"),
    (b"a" * (MAX_BYTES + 1), f"x.yaml: larger than {MAX_BYTES} bytes: not a configuration"),
    # YAML that is not wanted
    ("A: &a 3\nMODEL:\n    seg_num: *a\n", "x.yaml:1: anchors and aliases (& and *) are not accepted"),
    ("MODEL:\n    seg_num: *a\n", "x.yaml:2: anchors and aliases (& and *) are not accepted"),
    (
        "MODEL:\n    <<: {seg_num: 3}\n",
        "x.yaml:2: unknown key MODEL.<<; the keys of MODEL are name, format, filename_tmpl, "
        "data_prefix, num_classes, labels, seg_num, seglen, image_mean, image_std, backbone, num_layers, dropout, "
        "topk, decoder, sampling, resize, keep_aspect_ratio, crops, average",
    ),
    (
        "MODEL:\n    name: !!python/object/apply:os.system ['touch pwned']\n",
        "x.yaml:2: tags are not accepted: tag:yaml.org,2002:python/object/apply:os.system",
    ),
    ("MODEL:\n    seg_num: !!int '3'\n", "x.yaml:2: tags are not accepted: tag:yaml.org,2002:int"),
    ("MODEL: !mine\n    seg_num: 3\n", "x.yaml:1: tags are not accepted: !mine"),
    ("MODEL: " + "[" * 50000, "x.yaml:1: nested deeper than 8 levels"),
]  # fmt: skip


@pytest.mark.parametrize("text, expected", BAD_FILES, ids=range(len(BAD_FILES)))
def test_mistakes_in_the_file(write_config, text, expected):
    assert error(write_config(text)) == expected
    assert sorted(path.name for path in Path().iterdir()) == ["x.yaml"]


@pytest.mark.parametrize(
    "flags, sets, expected",
    [
        ({"TRAIN.batch_size": "x"}, [], "--batch_size=x: expected a whole number from 1 to 65536, not x"),
        ({"TRAIN.batch_size": 0}, [], "--batch_size=0: expected a whole number from 1 to 65536, not 0"),
        ({"TRAIN.batch_size": True}, [], "--batch_size=True: expected a whole number from 1 to 65536, not True"),
        ({"TRAIN.learning_rate": "1e999"}, [], "--learning_rate=1e999: expected a number above 0, not 1e999"),
        ({"TRAIN.learning_rate": float("nan")}, [], "--learning_rate=nan: expected a number above 0, not nan"),
        ({"TRAIN.epoch": "[1"}, [], "--epoch=[1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ({"TEST.use_gpu": "ja"}, [], "--use_gpu=ja: expected True or False, not ja"),
        ({"TEST.use_gpu": "2"}, [], "--use_gpu=2: expected True or False, not 2"),
        ({"INFER.topk": "0"}, [], "--infer_topk=0: expected a whole number from 1 up, not 0"),
        ({"INFER.topk": "401"}, [], "--infer_topk=401: INFER: topk 401 is larger than num_classes 400"),
        ({"INFER.precision": "fp16"}, [],
         "--precision=fp16: expected one of auto, float32, bfloat16, float16, int8, not fp16"),
        ({"MODEL.name": "\x1b[31m"}, [], "--model_name=\\x1b[31m: expected a text that is not empty, not \\x1b[31m"),
        ({}, ["TRAIN.epoch=x"], "--set TRAIN.epoch=x: expected a whole number from 1 to 1000000, not x"),
        ({}, ["TRAIN.epoch="], "--set TRAIN.epoch=: expected a whole number from 1 to 1000000, not nothing"),
        ({}, ["TRAIN.epoch='3'"], "--set TRAIN.epoch='3': expected a whole number from 1 to 1000000, not '3'"),
        ({}, ["TEST.filelist="], "--set TEST.filelist=: expected a text that is not empty, not nothing"),
        ({}, ["TRAIN.epoch"], "--set TRAIN.epoch: expected SECTION.key=value, such as TRAIN.epoch=10"),
        ({}, ["epoch=3"], "--set epoch=3: expected SECTION.key=value, such as TRAIN.epoch=10"),
        ({}, ["train.epoch=3"], "--set train.epoch=3: unknown section train; did you mean TRAIN?"),
        ({}, ["TRAIN.epochs=3"], "--set TRAIN.epochs=3: unknown key TRAIN.epochs; did you mean epoch?"),
        ({}, ["TEST.num_classes=3"], "--set TEST.num_classes=3: unknown key TEST.num_classes; it belongs to MODEL"),
        ({}, ["TRAIN.epoch=a\nb"], "--set TRAIN.epoch=a b: expected a whole number from 1 to 1000000, not a b"),
        ({}, ["TRAIN.epoch=&a 3"], "--set TRAIN.epoch=&a 3: anchors and aliases (& and *) are not accepted"),
        ({}, ["MODEL.num_classes=2", "MODEL.topk=3"], "--set MODEL.topk=3: MODEL: topk 3 is larger than num_classes 2"),
        ({"TRAIN.save_dir": "a\x00b"}, [], "--save_dir=a\\x00b: expected a text that is not empty, not a\\x00b"),
        ({"TRAIN.save_dir": "  "}, [], "--save_dir=: expected a text that is not empty, not nothing"),
        ({"TRAIN.batch_size": 8}, ["TRAIN.target_size=999"],
         "--set TRAIN.target_size=999: TRAIN: target_size 999 is larger than short_size 256"),
    ],
)  # fmt: skip
def test_mistakes_on_the_command_line(write_config, flags, sets, expected):
    assert error(write_config("MODEL:\n"), flags, sets) == expected


@pytest.mark.parametrize(
    "flags, sets, expected",
    [
        ({"INFER.topk": "4"}, [], "--infer_topk=4: INFER: topk 4 is larger than num_classes 3"),
        ({}, ["INFER.topk=4"], "--set INFER.topk=4: INFER: topk 4 is larger than num_classes 3"),
        ({}, ["MODEL.topk=4"], "--set MODEL.topk=4: MODEL: topk 4 is larger than num_classes 3"),
        ({"INFER.topk": "3"}, ["MODEL.num_classes=2"],
         "--set MODEL.num_classes=2: INFER: topk 3 is larger than num_classes 2"),
    ],
)  # fmt: skip
def test_topk_of_the_command_line_is_not_cut(write_config, flags, sets, expected):
    assert error(write_config("MODEL: {topk: 9, num_classes: 3}\nTEST: {topk: 8}\n"), flags, sets) == expected


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert error("no.yaml") == "no.yaml: cannot be read: No such file or directory"
    Path("folder").mkdir()
    assert error("folder") == "folder: cannot be read: Is a directory"
    Path("loop.yaml").symlink_to("loop.yaml")
    assert error("loop.yaml") == "loop.yaml: cannot be read: Too many levels of symbolic links"
    assert error("/dev/zero") == f"/dev/zero: larger than {MAX_BYTES} bytes: not a configuration"


def test_a_path_that_is_not_ascii(tmp_path):
    path = tmp_path / "配置 é.yaml"
    path.write_text("MODEL:\n    seg_num: x\n")
    assert error(path) == f"{path}:2: MODEL.seg_num: expected a whole number from 1 to 1000, not x"


def test_long_and_multi_line_values_are_cut(write_config):
    assert error(write_config(f"MODEL:\n    seg_num: {'x' * 200}\n")).endswith(f"not {'x' * 77}...")
    assert len(error(write_config(f"MODEL:\n    {'k' * 900}: 3\n"))) < 350


def test_aliases_that_would_blow_up_are_refused_at_once(write_config):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert error(write_config("\n".join(lines))) == "x.yaml:1: anchors and aliases (& and *) are not accepted"


@pytest.mark.parametrize("value", ["9" * 90_000 + "x", "[" + "1," * 45_000 + "]", "_" * 90_000, "1e" + "9" * 90_000])
def test_long_values_take_no_time(write_config, value):
    path, start = write_config(f"TRAIN:\n    epoch: {value}\n"), time.process_time()
    assert error(path).startswith("x.yaml:2: TRAIN.epoch: expected a whole number from 1 to 1000000, not ")
    assert time.process_time() - start < 10  # quadratic work would take minutes


def test_garbage_gets_one_line_and_never_another_exception(write_config):
    """Bit flips, cuts and splices of a real file: it loads, or an InputError says why."""
    chance = random.Random(0)
    source = ORIGINAL.read_bytes()
    pieces = b"&a *a !!python/name:id [ { ] } , %TAG \x85 \xe2\x80\xa8 \xff \xef\xbb\xbf ... # ' \" \\ ` @ \0".split()
    pieces += [b"\t", b"? ", b"- ", b": ", b'"\\x', b"|\n", b"---\n", b"9" * 400]
    loaded, start = 0, time.process_time()
    for _ in range(150):
        data = bytearray(source)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[place] ^= 1 << chance.randrange(8)
                case 1:
                    data[place:place] = chance.choice(pieces)
                case 2:
                    del data[place : place + chance.randint(1, 40)]
                case 3:
                    data = data[: place + 1]
        try:
            load_config(write_config(bytes(data)))
            loaded += 1
        except InputError as caught:
            assert "\n" not in str(caught)
    assert 0 < loaded < 150
    assert time.process_time() - start < 30
