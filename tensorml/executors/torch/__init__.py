"""PyTorch, operator by operator: on the CPU, on CUDA, and on any other device that torch has."""
