"""Test that signals wait while they are held."""

import os
import signal
import threading

import pytest

from utils.processes.signals import signals_held


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("with_threads", [False, True])
def test_ctrl_c_waits_for_the_end_of_the_context(with_threads):
    """Also if the system delivers the signal to another thread."""
    waiting = threading.Event()
    other = threading.Thread(target=waiting.wait)
    if with_threads:
        other.start()
    done = []
    with pytest.raises(KeyboardInterrupt), signals_held():
        with signals_held():
            interrupt()
        done.append("inner")
        interrupt()
        done.append("outer")
    waiting.set()
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_held():
            interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_nothing():
    def hold() -> None:
        with signals_held():
            held.append(signal.getsignal(signal.SIGINT))

    held: list[object] = []
    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert held == [signal.getsignal(signal.SIGINT)]
