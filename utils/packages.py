"""Packages that only some need: imported where they are asked for, with one line where they are not to be had."""

import importlib
from importlib import metadata
from types import ModuleType

from utils.errors import InputError


def import_extra(module: str, what: str, requirements: str, package: str = "") -> ModuleType:
    """Return the imported module. Raise InputError that says what needs it and what to install.

    package: what is installed, where that has another name.
    """
    if problem := problem_with(module):
        if requirements == "requirements.txt" and installed_version("paddlepaddle-gpu"):
            requirements = "requirements-gpu.txt"  # the other would put the CPU's paddle over it
        raise InputError(f"{what} needs the package {package or module}, {problem}: pip install -r {requirements}")
    return importlib.import_module(module)


def import_cv2(what: str) -> ModuleType:
    """Return OpenCV, as `import_extra` does: its build with windows lacks libGL on a server."""
    return import_extra("cv2", what, "requirements.txt", "opencv-python-headless")


def problem_with(module: str) -> str:
    """Return why the module cannot be imported, in a few words; "" where it can."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return (
            "which is not installed"
            if error.name in (module, module.partition(".")[0])
            else f"which lacks {error.name}"
        )
    except Exception as error:  # a package that does not fit its own requirements fails in any way
        return f"which cannot be imported ({type(error).__name__}: {error})".replace("\n", " ")
    return ""


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, without importing it; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
