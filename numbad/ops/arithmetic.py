"""Arithmetic: the four operations, powers, remainders, absolute values and rounding."""

from __future__ import annotations

import numpy as np

from numbad.ops.definition import ABSENT, Interval, absent, as_is, inf, is_number, op, where


@op(symbol="+", unit=ABSENT, of_truths="logical_or")
def add(x, y):
    """Sum."""
    return x + y


@add.partials
def add_partials():
    return 1.0, 1.0


@op(symbol="-")
def subtract(x, y):
    """Difference."""
    return x - y


@subtract.partials
def subtract_partials():
    return 1.0, -1.0


@op(symbol="*", unit=1.0, of_truths="logical_and")
def multiply(x, y):
    """Product."""
    return x * y


@multiply.partials
def multiply_partials(x, y):
    return y, x


@op(symbol="/")
def divide(x, y):
    """Quotient."""
    return x / y


@divide.partials
def divide_partials(y, z):
    return 1.0 / y, -z / y


@op(symbol="-x")
def negative(x):
    """The number with its sign changed."""
    return -x


@negative.partials
def negative_partials():
    return -1.0


@op(kinks=(0.0,), python=True)
def absolute(x):
    """Absolute value; its derivative at 0 is 0."""
    return abs(x)


@absolute.partials
def absolute_partials(x):
    return where(x == 0.0, ABSENT, np.sign(x))


@op(kinks=(0.0,), ufunc="")
def magnitude(x):
    """Absolute value inside of a norm: its derivative at 0 is a number, 0, and not absent."""
    return abs(x)


@magnitude.partials
def magnitude_partials(x):
    return np.sign(x)


@op(kinks=(0.0,), ufunc="")
def edge(x):
    """Absolute value that is a distance by itself: its derivative at 0 is 0 and has no derivative there itself."""
    return abs(x)


@edge.partials
def edge_partials(x, z):
    return ratio(x, z)


@op(kinks=(0.0,), smooth=False)
def sign(x):
    """-1, 0 or 1; NaN for NaN."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, where(x == 0.0, 0.0, x)))


@op(symbol="x**2", squares=True)
def square(x):
    """The number times itself."""
    return x * x


@square.partials
def square_partials(x):
    return 2.0 * x


@op(domain=(Interval(), Interval(0.0, inf, closed=False)), ufunc="")
def ratio(x, y):
    """x / y, and 0 where y is 0: the slope of a norm, which is 0 at its kink and steep beside it."""
    return where(y == 0.0, 0.0, x / y)


@ratio.partials
def ratio_partials(x, y):
    return 1.0 / y, -x / y / y


@op
def reciprocal(x):
    """One over the number."""
    return 1.0 / x


@reciprocal.partials
def reciprocal_partials(z):
    return -z * z


@op(
    domain=(Interval(0.0, inf), Interval()),
    symbol="**",
    reference="DLMF 4.2.26",
    note="the rounding of y - 1 is magnified by log(x) in the derivative: 60 ulp measured at x = 3e-5, y = -7.9",
)
def power(x, y):
    """x to the power y, both variable; d/dy is 0 where x is 0 and y is positive."""
    return x**y


@power.partials
def power_partials(x, y, z):
    logarithm = np.log(where(x == 0.0, 1.0, x))
    return where(y == 0.0, 0.0, y * power(x, y - 1.0)), where(y == 0.0, np.log(x), z * logarithm)


@op(
    domain=(Interval(), Interval()),
    symbol="**",
    ufunc="",
    note="the rounding of y - 1 is magnified by log(x) in the derivative, for y that is no multiple of 1/2: "
    "18 ulp measured at x = 2e-4, y = -1.7",
)
def power_by_constant(x, y):
    """x to a power that does not vary: no logarithm is taken, so x may be negative."""
    return x**y


@power_by_constant.partials
def power_by_constant_partials(x, y):
    return where(y == 0.0, ABSENT, y * power_by_constant(x, y - 1.0) + 0.0), ABSENT


@power_by_constant.cheaper
def power_by_constant_cheaper(x, y):
    if is_number(y, 2.0):
        return square, [x]
    return 1.0 if is_number(y, 0.0) else x if is_number(y, 1.0) else None


@op(ufunc="", python=True)
def multiply_by_constant(x, y):
    """Product with a factor that does not vary: where that is zero, so does the product not, whatever x does."""
    return x * y


@multiply_by_constant.partials
def multiply_by_constant_partials(y):
    return where(y == 0.0, ABSENT, y), ABSENT


@op(domain=(Interval(0.0, inf), Interval(0.0, inf, closed=False)), kinks=(0.0,), ufunc="")
def norm_power(x, y):
    """x to a power y that does not vary, the last step of a norm: its derivative at x = 0 is 0."""
    return x**y


@norm_power.partials
def norm_power_partials(x, y):
    slope = y * power_by_constant(x, y - 1.0)
    return where(x == 0.0, ratio(x, x), where(y == 0.0, ABSENT, slope)), ABSENT


@op(ufunc="")
def scale(x, y):
    """Product that is zero if either factor is, whatever the other: of gaps between eigenvalues and cotangents."""
    return where((x == 0.0) | (y == 0.0), 0.0, x * y)


@scale.partials
def scale_partials(x, y):
    return y, x


@op(ufunc="")
def weigh(x, y):
    """Product of a partial that is a number and a cotangent: absent where the cotangent is."""
    return where(absent(y), ABSENT, x * y + 0.0)


@weigh.partials
def weigh_partials(x, y):
    return as_is(y), x


@op(ufunc="")
def gate(x, y):
    """Product of a partial and a cotangent, either of which may be absent; then it is absent too."""
    return where(absent(x) | absent(y), ABSENT, x * y + 0.0)


@gate.partials
def gate_partials(x, y):
    return as_is(y), as_is(x)


@op(ufunc="")
def deduct(x, y):
    """Difference of two cotangents: the first itself where the second is absent."""
    return where(absent(y), x, x - y + 0.0)


@deduct.partials
def deduct_partials():
    return 1.0, -1.0


@op(ufunc="")
def opposite(x):
    """A cotangent with its sign changed, absent where it is absent."""
    return where(absent(x), ABSENT, 0.0 - x)


@opposite.partials
def opposite_partials():
    return -1.0


@op(ufunc="")
def sow(x):
    """A tangent or cotangent that a program gives: its zeros are absent."""
    return where(x == 0.0, ABSENT, x)


@sow.partials
def sow_partials():
    return 1.0


@op(symbol="%", kinks=(), domain=(Interval(), Interval(0.0, inf, closed=False)))
def remainder(x, y):
    """Remainder with the sign of the divisor, as Python's %."""
    return np.remainder(x, y)


@remainder.partials
def remainder_partials(x, y, z):
    return 1.0, -where(abs(z) < inf, np.rint((x - z) / y), np.floor(x / y))


@op(kinks=(), domain=(Interval(), Interval(0.0, inf, closed=False)))
def fmod(x, y):
    """Remainder with the sign of the dividend, as C's fmod."""
    return np.fmod(x, y)


@fmod.partials
def fmod_partials(x, y, z):
    return 1.0, -np.rint((x - z) / y)


@op(symbol="//", smooth=False, domain=(Interval(), Interval(0.0, inf, closed=False)))
def floor_divide(x, y):
    """The largest integer not above the quotient."""
    return np.floor_divide(x, y)


@op(smooth=False)
def floor(x):
    """The largest integer not above the number."""
    return np.floor(x)


@op(smooth=False)
def ceil(x):
    """The smallest integer not below the number."""
    return np.ceil(x)


@op(smooth=False)
def trunc(x):
    """The number without its fraction."""
    return np.trunc(x)


@op(smooth=False)
def rint(x):
    """The nearest integer, ties to even."""
    return np.rint(x)


@op(kinks=(0.0,))
def copysign(x, y):
    """The magnitude of x with the sign of y."""
    return np.copysign(x, y)


@copysign.partials
def copysign_partials(x, y):
    return np.copysign(np.sign(x) * np.sign(x), y) * np.copysign(1.0, x), ABSENT


@op(ufunc="", python=True)
def identity(x):
    """The number itself, at an address of its own."""
    return x


@identity.partials
def identity_partials():
    return 1.0


@identity.cheaper
def identity_cheaper(x):
    return x


@op(ufunc="", smooth=False)
def stop_gradient(x):
    """The number, held constant by every derivative."""
    return x
