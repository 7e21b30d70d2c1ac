"""The matrix path: products over index spaces against np.einsum, in every arrangement of axes."""

import itertools

import numpy as np
import pytest

import numbad
from numbad.sweeps.matrix_rows import multiply_add

SIZES = {"b": 3, "m": 4, "n": 5, "k": 6, "p": 2}
CASES = [
    ("mk,kn->mn", "mnk"),
    ("mk,k->m", "mk"),
    ("k,kn->n", "kn"),
    ("k,k->", "k"),
    ("m,n->mn", "mn"),
    ("bmk,bkn->bmn", "bmnk"),
    ("mk,kn->nm", "mnk"),
    ("km,nk->mn", "mnk"),
    ("mpk,kn->mpn", "mpnk"),
    ("mk,n->mn", "mnk"),
    ("mk,kn->m", "mnk"),
    ("m,m->m", "m"),
    ("bm,m->b", "bm"),
]


def over(labels: str, axes: str, values: np.ndarray) -> np.ndarray:
    """Return an array as a view over an index space, repeated along the axes that it has not."""
    order = [labels.index(axis) for axis in axes if axis in labels]
    shape = [SIZES[axis] if axis in labels else 1 for axis in axes]
    view = values.transpose(order).reshape(shape) if labels else values.reshape(shape)
    return np.lib.stride_tricks.as_strided(
        view,
        [SIZES[axis] for axis in axes],
        [stride if axis in labels else 0 for axis, stride in zip(axes, view.strides, strict=True)],
    )


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("subscripts", "axes"), CASES)
def test_products_agree_with_einsum(subscripts: str, axes: str, dtype: type, assign: bool) -> None:
    random = np.random.default_rng(5)
    one_labels, other_labels, out_labels = subscripts.replace("->", ",").split(",")
    one, other, out = (
        random.standard_normal([SIZES[axis] for axis in labels]).astype(dtype)
        for labels in (one_labels, other_labels, out_labels)
    )
    product = np.einsum(subscripts, one.astype(float), other.astype(float))
    expected = product if assign else out + product
    for order in itertools.permutations(axes):
        found = np.array(out)
        views = [over(labels, "".join(order), values) for labels, values in
                 ((out_labels, found), (one_labels, one), (other_labels, other))]  # fmt: skip
        if not np.shares_memory(views[0], found):
            continue  # this order of axes is no view of the target
        multiply_add(*views, assign)
        np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-5)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (1, 40_000), (40_000, 1), (190, 190)])
def test_large_matrix_vector_products(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(6)
    A, x, w = random.standard_normal(shape), random.standard_normal(shape[1]), random.standard_normal(shape[0])
    for matrix in (A, np.asfortranarray(A)):
        np.testing.assert_allclose(numbad.gradient(lambda x, A=matrix: w @ (A @ x), x), A.T @ w, rtol=1e-12, atol=1e-12)
        found = numbad.gradient(lambda A: w @ (A @ x), matrix)
        np.testing.assert_allclose(found, np.outer(w, x), rtol=1e-12)
    np.testing.assert_allclose(numbad.jvp(lambda x: A @ x, (x,), (2.0 * x,))[1], 2.0 * A @ x, rtol=1e-10, atol=1e-10)


def test_a_zero_cotangent_costs_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    A = np.random.default_rng(7).standard_normal((300, 300))
    from numbad.sweeps import matrix_rows as matrix

    calls = []
    for name in ("multiply_add", "add_product"):
        real = getattr(matrix, name)
        monkeypatch.setattr(matrix, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    value, found = numbad.value_and_gradient(lambda x: np.sum(A @ (A @ x) - A @ (A @ x)) * 0.0, np.ones(300))
    assert value == 0.0
    assert not found.any()
    assert len(calls) == 4, "only the products of the forward sweep"


def test_large_constants_are_not_copied_and_are_locked_meanwhile() -> None:
    A = np.random.default_rng(8).standard_normal((600, 600))

    def f(x: np.ndarray) -> float:
        y = A @ x
        with pytest.raises(ValueError, match="read-only"):
            A[0, 0] = 1.0
        return np.sum(y)

    np.testing.assert_allclose(numbad.gradient(f, np.ones(600)), A.sum(axis=0), rtol=1e-12)
    A[0, 0] = 1.0  # writable again
    assert A[0, 0] == 1.0


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("left", [True, False])
def test_matrix_vector_rows_in_every_order(left: bool, order: str) -> None:
    A = np.array(np.random.default_rng(9).standard_normal((210, 190)), order=order)
    x = np.linspace(-1.0, 1.0, 210 if left else 190)
    f = (lambda x: np.sum(np.sin(x @ A))) if left else (lambda x: np.sum(np.sin(A @ x)))
    expected = A @ np.cos(x @ A) if left else A.T @ np.cos(A @ x)
    for gradient in (numbad.grad(f), numbad.jit(numbad.grad(f))):
        np.testing.assert_allclose(gradient(x), expected, rtol=1e-11)
    both = numbad.gradient(lambda A, x: np.sum(np.sin(x @ A)) if left else np.sum(np.sin(A @ x)), A, x)
    np.testing.assert_allclose(both[1], expected, rtol=1e-11)
    outer = np.outer(x, np.cos(x @ A)) if left else np.outer(np.cos(A @ x), x)
    np.testing.assert_allclose(both[0], outer, rtol=1e-11, atol=1e-13)  # sums of 200 terms, near zeros of the cosine


@pytest.mark.parametrize("left", [True, False])
def test_tangents_of_matrix_and_vector_meet(left: bool) -> None:
    random = np.random.default_rng(10)
    A, B = random.standard_normal((2, 210, 190))
    x, y = random.standard_normal((2, 210 if left else 190))
    f = (lambda A, x: x @ A) if left else (lambda A, x: A @ x)
    for seed, expected in (((B, y), f(B, x) + f(A, y)), ((B, 0.0 * y), f(B, x)), ((0.0 * B, y), f(A, y))):
        np.testing.assert_allclose(numbad.jvp(f, (A, x), seed)[1], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("left", [True, False])
def test_a_matrix_that_is_also_the_vector(left: bool) -> None:
    A = np.random.default_rng(11).standard_normal((200, 200))
    f = (lambda A: np.sum(np.sin(A[3] @ A))) if left else (lambda A: np.sum(np.sin(A @ A[3])))
    bar = np.cos(A[3] @ A) if left else np.cos(A @ A[3])
    expected = np.outer(A[3], bar) if left else np.outer(bar, A[3])
    expected[3] += A @ bar if left else A.T @ bar
    np.testing.assert_allclose(numbad.gradient(f, A), expected, rtol=1e-11, atol=1e-12)
