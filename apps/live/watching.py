"""Run the loop of live.py: receive windows, and write their classes to the screen and to live.jsonl."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from apps.live.addresses import SILENCE, shown
from apps.live.stream_reader import StreamEnd, StreamWindow, serve
from inference.api import Classifier
from inference.label_kinds import headline, told
from inference.rows import NONE, NONE_ID
from reader.build import clip_spec
from utils.config.flags import Flags
from utils.errors import InputError
from utils.log import JsonLog, say, say_in
from utils.processes.child import Child
from utils.storage.files import writing
from utils.storage.lines import end_of_lines

# Seconds before a broken source is opened again. They double each time until a window arrives.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


def watch(classifier: Classifier, flags: Flags, folder: Path) -> None:
    """Report the source's classes until a file ends or the user stops the run.

    Raises:
        InputError: the source cannot be opened the first time.
        RunError: the recording cannot be written, or an output is not finite.
    """
    path, source = folder / "live.jsonl", shown(flags.source)
    with writing(path), open(path, "ab+") as file:
        file.truncate(end_of_lines(file))  # a killed run may have left half a line
    stride, windows, pause, connection = flags.stride or flags.window / 2, 0, FIRST_PAUSE, 0
    say(f"watching {source}: windows of {flags.window:g} s, every {stride:g} s; written to {path}")
    recorded = folder if flags.save_video else None
    with JsonLog(path) as log:
        while True:
            connection += 1
            arguments = flags.source, clip_spec(classifier.section), flags.window, stride, recorded
            reader = _StreamProcess(
                Child("the process that reads the source", serve, *arguments), flags.window + stride
            )
            for answer in reader.answers(recorded is not None):
                if isinstance(answer, StreamWindow):
                    reader.said = _tell(classifier, flags, log, answer, connection)
                    windows, pause = windows + 1, FIRST_PAUSE
            if answer.error is not None:
                raise answer.error
            if not answer.opened and connection == 1:
                raise InputError(f"--source={source}: {answer.reason}")
            if answer.reason is None:
                say(f"{source} has ended after {windows} windows")
                return
            say_in("LIVE", f"{source} broke: {answer.reason}; opening it again in {pause:g} s")
            log.write(event="broken", reason=answer.reason, connection=connection, time=_now())
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


class _StreamProcess:
    """The process of one connection."""

    def __init__(self, child: Child, longest: float):
        """longest: most seconds between two windows while frames arrive."""
        self._child, self._longest = child, longest + 3 * SILENCE
        self.said: list[dict] = []  # drawn on the recorded frames

    def answers(self, records: bool) -> Iterator[StreamWindow | StreamEnd]:
        """Yield the answers up to the last, `StreamEnd`. Stopping earlier ends the process and its recording."""
        self._child.start()
        try:
            while True:
                self._child.pipe.send(self.said)
                if not self._child.pipe.poll(self._longest):
                    yield StreamEnd(True, f"its reader was silent for {self._longest:g} s")
                    return
                answer = self._child.pipe.recv()
                yield answer
                if isinstance(answer, StreamEnd):
                    return
        except (EOFError, OSError):
            yield StreamEnd(True, f"its reader ended with {self._child.end()}")
        finally:
            if records and self._child.pid is not None:
                with suppress(OSError):
                    self._child.pipe.send(None)
                    self._child.end()  # so that the recording's last second is written
            self._child.kill()


def _tell(classifier: Classifier, flags: Flags, log: JsonLog, seen: StreamWindow, connection: int) -> list[dict]:
    """Return the classes to draw, best first; NONE stands first if the best is not sure."""
    [said] = classifier.named(classifier.network(seen.span.clip[None]), threshold=flags.threshold)
    delay = time.time() - seen.arrived
    sure = said[0]["class_id"] != NONE_ID
    best = said if sure else said[1:]  # with many labels and none named: nothing
    log.write(
        stream_time=[round(seen.span.start, 3), round(seen.span.end, 3)],
        time=_now(),
        answer=headline(classifier.kind.answer(said)),
        predictions=best,
        delay=round(delay, 3),
        frames_dropped=seen.frames_dropped,
        windows_dropped=seen.windows_dropped,
        connection=connection,
    )
    names = ", ".join(f"{one['label']} {100 * one['probability']:.1f}%" for one in told(classifier.kind, best))
    text = names if sure else f"{NONE} ({names})" if names else NONE
    lost = seen.frames_dropped or seen.windows_dropped
    dropped = f"; dropped so far: {seen.frames_dropped} frames, {seen.windows_dropped} windows" if lost else ""
    say_in("LIVE", f"{_clock(seen.span.start)} to {_clock(seen.span.end)}  {text}; {delay:.2f} s behind{dropped}")
    return list(told(classifier.kind, said))


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}:{seconds:04.1f}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
