"""Trigonometric and hyperbolic functions, their inverses, and the conversion of angles."""

from __future__ import annotations

import numpy as np

from numbad.ops.arithmetic import ratio
from numbad.ops.definition import Interval, inf, op, where

DEGREES = 57.29577951308232
RADIANS = 0.017453292519943295
INFINITY = inf


@op(reference="DLMF 4.20")
def sin(x):
    """Sine."""
    return np.sin(x)


@sin.partials
def sin_partials(x):
    return np.cos(x)


@op(reference="DLMF 4.20")
def cos(x):
    """Cosine."""
    return np.cos(x)


@cos.partials
def cos_partials(x):
    return -np.sin(x)


@op(reference="DLMF 4.20")
def tan(x):
    """Tangent; its derivative 1 + z*z is a sum of positive terms."""
    return np.tan(x)


@tan.partials
def tan_partials(z):
    return 1.0 + z * z


@op(domain=Interval(-1.0, 1.0), kinks=(-1.0, 1.0), reference="DLMF 4.24")
def arcsin(x):
    """Inverse sine; its derivative is accurate up to the ends, where it is inf."""
    return np.arcsin(x)


@arcsin.partials
def arcsin_partials(x):
    return 1.0 / np.sqrt((1.0 - x) * (1.0 + x))


@op(domain=Interval(-1.0, 1.0), kinks=(-1.0, 1.0), reference="DLMF 4.24")
def arccos(x):
    """Inverse cosine; its derivative is accurate up to the ends, where it is -inf."""
    return np.arccos(x)


@arccos.partials
def arccos_partials(x):
    return -1.0 / np.sqrt((1.0 - x) * (1.0 + x))


@op(reference="DLMF 4.24")
def arctan(x):
    """Inverse tangent; a derivative below the smallest normal number is 0."""
    return np.arctan(x)


@arctan.partials
def arctan_partials(x):
    return 1.0 / (1.0 + x * x)


@op(reference="DLMF 4.23, 4.24")
def arctan2(x, y):
    """Angle of the point with ordinate x and abscissa y; its derivatives at (0, 0) and infinity are 0."""
    return np.arctan2(x, y)


@arctan2.partials
def arctan2_partials(x, y, z):
    radius = np.hypot(x, y)
    far = radius == INFINITY
    return (
        where(far, 0.0 * z, ratio(ratio(y, radius), radius)),
        where(far, 0.0 * z, ratio(ratio(-x, radius), radius)),
    )


@op(reference="DLMF 1.9")
def hypot(x, y):
    """sqrt(x*x + y*y) without overflow or underflow; its derivatives at (0, 0) are 0."""
    return np.hypot(x, y)


@hypot.partials
def hypot_partials(x, y, z):
    return ratio(x, z), ratio(y, z)


@op(ufunc="", squares=True)
def squared_hypot(x, y):
    """The square of a hypotenuse, as it rounds: its derivatives are 2 x and 2 y, at (0, 0) too."""
    z = np.hypot(x, y)
    return z * z


@squared_hypot.partials
def squared_hypot_partials(x, y):
    return 2.0 * x, 2.0 * y


@op(reference="DLMF 4.34")
def sinh(x):
    """Hyperbolic sine."""
    return np.sinh(x)


@sinh.partials
def sinh_partials(x):
    return np.cosh(x)


@op(reference="DLMF 4.34")
def cosh(x):
    """Hyperbolic cosine."""
    return np.cosh(x)


@cosh.partials
def cosh_partials(x):
    return np.sinh(x)


@op(reference="DLMF 4.34")
def tanh(x):
    """Hyperbolic tangent, by expm1, which is quick; its derivative is cosh's, for 1 - z*z cancels in the tails."""
    decay = np.expm1(-2.0 * abs(x))
    return np.copysign(decay / (2.0 + decay), x)


@tanh.partials
def tanh_partials(x):
    steep = np.cosh(x)
    return where(steep == INFINITY, 0.0, 1.0 / steep / steep)  # no slope of it either, where cosh overflows


@op(reference="DLMF 4.38")
def arcsinh(x):
    """Inverse hyperbolic sine; its derivative does not overflow inside."""
    return np.arcsinh(x)


@arcsinh.partials
def arcsinh_partials(x):
    return 1.0 / np.hypot(1.0, x)


@op(domain=Interval(1.0, inf), kinks=(1.0,), reference="DLMF 4.38")
def arccosh(x):
    """Inverse hyperbolic cosine; its derivative is accurate up to x = 1, where it is inf."""
    return np.arccosh(x)


@arccosh.partials
def arccosh_partials(x):
    return 1.0 / (np.sqrt(x - 1.0) * np.sqrt(x + 1.0))


@op(domain=Interval(-1.0, 1.0, closed=False), reference="DLMF 4.38")
def arctanh(x):
    """Inverse hyperbolic tangent; its derivative is accurate up to the ends."""
    return np.arctanh(x)


@arctanh.partials
def arctanh_partials(x):
    return 1.0 / ((1.0 - x) * (1.0 + x))


@op
def degrees(x):
    """An angle in radians, in degrees."""
    return DEGREES * x


@degrees.partials
def degrees_partials():
    return DEGREES


@op
def rad2deg(x):
    """An angle in radians, in degrees."""
    return DEGREES * x


@rad2deg.partials
def rad2deg_partials():
    return DEGREES


@op
def radians(x):
    """An angle in degrees, in radians."""
    return RADIANS * x


@radians.partials
def radians_partials():
    return RADIANS


@op
def deg2rad(x):
    """An angle in degrees, in radians."""
    return RADIANS * x


@deg2rad.partials
def deg2rad_partials():
    return RADIANS
