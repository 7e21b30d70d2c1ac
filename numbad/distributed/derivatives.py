"""What is computed of each block: a function of the parameters and the block, whose results are added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbad.transforms.derivatives import value_and_gradient
from numbad.transforms.functional import hvp, jvp, value_and_grad

GRADIENT = "value and gradient"  # of a point that is the parameters
AUXILIARY = "value, gradient and what is auxiliary"
CURVATURE = "Hessian times a vector"  # of a point that is (parameters, vector)
PRODUCT = "Jacobian times a vector"  # of such a pair, too


def derivative_of(kind: str, loss: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a point and the parts of a block that gives what is to be added up, see `split`."""
    if kind == GRADIENT:
        return value_and_gradient(loss, argnums=0)
    if kind == AUXILIARY:
        return value_and_grad(loss, 0, has_aux=True)

    def curvature(point: Any, *block: Any) -> Any:
        return hvp(lambda params: loss(params, *block), *point)

    def product(point: Any, *block: Any) -> Any:
        return jvp(lambda params: loss(params, *block), (point[0],), (point[1],))[1]

    return curvature if kind == CURVATURE else product


def split(kind: str, found: Any) -> tuple[Any, Any]:
    """Return the tree that is added up, and what is auxiliary."""
    if kind == AUXILIARY:
        (value, auxiliary), slopes = found
        return (value, slopes), auxiliary
    return found, None
