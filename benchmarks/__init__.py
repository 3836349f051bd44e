"""Speed, exactness and memory of tensorml beside its peers. A figure of speed is a ratio within one run."""
