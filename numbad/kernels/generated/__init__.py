"""Written by `python -m numbad.kernels.generate` from the ops' blocks: change those."""
