"""What docstrings say of public functions is complete: parameters, results, examples, and errors that are raised."""

from __future__ import annotations

import doctest
import inspect
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
import numbad.numpy
from numbad.ops.definition import DefinitionError, Op

POINT = np.array([1.0, 2.0])
CLASSES = [numbad.Tape, numbad.custom_vjp, numbad.custom_jvp, type(numbad.jit(np.sin))]
HELPERS = {"split", "merge", "bind", "missing", "pull", "push", "forget", "without_plan", "numbad_map", "call_inside"}
HELPERS |= {
    "find_paths",
    "look_up",
    "look_up_last",
    "paths_of",
    "match",
    "signature_inside",
    "record_inside",
    "run_checked",
    "make_room",
}
HELPERS |= {"warn_assigned", "title", "signature", "record", "look_around", "tapes_of", "drop_outdated"}
HELPERS |= {"make_lighter", "drop_oldest", "is_full", "record_path", "try_known", "record_unfollowed"}
HELPERS.add("answer")
SECTIONS = re.compile(r"^(Parameters|Returns|Raises|Warns|Notes|References|Examples|Attributes)\n-+$", re.M)


def public_objects() -> dict[str, Any]:
    """Return the public functions, classes and methods by their names."""
    found = {name: getattr(numbad, name) for name in numbad.__all__ if name != "REGISTRY"}
    found |= {f"passes.{name}": getattr(numbad.passes, name) for name in numbad.passes.__all__}
    checks = [name for name in vars(numbad.testing) if name.startswith("check_") and name != "check_value"]
    found |= {f"testing.{name}": getattr(numbad.testing, name) for name in checks}
    own = [name for name, part in numbad.numpy.INSTEAD.items() if getattr(part, "__module__", "") == "numbad.numpy"]
    found |= {
        f"numpy.{name}": numbad.numpy.INSTEAD[name] for name in own if numbad.numpy.INSTEAD[name].__name__ == name
    }
    found |= {f"distributed.{name}": getattr(numbad.distributed, name) for name in numbad.distributed.__all__}
    for kind in CLASSES:
        methods = [name for name in vars(kind) if not name.startswith("_") and name not in HELPERS]
        found |= {f"{kind.__name__}.{m}": vars(kind)[m] for m in methods if inspect.isfunction(vars(kind)[m])}
    found["Tape.__call__"] = numbad.Tape.__call__
    borrowed = {name for name in found if name in ("numpy.ndarray",) or getattr(np, name[6:], None) is found[name]}
    like_numpys = (*numbad.numpy.MAKERS, *numbad.numpy.ORDERED)  # their docstrings are NumPy's
    borrowed |= {f"numpy.{name}" for name in like_numpys}
    return {name: part for name, part in found.items() if name not in borrowed}


PUBLIC = public_objects()


def sections(text: str) -> dict[str, str]:
    """Return the sections of a docstring by their titles; the summary is that of the empty title."""
    pieces = SECTIONS.split(inspect.cleandoc(text))
    return {"": pieces[0], **dict(zip(pieces[1::2], pieces[2::2], strict=True))}


def entries(section: str) -> list[str]:
    """Return what a section describes: the names before the colons of lines that are not indented."""
    lines = [line for line in section.split("\n") if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for line in lines for name in line.split(" : ")[0].split(",")]


def parameters_of(part: Any) -> list[str]:
    """Return the names of the parameters of a function, of an op's primal, or of a class."""
    function = part.primal if isinstance(part, Op) else part
    return [name for name in inspect.signature(function).parameters if name != "self"]


def returns_something(part: Any) -> bool:
    """Whether a function has a result, as its annotation says."""
    return isinstance(part, Op) or inspect.signature(part).return_annotation not in ("None", None)


def complaints(part: Any) -> list[str]:
    """Return what is missing in a docstring, or wrong."""
    found = sections(part.__doc__ or "")
    summary = found[""].strip().split("\n\n")[0]
    wrong = [] if summary and "\n" not in summary else ["no summary of one line"]
    wrong += (
        ["a title and its text on one line"] if re.search(r"[A-Za-z] -{4,}|-{4,} [A-Za-z.]", part.__doc__ or "") else []
    )
    if isinstance(part, type) and issubclass(part, Exception):
        return wrong + ([] if ">>>" in found.get("Examples", "") else ["no examples"])
    if not isinstance(part, (type, Op)) and not callable(part):
        part = type(part)  # of a single object, as numbad.config
        return wrong + ([] if "Attributes" in found else ["no attributes"])
    described = entries(found.get("Parameters", ""))
    if isinstance(part, type):
        wrong += [] if "Attributes" in found or "Parameters" in found else ["neither attributes nor parameters"]
    if not isinstance(part, type) or "Parameters" in found:
        expected = parameters_of(part)
        wrong += [f"{name} is not described" for name in expected if name not in described]
        wrong += [f"{name} is no parameter" for name in described if name not in expected]
    if not isinstance(part, type) and returns_something(part) != ("Returns" in found):
        wrong.append("what it returns is not described" if returns_something(part) else "it returns nothing")
    return wrong + ([] if ">>>" in found.get("Examples", "") else ["no examples"])


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_complete(name: str) -> None:
    assert complaints(PUBLIC[name]) == []


def test_all_kinds_of_objects_are_looked_at() -> None:
    names = "gradient relu config Tape.gradient Tape.__call__ passes.optimise testing.check_op numpy.array"
    assert set(names.split()) <= set(PUBLIC)
    assert {"custom_vjp.defvjp", "custom_jvp.defjvps", "Jitted.cache_clear", "BranchError", "Interval"} <= set(PUBLIC)


@pytest.mark.parametrize("name", [name for name, part in PUBLIC.items() if isinstance(part, Op)])
def test_examples_of_ops_give_what_they_say(name: str) -> None:
    """Pytest collects the examples of functions and classes only; an op is an object."""
    test = doctest.DocTestParser().get_doctest(PUBLIC[name].__doc__, {}, name, None, None)
    printed = io.StringIO()
    failed, tried = doctest.DocTestRunner(verbose=False).run(test, out=printed.write)
    assert (failed, tried > 0) == (0, True), printed.getvalue()


# ---------------------------------------------------------------- errors

TAPE = numbad.record(lambda x: np.sum(x**2), POINT)
VECTOR = numbad.record(lambda x: x**2, POINT)
BRANCHES = numbad.record(lambda x: x if x > 0.0 else -x, 1.0)
SHORT = TAPE.optimise(forward_only=True)


def truth(x: Any) -> Any:
    return x > 0.0


def scaled(w: Any, x: Any) -> Any:
    return w * x


SUMS = numbad.distributed.__all__


def pair_is_missing(transform: Any) -> Any:
    return lambda: transform(np.sum, has_aux=True)(POINT)


RAISED: list[tuple[str, type[Exception], Callable[[], Any]]] = [
    *[(n, TypeError, lambda n=n: getattr(numbad, n)(3)) for n in ("grad", "value_and_grad", "jacfwd", "jacrev")],
    *[(n, TypeError, lambda n=n: getattr(numbad, n)(np.sin, "a")) for n in ("grad", "value_and_grad", "jacfwd")],
    *[(n, ValueError, lambda n=n: getattr(numbad, n)(np.sum, 5)(POINT)) for n in ("grad", "jacfwd", "jacrev")],
    *[(n, numbad.InputError, lambda n=n: getattr(numbad, n)(np.sin)(1)) for n in ("grad", "jacfwd", "jacrev")],
    *[(n, numbad.OutputError, pair_is_missing(getattr(numbad, n))) for n in ("grad", "value_and_grad", "jacfwd")],
    *[(n, numbad.OutputError, lambda n=n: getattr(numbad, n)(truth)(1.0)) for n in ("jacfwd", "jacrev")],
    *[(n, numbad.InputError, lambda n=n: getattr(numbad, n)(np.sin, 1)) for n in ("gradient", "value_and_gradient")],
    *[(n, numbad.OutputError, lambda n=n: getattr(numbad, n)(np.sin, POINT)) for n in ("gradient", "grad")[:1]],
    *[(n, MemoryError, lambda n=n: getattr(numbad, n)(np.sin)(np.ones(10**7))) for n in ("jacfwd", "jacrev")],
    ("jacobian", TypeError, lambda: numbad.jacobian(np.sin, POINT, argnums="a")),
    ("jacobian", ValueError, lambda: numbad.jacobian(np.sin, POINT, argnums=5)),
    ("hessian", ValueError, lambda: numbad.hessian(np.sum, POINT, argnums=(0, 0))),
    ("hessian", TypeError, lambda: numbad.hessian(3, POINT)),  # type: ignore[arg-type]
    ("hvp", numbad.InputError, lambda: numbad.hvp(np.sum, POINT, np.ones(3))),
    ("hvp", numbad.OutputError, lambda: numbad.hvp(np.sin, POINT, POINT)),
    ("derivative", ValueError, lambda: numbad.derivative(np.sin, 1.0, -1)),
    ("derivative", numbad.InputError, lambda: numbad.derivative(np.sin, 1)),
    ("derivative", numbad.OutputError, lambda: numbad.derivative(truth, 1.0)),
    ("jvp", numbad.InputError, lambda: numbad.jvp(np.sin, (POINT,), (np.ones(3),))),
    ("jvp", numbad.OutputError, lambda: numbad.jvp(truth, (1.0,), (1.0,))),
    ("vjp", numbad.InputError, lambda: numbad.vjp(np.sin, POINT)[1](np.ones(3))),
    ("vjp", numbad.OutputError, lambda: numbad.vjp(truth, 1.0)),
    ("linearize", numbad.InputError, lambda: numbad.linearize(np.sin, POINT)[1](1j * POINT)),
    ("custom_vjp", TypeError, lambda: numbad.custom_vjp(3)),  # type: ignore[arg-type]
    ("custom_vjp", numbad.NumbadError, lambda: numbad.grad(numbad.custom_vjp(lambda x: x))(1.0)),
    ("custom_vjp", ValueError, lambda: numbad.custom_vjp(lambda x: x, (4,))(1.0)),
    ("custom_jvp", numbad.NumbadError, lambda: numbad.grad(numbad.custom_jvp(lambda x: x))(1.0)),
    ("checkpoint", TypeError, lambda: numbad.checkpoint(3)),  # type: ignore[arg-type]
    ("full", ValueError, lambda: numbad.full((2, 3), POINT)),
    *[(n, ValueError, lambda n=n: getattr(numbad, n)(-1)) for n in ("zeros", "ones", "empty")],
    ("where", ValueError, lambda: numbad.where(np.ones(3) > 0.0, POINT, 0.0)),
    ("softmax", np.exceptions.AxisError, lambda: numbad.softmax(POINT, axis=5)),
    ("log_softmax", np.exceptions.AxisError, lambda: numbad.log_softmax(POINT, axis=5)),
    ("logsumexp", np.exceptions.AxisError, lambda: numbad.logsumexp(POINT, axis=5)),
    ("set_num_threads", ValueError, lambda: numbad.set_num_threads(0)),
    ("debug_nans", TypeError, lambda: numbad.debug_nans(3).__enter__()),  # type: ignore[arg-type]
    ("record", numbad.InputError, lambda: numbad.record(np.sin, 1)),
    ("record", numbad.OutputError, lambda: numbad.record(lambda x: None, 1.0)),
    ("record", numbad.RecordingError, lambda: numbad.record(float, 1.0)),
    ("load", numbad.TapeError, lambda: numbad.load(io.BytesIO(b"nothing"))),
    ("load", OSError, lambda: numbad.load("/nowhere/at/all")),
    ("jit", TypeError, lambda: numbad.jit(3)),  # type: ignore[arg-type]
    ("jit", numbad.InputError, lambda: numbad.jit(lambda x: x, static_argnums=5)),
    ("vmap", numbad.InputError, lambda: numbad.vmap(np.multiply)(POINT, np.ones(3))),
    ("vmap", TypeError, lambda: numbad.vmap(3)),  # type: ignore[arg-type]
    ("op", DefinitionError, lambda: numbad.op(lambda a: a)),
    ("Tape.__call__", numbad.BranchError, lambda: BRANCHES(-1.0)),
    ("Tape.__call__", numbad.InputError, lambda: TAPE(np.ones(3))),
    ("Tape.gradient", numbad.OutputError, lambda: VECTOR.gradient(POINT)),
    ("Tape.gradient", numbad.TapeError, lambda: SHORT.gradient(POINT)),
    ("Tape.jacobian", numbad.InputError, lambda: TAPE.jacobian(np.ones(3))),
    ("Tape.map", numbad.InputError, lambda: TAPE.map(POINT)),
    ("Tape.gradient_map", ValueError, lambda: TAPE.gradient_map(np.ones((3, 2)), argnums=5)),
    ("Tape.explain", IndexError, lambda: TAPE.explain(99)),
    ("Tape.to_dot", numbad.NumbadError, lambda: TAPE.to_dot(rows=0)),
    ("Tape.draw", ValueError, lambda: TAPE.draw("tape.txt")),
    ("Tape.save", TypeError, lambda: TAPE.save(3)),
    ("Tape.site", IndexError, lambda: TAPE.site(99)),
    *[(f"distributed.{n}", TypeError, lambda n=n: getattr(numbad.distributed, n)(3, 1.0, [])) for n in SUMS[:2]],
    ("distributed.gradient", ValueError, lambda: numbad.distributed.gradient(np.sum, 1.0, [POINT], reduce="max")),
    (
        "distributed.value_and_gradient",
        numbad.InputError,
        lambda: numbad.distributed.value_and_gradient(scaled, 1.0, []),
    ),
    ("distributed.value_and_gradient", numbad.OutputError, lambda: numbad.distributed.gradient(scaled, 1.0, [POINT])),
    ("distributed.hvp", numbad.InputError, lambda: numbad.distributed.hvp(scaled, 1.0, POINT, [POINT])),
    ("distributed.jacobian_product", numbad.InputError, lambda: numbad.distributed.jacobian_product(scaled, 1, 1, [])),
    ("passes.optimise", numbad.TapeError, lambda: numbad.passes.optimise(SHORT)),
    ("testing.check_grads", ValueError, lambda: numbad.testing.check_grads(np.sin, (1.0,), order=0)),
    ("testing.check_grads", TypeError, lambda: numbad.testing.check_grads(np.sin, 1.0)),  # type: ignore[arg-type]
    ("testing.check_jvp", AssertionError, lambda: numbad.testing.check_jvp(np.sin, lambda p, t: (p[0], t[0]), (1.0,))),
]


@pytest.mark.parametrize(("name", "error", "call"), RAISED, ids=[f"{n}-{e.__name__}" for n, e, _ in RAISED])
def test_errors_that_are_raised_are_described(name: str, error: type[Exception], call: Callable[[], Any]) -> None:
    with pytest.raises(error):
        call()
    assert error.__name__ in entries(sections(PUBLIC[name].__doc__ or "").get("Raises", ""))


# ---------------------------------------------------------------- the check itself


def good(x: float, *more: float) -> float:
    """Return the number.

    Parameters
    ----------
    x : float
        A number.
    *more : float
        Others.

    Returns
    -------
    float
        The number.

    Examples
    --------
    >>> good(1.0)
    1.0
    """
    return x


BROKEN = {
    "x is not described": ("    x : float\n        A number.\n", ""),
    "more is not described": ("    *more : float\n        Others.\n", ""),
    "z is no parameter": ("    x : float", "    x, z : float"),
    "what it returns is not described": ("    Returns\n    -------\n    float\n        The number.\n", ""),
    "no examples": ("    >>> good(1.0)\n", ""),
    "a title and its text on one line": ("    Returns\n    -------\n    float", "    Returns ------- float"),
    "no summary of one line": ("Return the number.", "Return\n    the number."),
}


@pytest.mark.parametrize("complaint", BROKEN)
def test_the_check_finds_what_is_missing(complaint: str) -> None:
    def bad(x: float, *more: float) -> float:
        return x

    text = good.__doc__ or ""
    bad.__doc__ = text
    assert complaints(bad) == []
    bad.__doc__ = text.replace(*BROKEN[complaint])
    assert bad.__doc__ != text and complaint in complaints(bad)
