"""What every op is worth, by mpmath, and how far a number is from it in units in the last place.

`VALUES` maps the name of an op to its value as a function of mpmath numbers, written from the
definition and not from numbad's formula; the tables after it say what the tests of some ops need
besides. `reference_value` and `reference_partials` evaluate it,
and its numerical derivatives, at points given as floats, in as many digits as they need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpmath import mp, mpf

Reference = Callable[..., Any]


def truth(condition: bool) -> Any:
    """Return 1 for true and 0 for false, as boolean ops do."""
    return mpf(1) if condition else mpf(0)


def cbrt(x: Any) -> Any:
    """Real cube root."""
    return mp.sign(x) * mp.cbrt(abs(x))


def sigmoid(x: Any) -> Any:
    """Logistic function, by the exponential that does not overflow."""
    return 1 / (1 + mp.exp(-x)) if x >= 0 else mp.exp(x) / (1 + mp.exp(x))


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return x + mp.log1p(mp.exp(-x)) if x >= 0 else mp.log1p(mp.exp(x))


def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y))."""
    if mp.isinf(x) or mp.isinf(y):
        return max(x, y)
    return max(x, y) + mp.log1p(mp.exp(-abs(x - y)))


def logaddexp2(x: Any, y: Any) -> Any:
    """log2(2**x + 2**y)."""
    if mp.isinf(x) or mp.isinf(y):
        return max(x, y)
    return max(x, y) + mp.log1p(mp.mpf(2) ** -abs(x - y)) / mp.log(2)


def erf_inverse(x: Any) -> Any:
    """Inverse of erf."""
    return -erfc_inverse(1 + x) if x < 0 else erfc_inverse(1 - x)


def erfc_inverse(x: Any) -> Any:
    """Inverse of erfc, by Newton's method on log(erfc), which is concave."""
    if x > 1:
        return -erfc_inverse(2 - x)
    if x == 1:
        return mpf(0)
    target = mp.log(x)
    z = mp.sqrt(max(-target - mp.log(mp.sqrt(mp.pi)), mpf(0)))
    for _ in range(200):
        value = mp.erfc(z)
        step = (mp.log(value) - target) * value / (-2 / mp.sqrt(mp.pi) * mp.exp(-z * z))
        z -= step
        if abs(step) <= abs(z) * mp.eps * 16:
            break
    return z


def ndtr(x: Any) -> Any:
    """Distribution function of the standard normal distribution."""
    return mp.erfc(-x / mp.sqrt(2)) / 2


def log_ndtr(x: Any) -> Any:
    """Logarithm of the above."""
    return mp.log1p(-mp.erfc(x / mp.sqrt(2)) / 2) if x > 0 else mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)


def entr(x: Any) -> Any:
    """-x log x."""
    return -x * mp.log(x) if x > 0 else (mpf(0) if x == 0 else -mp.inf)


def remainder(x: Any, y: Any) -> Any:
    """Remainder with the sign of the divisor."""
    return x - y * mp.floor(x / y)


def truncate(x: Any) -> Any:
    """The number without its fraction."""
    return mp.floor(x) if x >= 0 else mp.ceil(x)


def product(x: Any, y: Any) -> Any:
    """x times y where 0 times anything is 0."""
    return mpf(0) if x == 0 or y == 0 else x * y


def heaviside(x: Any, y: Any) -> Any:
    """The step function with y at the step."""
    return mpf(0) if x < 0 else mpf(1) if x > 0 else y


def power(x: Any, y: Any) -> Any:
    """x to the power y."""
    return mpf(1) if y == 0 else mp.power(x, y)


VALUES: dict[str, Reference] = {
    # arithmetic
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "negative": lambda x: -x,
    "absolute": abs,
    "sign": mp.sign,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "power": power,
    "power_by_constant": power,
    "scale": product,
    "multiply_by_constant": lambda x, y: x * y,
    "weigh": product,
    "gate": product,
    "deduct": lambda x, y: x - y,
    "opposite": lambda x: -x,
    "sow": lambda x: x,
    "ratio": lambda x, y: mpf(0) if y == 0 else x / y,
    "norm_power": power,
    "magnitude": abs,
    "edge": abs,
    "remainder": remainder,
    "fmod": lambda x, y: x - y * truncate(x / y),
    "floor_divide": lambda x, y: mp.floor(x / y),
    "floor": mp.floor,
    "ceil": mp.ceil,
    "trunc": truncate,
    "rint": mp.nint,
    "copysign": lambda x, y: abs(x) if y >= 0 else -abs(x),
    "identity": lambda x: x,
    "positive": lambda x: x,
    "stop_gradient": lambda x: x,
    # selection
    "less": lambda x, y: truth(x < y),
    "less_equal": lambda x, y: truth(x <= y),
    "greater": lambda x, y: truth(x > y),
    "greater_equal": lambda x, y: truth(x >= y),
    "equal": lambda x, y: truth(x == y),
    "not_equal": lambda x, y: truth(x != y),
    "logical_and": lambda x, y: truth(x != 0 and y != 0),
    "logical_or": lambda x, y: truth(x != 0 or y != 0),
    "logical_xor": lambda x, y: truth((x != 0) != (y != 0)),
    "logical_not": lambda x: truth(x == 0),
    "isnan": lambda x: truth(mp.isnan(x)),
    "isfinite": lambda x: truth(mp.isfinite(x)),
    "isinf": lambda x: truth(mp.isinf(x)),
    "signbit": lambda x: truth(x < 0),
    "keep": lambda x, y: y if x != 0 else mpf(0),
    "drop": lambda x, y: y if x == 0 else mpf(0),
    "maximum": lambda x, y: max(x, y),
    "minimum": lambda x, y: min(x, y),
    "fmax": lambda x, y: max(x, y),
    "fmin": lambda x, y: min(x, y),
    "heaviside": heaviside,
    "relu": lambda x: max(x, mpf(0)),
    # exponential
    "exp": mp.exp,
    "exp2": lambda x: mpf(2) ** x,
    "expm1": mp.expm1,
    "log": mp.log,
    "log2": lambda x: mp.log(x) / mp.log(2),
    "log10": mp.log10,
    "log1p": mp.log1p,
    "sqrt": mp.sqrt,
    "root": mp.sqrt,
    "squared_root": lambda x: x,
    "cbrt": cbrt,
    "logaddexp": logaddexp,
    "logaddexp2": logaddexp2,
    # trigonometric
    "sin": mp.sin,
    "cos": mp.cos,
    "tan": mp.tan,
    "arcsin": mp.asin,
    "arccos": mp.acos,
    "arctan": mp.atan,
    "arctan2": mp.atan2,
    "squared_hypot": lambda x, y: x * x + y * y,
    "hypot": mp.hypot,
    "sinh": mp.sinh,
    "cosh": mp.cosh,
    "tanh": mp.tanh,
    "arcsinh": mp.asinh,
    "arccosh": mp.acosh,
    "arctanh": mp.atanh,
    "degrees": mp.degrees,
    "rad2deg": mp.degrees,
    "radians": mp.radians,
    "deg2rad": mp.radians,
    # special
    "sigmoid": sigmoid,
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
    "logit": lambda x: mp.log(x) - mp.log1p(-x),
    "xlogy": lambda x, y: mpf(0) if x == 0 else x * mp.log(y),
    "xlog1py": lambda x, y: mpf(0) if x == 0 else x * mp.log1p(y),
    "entr": entr,
    "gaussian": lambda x: mp.exp(-x * x),
    "normal_density": lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi),
    "erf": mp.erf,
    "erfc": mp.erfc,
    "erfcx": lambda x: mp.exp(x * x) * mp.erfc(x),
    "ndtr": ndtr,
    "log_ndtr": log_ndtr,
    "erfinv": erf_inverse,
    "erfcinv": erfc_inverse,
    "ndtri": lambda x: -mp.sqrt(2) * erfc_inverse(2 * x),
    "hurwitz_zeta": lambda x, y: mp.zeta(x, y),
    "digamma": mp.digamma,
    "gammaln": lambda x: mp.re(mp.loggamma(x)),
    "gamma": mp.gamma,
    "expi": mp.ei,
    "exp1": lambda x: mp.re(mp.e1(x)),
    "jv": lambda x, y: mp.re(mp.besselj(x, y)),
    "j0": lambda x: mp.besselj(0, x),
    "j1": lambda x: mp.besselj(1, x),
    "iv": lambda x, y: mp.re(mp.besseli(x, y)),
    "i0": lambda x: mp.besseli(0, x),
    "i1": lambda x: mp.besseli(1, x),
    "ive": lambda x, y: mp.re(mp.exp(-abs(y)) * mp.besseli(x, y)),
    "i0e": lambda x: mp.exp(-abs(x)) * mp.besseli(0, x),
    "i1e": lambda x: mp.exp(-abs(x)) * mp.besseli(1, x),
}


# ---------------------------------------------------------------- what some ops need besides

ONLY = {
    "power_by_constant": (0,),
    "multiply_by_constant": (0,),
    "norm_power": (0,),
    "jv": (1,),
    "iv": (1,),
    "ive": (1,),
    "hurwitz_zeta": (1,),
}  # operands that have a derivative

REACH_OF_MOST = 1e4
REACH = {  # beyond it the value overflows, vanishes, or costs mpmath too much
    "exp": 80.0, "exp2": 120.0, "expm1": 80.0, "sinh": 80.0, "cosh": 80.0, "tanh": 40.0, "sigmoid": 80.0,
    "softplus": 80.0, "log_sigmoid": 80.0, "gaussian": 8.0, "normal_density": 12.0, "erf": 5.0, "erfc": 8.0,
    "erfcx": 8.0, "ndtr": 11.0, "log_ndtr": 40.0, "gamma": 30.0, "gammaln": 1e4, "digamma": 1e4, "logaddexp": 40.0,
    "logaddexp2": 40.0, "hurwitz_zeta": 50.0, "expi": 60.0, "exp1": 60.0, "jv": 50.0, "j0": 50.0, "j1": 50.0,
    "iv": 50.0, "i0": 50.0, "i1": 50.0, "ive": 50.0, "i0e": 50.0, "i1e": 50.0, "remainder": 100.0, "fmod": 100.0,
    "floor_divide": 100.0, "power": 20.0, "power_by_constant": 20.0, "sin": 1e3, "cos": 1e3, "tan": 1e3,
}  # fmt: skip

# (op, dtype name): (ulp of the value, ulp of the partials), about 1.3 times what these points give. The reason is in
# the `note` of the op: SciPy's value, a rounding that is magnified, or a derivative that is a difference of near equals
TOLERANCES: dict[tuple[str, str], tuple[float, float]] = {
    ("power", "float64"): (4.0, 75.0),  # y - 1
    ("power", "float32"): (4.0, 14.0),
    ("power_by_constant", "float64"): (4.0, 24.0),
    ("erfcx", "float64"): (4.0, 230.0),  # 2 x z - 2 / sqrt(pi)
    ("erfcx", "float32"): (4.0, 40.0),
    ("erfinv", "float64"): (4.0, 32.0),  # z in exp(z z)
    ("erfinv", "float32"): (4.0, 18.0),
    ("erfcinv", "float64"): (4.0, 50.0),
    ("erfcinv", "float32"): (4.0, 14.0),
    ("ndtri", "float64"): (4.0, 34.0),
    ("ndtri", "float32"): (4.0, 26.0),
    ("hurwitz_zeta", "float64"): (4.0, 16.0),  # x + 1 in y**-(x + 1)
    ("hurwitz_zeta", "float32"): (4.0, 18.0),
    ("jv", "float64"): (30.0, 24.0),  # SciPy
    ("j0", "float64"): (120.0, 18.0),  # SciPy, near a zero
    ("j1", "float64"): (18.0, 120.0),
    ("iv", "float64"): (11.0, 15.0),  # SciPy
    ("i1", "float64"): (7.0, 8.0),
    ("ive", "float64"): (52.0, 340.0),  # SciPy; a difference of near equals
    ("ive", "float32"): (4.0, 340.0),  # near the zero of its derivative
    ("i0e", "float64"): (7.0, 70.0),
    ("i0e", "float32"): (4.0, 15.0),
    ("i1e", "float64"): (8.0, 60.0),
    ("i1e", "float32"): (4.0, 30.0),
    ("logaddexp", "float64"): (4.0, 22.0),  # x - y
    ("logaddexp", "float32"): (4.0, 28.0),
    ("logaddexp2", "float64"): (4.0, 40.0),
    ("logaddexp2", "float32"): (4.0, 40.0),
}

CHECK_POINTS = {
    "keep": (np.array([0.0, 1.5, 0.0, -2.0]), np.array([0.5, -1.5, 3.0, 2.0])),
    "drop": (np.array([0.0, 1.5, 0.0, -2.0]), np.array([0.5, -1.5, 3.0, 2.0])),
    "power_by_constant": (np.array([0.5, 1.5, -1.5, 2.0, -0.7, 3.0]), np.array([0.5, -1.5, 3.0, 2.0, -2.0, 1.0])),
    "jv": (np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5, 4.0])),
    "iv": (np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5, 4.0])),
    "ive": (np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5, 4.0])),
    "remainder": (np.array([5.3, -5.3, 7.9, 0.4]), np.array([2.0, 3.0, 1.5, 1.0])),
    "fmod": (np.array([5.3, -5.3, 7.9, 0.4]), np.array([2.0, 3.0, 1.5, 1.0])),
    "floor_divide": (np.array([5.3, -5.3, 7.9, 0.4]), np.array([2.0, 3.0, 1.5, 1.0])),
}


def ulp_error(found: float, reference: Any, dtype: Any = np.float64) -> float:
    """Return |found - reference| in units in the last place of the reference rounded to `dtype`.

    Equal infinities and two NaNs are 0 apart; an infinity or NaN is infinitely far from any number,
    except that a reference beyond the largest number counts as infinity.
    """
    number = np.dtype(dtype).type
    with mp.workdps(60), np.errstate(all="ignore"):
        reference = mpf(reference)
        if mp.isnan(reference) or np.isnan(found):
            return 0.0 if mp.isnan(reference) and np.isnan(found) else float("inf")
        rounded = number(mp.nstr(reference, 40) if mp.isfinite(reference) else float(reference))
        if np.isinf(rounded) or np.isinf(found):
            return 0.0 if rounded == found else float("inf")
        return float(abs(mpf(float(found)) - reference) / mpf(float(np.spacing(abs(rounded)))))


def agreed(evaluate: Callable[[], Any], digits: int = 25, enough: int = 640) -> Any:
    """Evaluate in more and more digits until two results agree to `digits` digits.

    Zero may be what cancellation leaves of a small number, so it, or anything too small for a
    float, is believed only from `enough` digits on.
    """
    previous = mpf(0)
    for dps in (40, 80, 160, 320, 640, 1280):
        with mp.workdps(dps):
            found = evaluate()
        if found != 0 and abs(found - previous) <= abs(found) * mpf(10) ** -digits:
            return found
        if dps >= enough and abs(found) < mpf(10) ** -330:
            return found
        previous = found
    raise ArithmeticError("two precisions do not agree")


def reference_value(name: str, *point: float) -> Any:
    """Return the value of an op at a point of floats."""
    arguments = [mpf(float(number)) for number in point]
    if not all(mp.isfinite(number) for number in arguments):
        return VALUES[name](*arguments)
    return agreed(lambda: VALUES[name](*arguments))


def reference_partials(name: str, *point: float) -> tuple[Any, ...]:
    """Return the partial derivatives of an op at an ordinary point of its domain."""
    return tuple(reference_partial(name, point, k) for k in range(len(point)))


def reference_partial(name: str, point: tuple[float, ...], k: int) -> Any:
    """Return the derivative with respect to operand k, by central differences of ever smaller step."""
    before, x, after = (
        [mpf(float(number)) for number in part] for part in (point[:k], point[k : k + 1], point[k + 1 :])
    )

    def difference() -> Any:
        step = (abs(x[0]) or mpf(1)) * mpf(10) ** (-mp.dps // 2)
        with mp.extradps(mp.dps):
            above = VALUES[name](*before, x[0] + step, *after)
            below = VALUES[name](*before, x[0] - step, *after)
            return (above - below) / (2 * step)

    return agreed(difference, enough=320 if len(point) == 1 and abs(x[0]) > 1e-3 else 640)
