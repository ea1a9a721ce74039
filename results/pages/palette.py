"""Give each class one colour on a page."""

from collections.abc import Mapping

# Classes with their own colour (.c0 and so on in results/pages/templates/style.css). One more colour is for all other
# classes, and one for no class.
MOST_COLOURS = 6
OTHERS, NOTHING = MOST_COLOURS, MOST_COLOURS + 1


class Palette:
    """The colours of a page's most important classes, by class id."""

    def __init__(self, weights: Mapping[int, float], names: Mapping[int, str]):
        """weights: the importance of each class by id; ids below 0 are no class. names: the names by id."""
        most = sorted((k for k in weights if k >= 0), key=lambda k: (-weights[k], k))
        # By id, not by weight: with few classes, each has the same colour on the pages of all runs.
        self._colours = {k: place for place, k in enumerate(sorted(most[:MOST_COLOURS]))}
        self.legend = [(colour, names[k]) for k, colour in self._colours.items()]  # (colour, name)
        self.others = len(most) - len(self.legend)  # classes without their own colour
        self.nothing = any(k < 0 for k in weights)

    def of(self, class_id: int) -> int:
        """Return the number of a class's colour."""
        return NOTHING if class_id < 0 else self._colours.get(class_id, OTHERS)
