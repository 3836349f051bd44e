"""TorchScript: the same rules as `torch`, compiled to a program that plain libtorch loads."""
