"""The colours of a page's classes: one class has one colour on all of it."""

from collections.abc import Mapping

# Classes with a colour of their own (.c0 and so on of results/pages/templates/style.css); one more is all others',
# one more that of no class.
MOST_COLOURS = 6
OTHERS, NOTHING = MOST_COLOURS, MOST_COLOURS + 1


class Palette:
    """The colours of the classes that matter most on a page, by the classes' ids."""

    def __init__(self, weights: Mapping[int, float], names: Mapping[int, str]):
        """weights: how much each class, by id, matters; ids below 0 are no class. names: of all these."""
        most = sorted((k for k in weights if k >= 0), key=lambda k: (-weights[k], k))
        # By id, not by weight: of few classes each has the same colour on the pages of all runs.
        self._colours = {k: place for place, k in enumerate(sorted(most[:MOST_COLOURS]))}
        self.legend = [(colour, names[k]) for k, colour in self._colours.items()]  # (number of the colour, name)
        self.others = len(most) - len(self.legend)  # classes that have none of their own
        self.nothing = any(k < 0 for k in weights)

    def of(self, class_id: int) -> int:
        """Return the number of a class's colour."""
        return NOTHING if class_id < 0 else self._colours.get(class_id, OTHERS)
