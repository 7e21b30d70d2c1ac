"""What stands for a value while the user's function runs; imports ops, tape and kernels."""
