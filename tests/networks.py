"""Networks for tests that do not look at the numbers a network starts with."""

import paddle


def unfilled(network: type, *arguments, **options) -> paddle.nn.Layer:
    """A network whose weights get their numbers when they are loaded: made in a tenth of the time."""
    with paddle.LazyGuard():
        return network(*arguments, **options)
