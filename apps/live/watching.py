"""The loop of live.py: a window comes, its classes go to the screen and to live.jsonl."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from apps.live.addresses import SILENCE, shown
from apps.live.stream_reader import Ended, Seen, serve
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

# Seconds between two attempts to open what broke: twice as many each time, until a window was seen.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


def watch(classifier: Classifier, flags: Flags, folder: Path) -> None:
    """Say what the source shows until it ends: a file, or whoever runs this.

    Raises:
        InputError: the source cannot be opened the first time.
        RunError: what is recorded cannot be written, or an output is not finite.
    """
    path, source = folder / "live.jsonl", shown(flags.source)
    with writing(path), open(path, "ab+") as file:
        file.truncate(end_of_lines(file))  # a run that was killed may have left half a line
    stride, windows, pause, connection = flags.stride or flags.window / 2, 0, FIRST_PAUSE, 0
    say(f"watching {source}: windows of {flags.window:g} s, every {stride:g} s; written to {path}")
    recorded = folder if flags.save_video else None
    with JsonLog(path) as log:
        while True:
            connection += 1
            arguments = flags.source, clip_spec(classifier.section), flags.window, stride, recorded
            reader = _Reader(Child("the process that reads the source", serve, *arguments), flags.window + stride)
            for answer in reader.answers(recorded is not None):
                if isinstance(answer, Seen):
                    reader.said = _tell(classifier, flags, log, answer, connection)
                    windows, pause = windows + 1, FIRST_PAUSE
            if answer.error is not None:
                raise answer.error
            if not answer.opened and connection == 1:
                raise InputError(f"--source={source}: {answer.reason}")
            if answer.reason is None:
                say(f"{source} is at its end: {windows} windows")
                return
            say_in("LIVE", f"{source} broke: {answer.reason}; it is opened again in {pause:g} s")
            log.write(event="broken", reason=answer.reason, connection=connection, time=_now())
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


class _Reader:
    """The process of one connection."""

    def __init__(self, child: Child, longest: float):
        """longest: seconds from one window to the next, at most, while frames come."""
        self._child, self._longest = child, longest + 3 * SILENCE
        self.said: list[dict] = []  # what is drawn on the frames that are recorded

    def answers(self, records: bool) -> Iterator[Seen | Ended]:
        """Give the answers up to the last, `Ended`; whoever stops before ends the process, a recording with it."""
        self._child.start()
        try:
            while True:
                self._child.pipe.send(self.said)
                if not self._child.pipe.poll(self._longest):
                    yield Ended(True, f"its reader was silent for {self._longest:g} s")
                    return
                answer = self._child.pipe.recv()
                yield answer
                if isinstance(answer, Ended):
                    return
        except (EOFError, OSError):
            yield Ended(True, f"its reader ended with {self._child.end()}")
        finally:
            if records and self._child.pid is not None:
                with suppress(OSError):
                    self._child.pipe.send(None)
                    self._child.end()  # the recording's last second is written
            self._child.kill()


def _tell(classifier: Classifier, flags: Flags, log: JsonLog, seen: Seen, connection: int) -> list[dict]:
    """Return what is drawn: the classes of the window, best first, behind none where they are not sure."""
    [said] = classifier.named(classifier.network(seen.span.clip[None]), threshold=flags.threshold)
    delay = time.time() - seen.arrived
    sure = said[0]["class_id"] != NONE_ID
    best = said if sure else said[1:]  # of many labels without one: nothing
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
