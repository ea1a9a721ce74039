"""Import optional packages where they are used, with a one-line error if they are missing."""

import importlib
from importlib import metadata
from types import ModuleType

from utils.errors import InputError


def import_extra(module: str, what: str, requirements: str, package: str = "") -> ModuleType:
    """Return the imported module. Raises InputError that says what needs it and what to install.

    package: the name to install, if it differs.
    """
    if problem := problem_with(module):
        if requirements == "requirements.txt" and installed_version("paddlepaddle-gpu"):
            requirements = "requirements-gpu.txt"  # the other file would replace it with the CPU's paddle
        raise InputError(f"{what} needs the package {package or module}, {problem}: pip install -r {requirements}")
    return importlib.import_module(module)


def import_cv2(what: str) -> ModuleType:
    """Return OpenCV, as `import_extra` does. On servers, its build with windows lacks libGL."""
    return import_extra("cv2", what, "requirements.txt", "opencv-python-headless")


def problem_with(module: str) -> str:
    """Return in a few words why the module cannot be imported; "" if it can."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return (
            "which is not installed"
            if error.name in (module, module.partition(".")[0])
            else f"which lacks {error.name}"
        )
    except Exception as error:  # a package with wrong versions of its requirements can fail in any way
        return f"which cannot be imported ({type(error).__name__}: {error})".replace("\n", " ")
    return ""


def installed_version(package: str) -> str | None:
    """Return the version of an installed package without importing it; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
