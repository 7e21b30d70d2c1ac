"""Functions of SciPy that are recorded when they are called by name; imports numpy_api and what it imports."""
