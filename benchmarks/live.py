"""Measure how far live.py lags its stream, and whether its memory grows: `python benchmarks/live.py [--minutes 6]`.

MPEG-TS of 340x256 over HTTP on this machine, windows of 4 s every 2 s, ResNet-50, 8 segments, float32. First a minute
in real time: the time from the arrival of a window's last frame to its line, compared with the network's time. Then
--minutes at ten times the speed, so that windows must be dropped: the memory of all processes (PSS) after a tenth of
the time and at the end. The exit code is 1 if a line comes more than 0.5 s later than the network's time, or memory
grows by more than 20 MB. Needs Linux and an idle machine; takes 8 minutes.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from benchmarks.views import family, proportional_set_size
from utils.cli import run
from utils.errors import RunError

KIND = common.ClipKind("340x256 default", 340, 256)
SPEED, MOST_BEHIND, MOST_GROWTH_MB = 10, 0.5, 20
SETTINGS = (*ways.SETTINGS, "MODEL.seg_num=8", "INFER.seg_num=8")


def endless(clip: str, speed: float) -> Iterator[bytes]:
    """Yield the clip as a transport stream in a loop, each packet at its time."""
    begun, file = time.monotonic(), io.BytesIO()
    with av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as out, av.open(clip) as source:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        length, number = round(KIND.seconds / stream.time_base), 0
        while True:
            source.seek(0)
            for packet in source.demux(stream):
                if packet.size:
                    packet.pts, packet.dts = packet.pts + number * length, packet.dts + number * length
                    due = begun + float(packet.dts * stream.time_base) / speed
                    packet.stream = copy
                    out.mux(packet)
                    time.sleep(max(0.0, due - time.monotonic()))
                    yield file.getvalue()
                    file.seek(0)
                    file.truncate()
            number += 1


def serve(clip: str, speed: float) -> ThreadingHTTPServer:
    """Return a server of that stream."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            try:
                for piece in endless(clip, speed):
                    self.wfile.write(piece)
            except OSError:
                return  # the client is gone

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def watch(clip: str, speed: float, seconds: float) -> tuple[list[dict], list[float]]:
    """Return the lines of live.jsonl, and its processes' megabytes after a tenth of the time and at the end."""
    server, memory = serve(clip, speed), []
    sets = [flag for setting in SETTINGS for flag in ("--set", setting)]
    source = f"--source=http://127.0.0.1:{server.server_port}/"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "live.jsonl"
        command = [sys.executable, "live.py", f"--weights={ways.WEIGHTS}", "--precision=float32", source, *sets]
        with subprocess.Popen([*command, f"--save_dir={folder}"], cwd=ways.ROOT, stdout=subprocess.DEVNULL) as process:
            try:
                while not path.exists() or not path.stat().st_size:
                    if process.poll() is not None:
                        raise RunError(f"live.py ended with exit code {process.returncode}")
                    time.sleep(0.5)
                for share in (0.1, 0.9):
                    time.sleep(share * seconds)
                    memory.append(sum(map(proportional_set_size, family(process.pid))) / 1e6)
            finally:
                process.terminate()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    server.shutdown()
    return lines, memory


def network_seconds() -> float:
    """Return the network's time for a window while no other window is computed."""
    from inference.network import load_network
    from utils.config.loading import load_config

    config = load_config(ways.ROOT / "configs" / "tsn.yaml", {}, [*SETTINGS, f"INFER.weights={ways.WEIGHTS}"])
    network, clip = load_network(config, config.infer, "cpu", num_videos=1), np.zeros((1, 8, 224, 224, 3), np.uint8)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        network(clip)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6, help="of the fast stream (default: 6)")
    args = parser.parse_args()
    machine = common.describe_machine()
    common.print_machine(machine)
    [clip] = common.make_clips(KIND, 1)
    ways.make_weights()
    alone = network_seconds()
    lines, _ = watch(clip, 1, min(60, 10 * args.minutes))
    delays = sorted(line["delay"] for line in lines[1:])
    behind = delays[-1] - alone
    median = statistics.median(delays)
    print(f"in real time: {len(delays)} windows, {median:.2f} s behind (median), {delays[-1]:.2f} s at most")
    print(f"the network takes {alone:.2f} s for a window: at most {behind:.2f} s beyond it")
    lines, memory = watch(clip, SPEED, 60 * args.minutes)
    last = lines[-1]
    print(f"{last['stream_time'][1] / 60:.0f} minutes of stream at {SPEED} times their speed: {len(lines)} windows")
    print(f"dropped: {last['windows_dropped']} windows, {last['frames_dropped']} frames")
    print(f"memory: {memory[0]:.0f} MB at a tenth of the way, {memory[1]:.0f} MB at the end")
    results = {"machine": machine, "network": alone, "delays": delays, "memory_mb": memory, "last": last}
    print(f"written to {common.write_results('live', results)}")
    if behind > MOST_BEHIND or memory[1] - memory[0] > MOST_GROWTH_MB:
        raise RunError(
            f"{behind:.2f} s beyond the network (at most {MOST_BEHIND}), {memory[1] - memory[0]:.0f} MB more"
        )


if __name__ == "__main__":
    run(main)
