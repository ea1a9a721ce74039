"""Whether the packages of requirements-extras.txt are there that a run has asked for."""

from utils.errors import InputError
from utils.packages import import_extra, problem_with

_INSTALL = "pip install -r requirements-extras.txt"
# Of TRAIN.logger: the package that writes for the board, and how to get it. VisualDL brings a web server, pandas and
# matplotlib along, so those who have its board install it themselves.
_LOGGERS = {"tensorboard": ("tensorboardX", _INSTALL), "visualdl": ("visualdl", "pip install visualdl")}


def wants_report(flag: bool | None) -> bool:
    """Return whether report.html is to be written: as --report says, and where it is not given, if jinja2 is there.

    Raises InputError: --report=True, and jinja2 is not installed.
    """
    if flag:
        import_extra("jinja2", "--report=True", "requirements-extras.txt")
    return flag is not False and not problem_with("jinja2")


def check_logger(logger: str) -> None:
    """Raise InputError when TRAIN.logger names a board whose package is not installed."""
    if logger in _LOGGERS:
        package, install = _LOGGERS[logger]
        if missing := problem_with(package):
            raise InputError(f"TRAIN.logger {logger} needs the package {package}, {missing}: {install}")
