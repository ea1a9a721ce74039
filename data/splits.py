"""Which part of a dataset a word names."""

SPLITS = ("train", "val", "test")
_SPLIT_WORDS = {"training": "train", "valid": "val", "validate": "val", "validation": "val", "testing": "test"}


def split_of(word: str) -> str | None:
    """train, val or test for its usual spellings; else None."""
    word = _SPLIT_WORDS.get(word.casefold(), word.casefold())
    return word if word in SPLITS else None
