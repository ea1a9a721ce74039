"""List every flag of the scripts: the scripts that know it, its meaning, its default."""

from collections.abc import Mapping
from dataclasses import dataclass

from utils.config.kinds import Choice, Kind, Number, Text, Truth, Whole

# The configuration section whose keys a script's flags set.
SECTION_OF = {"train": "TRAIN", "eval": "TEST"} | dict.fromkeys(("predict", "export", "serve", "live"), "INFER")
ABOUT = {
    "train": "Train a network on the list of TRAIN, validating on the list of VALID.",
    "eval": "Measure loss, top-1 and top-5 accuracy on the list of TEST.",
    "predict": "Name the classes of one video, or of each video of a folder, of a pattern or on the list of INFER.",
    "export": "Write the network as a folder for inference: uint8 frames in, probabilities out.",
    "serve": "Serve a page to drop a video on, and an endpoint that names its classes.",
    "live": "Name what a camera, a stream or a video shows, every few seconds.",
}
EXAMPLE = {
    "train": "python train.py --config=configs/tsn.yaml --batch_size=32 --set TRAIN.seed=7",
    "eval": "python eval.py --config=configs/tsn.yaml --weights=data/checkpoints/TSN.pdparams",
    "predict": "python predict.py --config=configs/tsn.yaml --video_path=clip.mp4 --infer_topk=5",
    "export": "python export.py --config=configs/tsn.yaml --save_dir=data/inference_model",
    "serve": "python serve.py --config=configs/tsn.yaml --weights=data/checkpoints/TSN.pdparams",
    "live": "python live.py --config=configs/tsn.yaml --weights=data/checkpoints/TSN.pdparams --source=0",
}


@dataclass(frozen=True)
class Flag:
    """A flag.

    `defaults`: its default for each script that has it; None: not given, or the file's value if it has a `key`.
    `kind`: the kind of its values; None: a switch without a value. `load_config` checks the values of keys.
    `key`: the configuration key that it sets: "MODEL.name", or a key of the script's own section such as "batch_size".
    """

    name: str
    meaning: str
    defaults: Mapping[str, object]
    kind: Kind | None = Text()
    key: str = ""

    def key_of(self, script: str) -> str:
        """Return the key that the flag sets for the script, "TRAIN.batch_size"; '' if it sets none."""
        if not self.key or self.defaults[script] is not None:
            return ""
        return self.key if "." in self.key else f"{SECTION_OF[script]}.{self.key}"


def _same(scripts: str, default: object = None) -> dict[str, object]:
    return dict.fromkeys(scripts.split(), default)


SET_MEANING = "any key of the configuration, such as TRAIN.epoch=10; wins over flags and file; repeatable"
_SAVE_DIR = {
    "train": None,  # the file's: two data sets must not overwrite each other's checkpoints
    "eval": "data/evaluate_results",
    "predict": "data/predict_results",
    "export": "data/inference_model",
    "live": "data/live_results",
}
_ALL = "train eval predict export serve live"
FLAGS = (
    Flag("model_name", "the model; upper and lower case are the same", _same(_ALL), key="MODEL.name"),
    Flag("config", "the YAML file", _same(_ALL, "configs/tsn.yaml")),
    Flag("batch_size", "videos per step, of all devices together", _same("train eval predict"), key="batch_size"),
    Flag("learning_rate", "the learning rate at the start", _same("train"), key="learning_rate"),
    Flag("epoch", "passes over the training list", _same("train"), key="epoch"),
    Flag(
        "pretrain",
        "weights to start from: file, folder, https:// or a name of `bash run.sh weights`; none: random; not given: "
        "ImageNet's, downloaded",
        _same("train"),
        key="pretrain",
    ),
    Flag("resume", "checkpoint to continue from: file, prefix without suffix, directory, or auto", _same("train")),
    Flag(
        "weights",
        "file or folder of weights, https:// or a name of `bash run.sh weights`; not given: the original's, "
        "downloaded; a*2,b for eval and predict: the mean of two networks, where a counts twice",
        _same("eval predict export serve live"),
        key="weights",
    ),
    Flag("use_gpu", "True: stop without a GPU; False: CPU; not given: GPU if there is one", _same(_ALL), key="use_gpu"),
    Flag("verbose", "print every key of the configuration", _same(_ALL, False), None),
    Flag("no_memory_optimize", "accepted, without effect", _same("train", False), None),
    Flag("filelist", "the list of videos", _same("eval predict"), key="filelist"),
    Flag(
        "video_path",
        "a video, a folder of them, or a quoted pattern such as 'clips/*.mp4'; wins over the list",
        _same("predict"),
        key="video_path",
    ),
    Flag("infer_topk", "classes named per video", _same("predict serve live"), key="topk"),
    Flag(
        "features",
        "True: also write features.npy [N, F], the mean over segments; segments: [N, T, F]",
        _same("predict", False),
        Choice((False, True, "segments")),
    ),
    Flag(
        "window",
        "seconds of a window; also write the classes of each window: timeline.csv, timeline.json, NAME.vtt",
        _same("predict"),
        Number(0.1, 86400),
    ),
    Flag("window", "seconds of the stream per answer", _same("live", 4.0), Number(0.1, 3600)),
    Flag(
        "stride",
        "seconds from one window's start to the next; not given: half of --window",
        _same("predict live"),
        Number(0.1, 86400),
    ),
    Flag(
        "save_video",
        "True: also write NAME.labelled.mp4, each video with its classes drawn on it",
        _same("predict", False),
        Truth(),
    ),
    Flag("save_video", "True: also write live.mp4, with the classes drawn on it", _same("live", False), Truth()),
    Flag("source", "a camera's number, /dev/videoN, an address (rtsp, http, https, udp) or a video", _same("live")),
    Flag(
        "threshold",
        "0 to 1; a less probable answer counts as none; with many labels: replaces each class's own threshold",
        _same("predict live", 0.0),
        Number(0, 1),
    ),
    Flag("strict", "True: exit code 1 if any video could not be read", _same("eval predict", False), Truth()),
    Flag(
        "explain",
        "True: also write explain/NAME_segT.png, which shows where in a frame the network sees the class",
        _same("predict", False),
        Truth(),
    ),
    Flag(
        "precision",
        "auto, float32, bfloat16; on a GPU float16, on the CPU int8",
        _same("eval predict serve export live"),
        key="precision",
    ),
    Flag("save_dir", "where results go", _SAVE_DIR, key="save_dir"),
    Flag("report", "write report.html; not given: if jinja2 is installed", _same("train eval predict"), Truth()),
    Flag("log_interval", "batches between two log lines", {"train": 10, "eval": 1, "predict": 1}, Whole(1)),
    Flag("valid_interval", "epochs between two validations; 0: never", _same("train", 1), Whole(0)),
    Flag(
        "fix_random_seed",
        "True: use TRAIN.seed; one engine then gives the same bits again",
        _same("train", False),
        Truth(),
    ),
    Flag("nproc", "processes on the CPU; on GPUs: one per visible device", _same("train eval predict"), Whole(1)),
    Flag("ray", "divide a list among machines, in shards: local, auto or HOST:PORT of a Ray cluster", _same("predict")),
    Flag(
        "shard_size",
        "videos per shard or Parquet part, rounded up to whole batches; not given: 1000",
        _same("predict"),
        Whole(1),
    ),
    Flag(
        "format",
        "json: predictions.json and .csv, features.npy; parquet: predictions.parquet/ with all of them",
        _same("predict", "json"),
        Choice(("json", "parquet")),
    ),
    Flag(
        "format",
        "parquet: also write evaluation.parquet/, with the probabilities of all classes",
        _same("eval", "csv"),
        Choice(("csv", "parquet")),
    ),
    Flag(
        "format",
        "paddle: for predict.py and programs with Paddle; onnx, openvino: for programs without",
        _same("export", "paddle"),
        Choice(("paddle", "onnx", "openvino")),
    ),
    Flag("restart", "True: drop the results of an earlier run", _same("eval predict", False), Truth()),
    Flag("is_profiler", "1: write a profile of a few steps", _same("train", False), Truth()),
    Flag("profiler_path", "where the profile goes", _same("train", "./")),
    Flag(
        "host",
        "the address to listen on; if other machines can reach it, --token is needed",
        _same("serve", "127.0.0.1"),
    ),
    Flag("port", "the port to listen on; 0: any free one", _same("serve", 8000), Whole(0, 65535)),
    Flag("token", "requests must send `Authorization: Bearer TOKEN`", _same("serve")),
    Flag("token_file", "a file with the token; $PADDLE_TSN_TOKEN may hold it instead", _same("serve")),
    Flag("allow_origin", "other pages that may send requests: https://HOST, several with commas", _same("serve")),
    Flag("metrics", "True: /metrics for Prometheus", _same("serve", False), Truth()),
    Flag("max_upload_mb", "most megabytes of an upload", _same("serve", 256), Whole(1, 1_000_000)),
    Flag("max_seconds", "most seconds of a video", _same("serve", 600.0), Number(0, above=True)),
    Flag("max_waiting", "most videos at a time; further uploads get 503", _same("serve", 32), Whole(1, 100_000)),
    Flag(
        "grace_seconds",
        "seconds that uploads have to arrive after SIGTERM or Ctrl-C",
        _same("serve", 8.0),
        Number(0),
    ),
)
