"""Set Paddle's environment for training; import and call this before paddle is imported."""

import os

# Set to 1 if the user has not chosen a number of threads, because paddle overwrites that with its own default.
FREE_THREADS = "TSN_FREE_THREADS"


def set_environment() -> None:
    """Set the options that paddle only reads from its environment. Call this before anything imports paddle.

    The older graph format is for the CPU: only its operators can run in oneDNN one by one.
    """
    os.environ["FLAGS_enable_pir_api"] = "0"
    # Milliseconds: by default, a step's threads spin for 200 ms afterwards, on cores that the readers need.
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    # Megabytes that a fast GPU convolution may use; Paddle's 512 exclude cuDNN's fastest choice.
    os.environ.setdefault("FLAGS_conv_workspace_size_limit", "1000")
    os.environ[FREE_THREADS] = "0" if "OMP_NUM_THREADS" in os.environ else "1"
