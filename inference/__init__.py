"""Networks ready to answer: on the CPU as optimised graphs of paddle.inference, on the GPU eager."""
