"""What training needs of Paddle's environment; imported, and called, before paddle is."""

import os

# Set to 1 where nobody has said how many threads there shall be: paddle writes its own default over that.
FREE_THREADS = "TSN_FREE_THREADS"


def set_environment() -> None:
    """Set what paddle takes from its environment alone; call it before anything imports paddle.

    The older graph format is for the CPU: only its operators can be given to oneDNN one by one.
    """
    os.environ["FLAGS_enable_pir_api"] = "0"
    # Milliseconds: by default the threads of a step spin for 200 after it, on the cores that the readers need.
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    # Megabytes that a convolution on a GPU may take to be faster; Paddle's 512 rule out what cuDNN finds fastest.
    os.environ.setdefault("FLAGS_conv_workspace_size_limit", "1000")
    os.environ[FREE_THREADS] = "0" if "OMP_NUM_THREADS" in os.environ else "1"
