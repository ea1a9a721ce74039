"""Check that the optional packages a run asks for (requirements-extras.txt) are installed."""

from utils.errors import InputError
from utils.packages import import_extra, problem_with

_INSTALL = "pip install -r requirements-extras.txt"
# For each value of TRAIN.logger the package that writes its files, and how to install it. VisualDL brings a web server,
# pandas and matplotlib along, so its users install it themselves.
_LOGGERS = {"tensorboard": ("tensorboardX", _INSTALL), "visualdl": ("visualdl", "pip install visualdl")}


def wants_report(flag: bool | None) -> bool:
    """Return whether to write report.html: as --report says; without the flag, if jinja2 is installed.

    Raises InputError if --report=True is given and jinja2 is not installed.
    """
    if flag:
        import_extra("jinja2", "--report=True", "requirements-extras.txt")
    return flag is not False and not problem_with("jinja2")


def check_logger(logger: str) -> None:
    """Raise InputError if the package that TRAIN.logger needs is not installed."""
    if logger in _LOGGERS:
        package, install = _LOGGERS[logger]
        if missing := problem_with(package):
            raise InputError(f"TRAIN.logger {logger} needs the package {package}, {missing}: {install}")
