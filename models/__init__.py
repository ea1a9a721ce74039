"""The networks by name; paddle is imported with a network's class, not before."""

from models.registry import build_model, get_model_class, model_names, section_model

__all__ = ["build_model", "get_model_class", "model_names", "section_model"]
