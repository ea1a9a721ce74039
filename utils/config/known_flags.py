"""List every flag of the scripts: the scripts that know it, its meaning, its default."""

from collections.abc import Mapping
from dataclasses import dataclass

from utils.config.kinds import Choice, Kind, Number, Text, Truth, Whole

# The configuration section whose keys a script's flags set.
SECTION_OF = {
    "train": "TRAIN",
    "eval": "TEST",
    "predict": "INFER",
    "export": "INFER",
    "serve": "INFER",
    "live": "INFER",
}

ABOUT = {
    "train": "Train a network on the list of TRAIN, validating on the list of VALID.",
    "eval": "Measure loss, top-1 and top-5 accuracy on the list of TEST.",
    "predict": "Name the classes of one video, or of each video of a folder, of a pattern or on the list of INFER.",
    "export": "Write the network as a folder for inference: uint8 frames in, probabilities out.",
    "serve": "A page to drop a video on, and an endpoint that names its classes.",
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
    """A flag. `defaults` has the scripts that know it. With `key` and without a default, it sets a configuration key.

    `key`: "MODEL.name", or a key of the script's own section, for example "batch_size". The default is then the file's.
    `kind`: the kind of its values; None: a switch without a value. `load_config` checks the values of keys.
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
    Flag("learning_rate", "learning rate at the start", _same("train"), key="learning_rate"),
    Flag("epoch", "times the training list is seen", _same("train"), key="epoch"),
    Flag(
        "pretrain",
        "weights to start from: file, folder, https:// or a name of `bash run.sh weights`; none: random; nowhere "
        "given: ImageNet's, downloaded",
        _same("train"),
        key="pretrain",
    ),
    Flag("resume", "checkpoint to go on from: file, prefix without suffix, directory, or auto", _same("train")),
    Flag(
        "weights",
        "file or folder of weights, https:// or a name of `bash run.sh weights`; nowhere given: the original's, "
        "downloaded; a*2,b of eval and predict: the mean of several networks, of which a counts twice",
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
        "True: features.npy [N, F] besides, the mean over segments; segments: [N, T, F]",
        _same("predict", False),
        Choice((False, True, "segments")),
    ),
    Flag(
        "window",
        "seconds; the classes of each window of so many besides: timeline.csv, timeline.json, NAME.vtt",
        _same("predict"),
        Number(0.1, 86400),
    ),
    Flag("window", "seconds of stream that an answer is about", _same("live", 4.0), Number(0.1, 3600)),
    Flag("stride", "seconds between starts; not given: half of --window", _same("predict live"), Number(0.1, 86400)),
    Flag(
        "save_video",
        "True: NAME.labelled.mp4 besides, each video with its classes drawn on it",
        _same("predict", False),
        Truth(),
    ),
    Flag("save_video", "True: live.mp4 besides, with the classes drawn on it", _same("live", False), Truth()),
    Flag("source", "a camera's number, /dev/videoN, an address (rtsp, http, https, udp) or a video", _same("live")),
    Flag(
        "threshold",
        "0 to 1; an answer less probable than this is none; of many labels: for each class, in place of its own",
        _same("predict live", 0.0),
        Number(0, 1),
    ),
    Flag("strict", "True: exit code 1 where any video could not be read", _same("eval predict", False), Truth()),
    Flag(
        "explain",
        "True: explain/NAME_segT.png besides, where in its frames the network sees the class",
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
    Flag("report", "write report.html; not given: where jinja2 is installed", _same("train eval predict"), Truth()),
    Flag("log_interval", "batches between two log lines", {"train": 10, "eval": 1, "predict": 1}, Whole(1)),
    Flag("valid_interval", "epochs between two validations; 0: never", _same("train", 1), Whole(0)),
    Flag("fix_random_seed", "True: seeded by TRAIN.seed, the same bits in one engine", _same("train", False), Truth()),
    Flag(
        "nproc", "processes on the CPU; on GPUs there is one per visible device", _same("train eval predict"), Whole(1)
    ),
    Flag("ray", "share a list among machines, in shards: local, auto or HOST:PORT of a Ray cluster", _same("predict")),
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
        "parquet: evaluation.parquet/, too, with the probabilities of all classes",
        _same("eval", "csv"),
        Choice(("csv", "parquet")),
    ),
    Flag(
        "format",
        "paddle: for predict.py and programs with Paddle; onnx, openvino: without",
        _same("export", "paddle"),
        Choice(("paddle", "onnx", "openvino")),
    ),
    Flag("restart", "True: drop what an earlier run knows already", _same("eval predict", False), Truth()),
    Flag("is_profiler", "1: write a profile of a few steps", _same("train", False), Truth()),
    Flag("profiler_path", "where the profile goes", _same("train", "./")),
    Flag("host", "the address to listen on; one that other machines reach needs --token", _same("serve", "127.0.0.1")),
    Flag("port", "the port to listen on; 0: any that is free", _same("serve", 8000), Whole(0, 65535)),
    Flag("token", "who asks must send `Authorization: Bearer TOKEN`", _same("serve")),
    Flag("token_file", "a file that holds the token; $PADDLE_TSN_TOKEN may hold it, too", _same("serve")),
    Flag("allow_origin", "pages that may ask besides its own: https://HOST, several with commas", _same("serve")),
    Flag("metrics", "True: /metrics for Prometheus", _same("serve", False), Truth()),
    Flag("max_upload_mb", "megabytes of an upload, at most", _same("serve", 256), Whole(1, 1_000_000)),
    Flag("max_seconds", "seconds that a video may last", _same("serve", 600.0), Number(0, above=True)),
    Flag("max_waiting", "videos in hand; to more uploads the answer is 503", _same("serve", 32), Whole(1, 100_000)),
    Flag(
        "grace_seconds",
        "seconds after SIGTERM or Ctrl-C that uploads still have to come in",
        _same("serve", 8.0),
        Number(0),
    ),
)
