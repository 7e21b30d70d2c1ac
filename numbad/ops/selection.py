"""Choosing between numbers: comparisons, logic, where, maximum and its kin."""

from __future__ import annotations

from numbad.ops.definition import ABSENT, is_number, op, where


@op(symbol="<", smooth=False, boolean=True)
def less(x, y):
    """Whether x < y."""
    return where(x < y, 1.0, 0.0)


@op(symbol="<=", smooth=False, boolean=True)
def less_equal(x, y):
    """Whether x <= y."""
    return where(x <= y, 1.0, 0.0)


@op(symbol=">", smooth=False, boolean=True)
def greater(x, y):
    """Whether x > y."""
    return where(x > y, 1.0, 0.0)


@op(symbol=">=", smooth=False, boolean=True)
def greater_equal(x, y):
    """Whether x >= y."""
    return where(x >= y, 1.0, 0.0)


@op(symbol="==", smooth=False, boolean=True)
def equal(x, y):
    """Whether x == y."""
    return where(x == y, 1.0, 0.0)


@op(symbol="!=", smooth=False, boolean=True)
def not_equal(x, y):
    """Whether x != y."""
    return where(x != y, 1.0, 0.0)


@op(symbol="&", smooth=False, boolean=True)
def logical_and(x, y):
    """Whether both are true (not zero)."""
    return where((x != 0.0) & (y != 0.0), 1.0, 0.0)


@op(symbol="|", smooth=False, boolean=True)
def logical_or(x, y):
    """Whether one is true (not zero)."""
    return where((x != 0.0) | (y != 0.0), 1.0, 0.0)


@op(symbol="^", smooth=False, boolean=True)
def logical_xor(x, y):
    """Whether just one is true (not zero)."""
    return where((x != 0.0) != (y != 0.0), 1.0, 0.0)


@op(smooth=False, boolean=True)
def logical_not(x):
    """Whether it is zero."""
    return where(x == 0.0, 1.0, 0.0)


@op(smooth=False, boolean=True)
def isnan(x):
    """Whether it is not a number."""
    return where(x != x, 1.0, 0.0)


@op(smooth=False, boolean=True)
def isfinite(x):
    """Whether it is neither infinite nor NaN."""
    return where(x - x == 0.0, 1.0, 0.0)


@op(smooth=False, boolean=True)
def isinf(x):
    """Whether it is infinite."""
    return where((x == x) & (x - x != 0.0), 1.0, 0.0)


@op(smooth=False, boolean=True)
def signbit(x):
    """Whether the sign bit is set: true for -0.0."""
    return where((x < 0.0) | ((x == 0.0) & (1.0 / x < 0.0)), 1.0, 0.0)


@op(ufunc="")
def keep(x, y):
    """y where x is true, else -0.0, which adds nothing: the first half of `where`."""
    return where(x != 0.0, y, -0.0)


@keep.partials
def keep_partials(x):
    return ABSENT, where(x != 0.0, 1.0, ABSENT)


@keep.cheaper
def keep_cheaper(x, y):
    known = ABSENT if is_number(y, ABSENT) else None
    return known if isinstance(x, int) else y if x != 0.0 else ABSENT


@op(ufunc="")
def drop(x, y):
    """y where x is false, else -0.0, which adds nothing: the second half of `where`."""
    return where(x != 0.0, -0.0, y)


@drop.partials
def drop_partials(x):
    return ABSENT, where(x != 0.0, ABSENT, 1.0)


@drop.cheaper
def drop_cheaper(x, y):
    known = ABSENT if is_number(y, ABSENT) else None
    return known if isinstance(x, int) else ABSENT if x != 0.0 else y


@op(kinks=(0.0,), of_truths="logical_or")
def maximum(x, y):
    """The larger; NaN if either is; at a tie the derivative is split evenly."""
    return where((x >= y) | (x != x), x, y)


@maximum.partials
def maximum_partials(x, y):
    return (
        where(x > y, 1.0, where(x == y, 0.5, where(x != x, 1.0, ABSENT))),
        where(y > x, 1.0, where(x == y, 0.5, where(y != y, 1.0, ABSENT))),
    )


@op(kinks=(0.0,), of_truths="logical_and")
def minimum(x, y):
    """The smaller; NaN if either is; at a tie the derivative is split evenly."""
    return where((x <= y) | (x != x), x, y)


@minimum.partials
def minimum_partials(x, y):
    return (
        where(x < y, 1.0, where(x == y, 0.5, where(x != x, 1.0, ABSENT))),
        where(y < x, 1.0, where(x == y, 0.5, where(y != y, 1.0, ABSENT))),
    )


@op(kinks=(0.0,), of_truths="logical_or")
def fmax(x, y):
    """The larger, or the one that is not NaN; at a tie the derivative is split evenly."""
    return where((x >= y) | (y != y), x, y)


@fmax.partials
def fmax_partials(x, y):
    return (
        where((x > y) | (y != y), 1.0, where(x == y, 0.5, ABSENT)),
        where((y > x) | ((x != x) & (y == y)), 1.0, where(x == y, 0.5, ABSENT)),
    )


@op(kinks=(0.0,), of_truths="logical_and")
def fmin(x, y):
    """The smaller, or the one that is not NaN; at a tie the derivative is split evenly."""
    return where((x <= y) | (y != y), x, y)


@fmin.partials
def fmin_partials(x, y):
    return (
        where((x < y) | (y != y), 1.0, where(x == y, 0.5, ABSENT)),
        where((y < x) | ((x != x) & (y == y)), 1.0, where(x == y, 0.5, ABSENT)),
    )


@op(smooth=False)
def heaviside(x, y):
    """0 for negative x, 1 for positive, y at 0; its derivative is taken as 0 throughout."""
    return where(x < 0.0, 0.0, where(x > 0.0, 1.0, where(x == 0.0, y, x)))


@op(ufunc="", kinks=(0.0,))
def relu(x):
    """x where it is positive, else 0; its derivative at 0 is 0.

    Parameters
    ----------
    x : float, ndarray or recording value
        Real numbers.

    Returns
    -------
    float or ndarray of float64 or float32
        Of the shape of `x`; float32 if `x` is, else float64.

    Notes
    -----
    NaN stays NaN.

    Examples
    --------
    >>> import numbad
    >>> float(numbad.relu(-1.0)), numbad.grad(numbad.relu)(2.0)
    (0.0, 1.0)
    """
    return where(x > 0.0, x, where(x != x, x, 0.0))


@relu.partials
def relu_partials(x):
    return where(x > 0.0, 1.0, where(x != x, 1.0, ABSENT))
