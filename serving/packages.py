"""Whether the packages of requirements-serve.txt are there."""

from importlib import import_module

from utils.errors import InputError

# What is imported, and what it is called where it is installed from.
_PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def check_packages() -> None:
    """Raises InputError where one of them cannot be imported."""
    for module, package in _PACKAGES.items():
        try:
            import_module(module)
        except ImportError as error:
            raise InputError(
                f"serve.py needs the package {package}, which cannot be imported: {error}: "
                "pip install -r requirements-serve.txt"
            ) from None
