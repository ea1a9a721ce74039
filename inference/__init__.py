"""Networks ready to answer: on the CPU as graphs that OpenVINO computes, on the GPU eagerly.

A program may have its own utils.py or models.py, which Python finds before the toolkit's folder of that name.
"""

import pkgutil
from importlib import import_module
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def _join(name: str) -> None:
    """Make Python find the toolkit's modules in the package `name`, even if the package is the program's.

    Raises ImportError if the program's package has modules of the same names.
    """
    ours, package = str(_ROOT / name), import_module(name)
    places = list(getattr(package, "__path__", ()))
    if any(Path(place).resolve() == Path(ours) for place in places):
        return
    theirs, names = ({module.name for module in pkgutil.iter_modules(paths)} for paths in (places, [ours]))
    if both := sorted(theirs & names):
        where = getattr(package, "__file__", None) or places[0]
        raise ImportError(
            f"{where} hides the toolkit's {ours}, and both have {name}.{both[0]}: rename yours, or call the Classifier "
            "in a process of its own"
        )
    package.__path__ = [*places, ours]


for _name in ("utils", "reader", "models", "metrics"):  # in this order: each imports those before it
    _join(_name)
