"""Whether the packages of requirements-extras.txt are there that a run has asked for."""

import importlib

from utils.errors import InputError

_INSTALL = "pip install -r requirements-extras.txt"
# Of TRAIN.logger: the package that writes for the board, and how to get it. VisualDL brings a web server, pandas and
# matplotlib along, so those who have its board install it themselves.
_BOARDS = {"tensorboard": ("tensorboardX", _INSTALL), "visualdl": ("visualdl", "pip install visualdl")}


def wants_report(flag: bool | None) -> bool:
    """Whether report.html is to be written: as --report says, and where it is not given, if jinja2 is there.

    Raises:
        InputError: --report=True, and jinja2 is not installed.
    """
    if flag is False:
        return False
    missing = _problem("jinja2")
    if missing and flag:
        raise InputError(f"--report=True needs the package jinja2, {missing}: {_INSTALL}")
    return not missing


def check_board(logger: str) -> None:
    """Raises InputError when TRAIN.logger names a board whose package is not installed."""
    if logger in _BOARDS:
        package, install = _BOARDS[logger]
        if missing := _problem(package):
            raise InputError(f"TRAIN.logger {logger} needs the package {package}, {missing}: {install}")


def _problem(package: str) -> str:
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        return "which is not installed" if error.name == package else f"which lacks {error.name}"
    except Exception as error:  # a package that does not fit its own requirements fails in any way
        return f"which cannot be imported ({type(error).__name__})"
    return ""
