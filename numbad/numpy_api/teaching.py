"""Teaching the functions of NumPy that are written in Python to look into lists for recording values."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from numbad.numpy_api.converting import asarray_chkfinite, require
from numbad.numpy_api.joining import concatenate_key
from numbad.numpy_api.protocol import tables
from numbad.recording.teaching import ORIGINALS, Implementation, teach_function

# Those that write to their first argument, which may be an array of objects, or print, or ask for a shape
UNTAUGHT = set(
    "array_repr array_str array2string save savez savez_compressed savetxt put place put_along_axis fill_diagonal"
    " shape ndim size isrealobj iscomplexobj common_type".split()
)
# They ask no argument of theirs whether it records
CONVERTERS: dict[Any, Implementation] = {np.require: require, np.asarray_chkfinite: asarray_chkfinite}
METHODS = {"_mean": "mean", "_var": "var", "_std": "std"}  # what arrays' own methods call


def teach_numpy() -> None:
    """Teach the functions of NumPy that are written in Python to look into lists."""
    if getattr(np.mean, "_implementation", None) in ORIGINALS:
        return
    for module in (np, np.linalg, np.fft):
        for function in list(vars(module).values()):
            own = getattr(function, "_implementation", None)
            if type(own) is FunctionType and own not in ORIGINALS and own.__name__ not in UNTAUGHT:
                teach_function(own, of_lists(function, own), function)
    for function, recorded in CONVERTERS.items():
        teach_function(function, recorded)
    of_keys = next(kind for kind in type(np.r_).__mro__ if "__getitem__" in vars(kind))
    teach_function(vars(of_keys)["__getitem__"], concatenate_key)
    methods = getattr(getattr(np, "_core", None), "_methods", None)
    for private, name in METHODS.items():
        own = getattr(methods, private, None)
        if type(own) is FunctionType and own not in ORIGINALS:
            teach_function(own, of_lists(getattr(np, name), own), getattr(np, name))


def of_lists(function: Any, own: FunctionType) -> Implementation:
    """Return what is run where a list that holds recording values is given: our version, if there is one."""

    def record(*arguments: Any, **keywords: Any) -> Any:
        if function not in tables().FUNCTIONS:
            return ORIGINALS[own](*arguments, **keywords)
        return tables().apply_function(function, arguments, keywords)

    return record
