"""Start fuzzing processes as forks of a process that has made their imports, see fork_server.py."""

from functools import partial

from fork_server import start_python

fork = partial(start_python, kind="train")  # it has paddle, too, which weights need
