"""Senders of real streams on this machine: MPEG-TS over HTTP and UDP in real time."""

import io
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av

from conftest import synthetic_frames

RATE = 25


def transport_stream(seconds: float, label: int = 0, size: tuple[int, int] = (96, 72)) -> Iterator[bytes]:
    """Yield each frame's bytes of MPEG-TS with a key frame every half second; size: width and height."""
    file, (width, height) = io.BytesIO(), size
    options = {"preset": "ultrafast", "tune": "zerolatency", "g": "12"}
    pictures = synthetic_frames(label, 0, length=RATE, height=height, width=width)
    with av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(seconds * RATE)):
            frame = av.VideoFrame.from_ndarray(pictures[number % RATE], format="rgb24")
            container.mux(stream.encode(frame))
            yield file.getvalue()
            file.seek(0)
            file.truncate()


def in_real_time(pieces: Iterable[bytes], speed: float = 1) -> Iterator[bytes]:
    """Yield the pieces at RATE * speed per second."""
    begun = time.monotonic()
    for number, piece in enumerate(pieces):
        time.sleep(max(0.0, begun + number / RATE / speed - time.monotonic()))
        yield piece


@contextmanager
def over_http(*connections: Iterable[bytes]) -> Iterator[str]:
    """Yield the address of a server: each client gets the next stream; without one left, it gets 404."""
    left = iter(connections)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            pieces = next(left, None)
            self.send_response(404 if pieces is None else 200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            try:
                for piece in pieces or ():
                    self.wfile.write(piece)
            except OSError:
                pass  # the client has disconnected

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/stream"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def over_udp(port: int, pieces: Iterable[bytes]) -> Iterator[None]:
    """Open a context in which the pieces are sent to a port of this machine in datagrams of seven packets."""
    gone = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for piece in pieces:
                for start in range(0, len(piece), 7 * 188):
                    udp.sendto(piece[start : start + 7 * 188], ("127.0.0.1", port))
                if gone.is_set():
                    return

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        gone.set()
        thread.join()
