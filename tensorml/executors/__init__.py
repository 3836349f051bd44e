"""The executors: each runs a graph in its own way behind the interface in `base.py`."""
