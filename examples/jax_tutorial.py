"""
JAX's tutorial
==============

JAX's tutorial on automatic differentiation with jax replaced by numbad: each result beside the one printed there.

W, b and v are random there; these solve for the results that are printed. The 128 vectors are our own: what is
printed of J decides what their products are. Run: python examples/jax_tutorial.py [--small]
"""

import sys
from timeit import repeat

import numpy as np

from numbad import grad, jacfwd, jacrev, jvp, value_and_grad, vjp, vmap

W, b = np.array([-0.36840474, -2.27569250, 0.01144920]), 0.85356261
v = np.array([-1.10102850, -0.68184488, -0.95236532])
inputs = np.array([[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]])
targets = np.array([True, True, False, True])
W_bar, b_bar = [-0.16965583, -0.87746465, -1.4901344], -0.29227245
J = "0.05981756 0.12883782 0.088576 0.04015916 -0.04928624 0.00684531 "
J += "0.12188289 0.01406341 -0.3047072 0.00140426 -0.00472516 0.00263774"
J = np.array(J.split(), float).reshape(4, 3)
H = np.array("""0.02285465 0.0492254 0.03384246 0.04922541 0.10602394 0.07289145 0.03384247 0.07289146 0.05011287
                -0.03195215 0.03921401 -0.00544639 0.03921401 -0.04812629 0.00668421 -0.00544639 0.00668421 -0.00092836
                -0.01583708 -0.00182736 0.03959271 -0.00182736 -0.00021085 0.00456839 0.03959271 0.00456839 -0.09898177
                -0.0010352 0.00348332 -0.0019445 0.00348332 -0.01172091 0.006543 -0.0019445 0.006543 -0.00365252
             """.split(), float).reshape(4, 3, 3)  # fmt: skip
errors = []


def show(name, found, jax):
    errors.append(float(np.max(np.abs(found - np.array(jax)))))
    print(name)
    for who, value in (("numbad", found), ("jax   ", jax)):
        print(f"   {who} {np.array2string(np.asarray(value), prefix=' ' * 10, precision=8, suppress_small=True)}")


def predict(W, b, inputs):
    return 0.5 * (np.tanh((np.dot(inputs, W) + b) / 2) + 1)


def loss(W, b):
    preds = predict(W, b, inputs)
    return -np.sum(np.log(preds * targets + (1 - preds) * (1 - targets)))


cubic = lambda x: x**3 + 2 * x**2 - 3 * x + 1
for g, x, printed in ((np.tanh, 2.0, (0.070650816, -0.13621868, 0.25265405)), (cubic, 1.0, (4.0, 10.0, 6.0, 0.0))):
    for order, jax in enumerate(printed, 1):
        g = grad(g)
        show(f"derivative {order} of {'tanh' if x == 2.0 else 'the cubic'} at {x}", g(x), jax)

show("gradient by W", grad(loss)(W, b), W_bar)
show("gradient by b", grad(loss, 1)(W, b), b_bar)
by_dict = grad(lambda params: loss(params["W"], params["b"]))({"W": W, "b": b})
for name, found in (("a tuple", grad(loss, (0, 1))(W, b)), ("a dict", (by_dict["W"], by_dict["b"]))):
    show(f"gradient by {name}: W", found[0], W_bar)
    show(f"gradient by {name}: b", found[1], b_bar)
show("loss and gradient: the loss", value_and_grad(loss, (0, 1))(W, b)[0], 3.051939)

f = lambda W: predict(W, b, inputs)
blocks = jacrev(lambda params: predict(params["W"], params["b"], inputs))({"W": W, "b": b})
for name, found in (("jacfwd", jacfwd(f)(W)), ("jacrev", jacrev(f)(W)), ("jacrev of a dict: W", blocks["W"])):
    show(name, found, J)
show("jacrev of a dict: b", blocks["b"], [0.11503378, 0.04563541, 0.23439017, 0.00189765])
show("hessian: jacfwd of jacrev", jacfwd(jacrev(f))(W), H)
show("jvp along v", jvp(f, (W,), (v,))[1], [-0.23806505, -0.01713004, 0.14640695, -0.0008364])
show("3 x**2 at ones, by vjp", vjp(lambda x: 3 * x**2, np.ones((2, 2)))[1](np.ones((2, 2)))[0], [[6.0, 6.0]] * 2)
y, pull = vjp(f, W)
push = lambda s: jvp(f, (W,), (s,))[1]
U, S = [np.random.default_rng(0).normal(size=(16 if "--small" in sys.argv else 128, n)) for n in (4, 3)]
for name, looped, batched, expected, printed in (
    ("Matrix-Jacobian", lambda: np.vstack([pull(u)[0] for u in U]), lambda: vmap(pull)(U)[0], U @ J, "133 / 3.58"),
    ("Jacobian-matrix", lambda: np.vstack([push(s) for s in S]), lambda: vmap(push)(S), S @ J.T, "138 / 1.65"),
):
    assert np.allclose(looped(), batched(), rtol=1e-13), "batched and looped products should be identical"
    show(f"{name} product of {len(U)} vectors: the first", batched()[0], expected[0])
    times = [1e3 * min(repeat(call, number=1, repeat=10)) for call in (looped, batched)]
    print(f"   looped / batched: numbad {times[0]:.2f} / {times[1]:.2f} ms; jax there, for 128: {printed} ms")
print(f"\n{len(errors)} results; largest difference from what JAX prints: {max(errors):.1e} (single precision there)")
