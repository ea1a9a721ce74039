"""The learning rate as a function of the step alone: nothing to save, nothing to restore."""


def learning_rate_at(step: int, total_steps: int, base: float, decay: float) -> float:
    """The rate of step `step`, from 0, of `total_steps`: `base`, times `decay` from one third on and again from two.

    The original counts int(total_videos / batch_size + 1) steps per epoch; here they are those of the list at hand.
    """
    # Whole numbers: a third of the steps is compared without rounding.
    return base * decay ** (int(3 * step >= total_steps) + int(3 * step >= 2 * total_steps))
