"""The networks. Importing this package registers them; scripts only ever use the names below."""

import models.tsm
import models.tsn  # noqa: F401  (registers them)
from models.registry import build_model, get_model_class, model_names, register_model, section_model

__all__ = ["build_model", "get_model_class", "model_names", "register_model", "section_model"]
