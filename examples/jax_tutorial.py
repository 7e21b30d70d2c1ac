"""JAX's tutorial on automatic differentiation with jax replaced by numbad: each result beside the one printed there.

W, b and v are random there; these solve for the results that are printed (u and the 128 vectors are not, and are ours).
Run: python examples/jax_tutorial.py [--small]
"""

import sys
import time

import numpy as np

from numbad import grad, jacfwd, jacrev, jvp, value_and_grad, vjp, vmap

W, b = np.array([-0.36840474, -2.27569250, 0.01144920]), 0.85356261
v = np.array([-1.10102850, -0.68184488, -0.95236532])
inputs = np.array([[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]])
targets = np.array([True, True, False, True])
errors = []


def show(name, found, jax):
    errors.append(float(np.max(np.abs(found - np.array(jax)))))
    for who, value in (("numbad", found), ("jax   ", jax)):
        text = np.array2string(np.asarray(value), prefix=" " * 10, precision=8, suppress_small=True)
        print(f"   {who} {text}" if who != "numbad" else f"{name}\n   {who} {text}")


def numbers(text, shape):
    return np.array(text.split(), float).reshape(shape)


def milliseconds(call):
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def sigmoid(x):
    return 0.5 * (np.tanh(x / 2) + 1)


def predict(W, b, inputs):
    return sigmoid(np.dot(inputs, W) + b)


def loss(W, b):
    preds = predict(W, b, inputs)
    label_probs = preds * targets + (1 - preds) * (1 - targets)
    return -np.sum(np.log(label_probs))


show("tanh' (2)", grad(np.tanh)(2.0), 0.070650816)
show("tanh'' (2)", grad(grad(np.tanh))(2.0), -0.13621868)
show("tanh''' (2)", grad(grad(grad(np.tanh)))(2.0), 0.25265405)
df = lambda x: x**3 + 2 * x**2 - 3 * x + 1
for order, jax in enumerate((4.0, 10.0, 6.0, 0.0), 1):
    df = grad(df)
    show(f"derivative {order} of the cubic at 1", df(1.0), jax)

W_bar, b_bar = [-0.16965583, -0.87746465, -1.4901344], -0.29227245
show("gradient by W", grad(loss)(W, b), W_bar)
show("gradient by b", grad(loss, 1)(W, b), b_bar)
by_dict = grad(lambda params: loss(params["W"], params["b"]))({"W": W, "b": b})
for name, found in (("a tuple", grad(loss, (0, 1))(W, b)), ("a dict", (by_dict["W"], by_dict["b"]))):
    show(f"gradient by {name}: W", found[0], W_bar)
    show(f"gradient by {name}: b", found[1], b_bar)
show("loss and gradient: the loss", value_and_grad(loss, (0, 1))(W, b)[0], 3.051939)

f = lambda W: predict(W, b, inputs)
J = numbers("""0.05981756 0.12883782 0.088576 0.04015916 -0.04928624 0.00684531
               0.12188289 0.01406341 -0.3047072 0.00140426 -0.00472516 0.00263774""", (4, 3))
H = numbers("""0.02285465 0.0492254 0.03384246 0.04922541 0.10602394 0.07289145 0.03384247 0.07289146 0.05011287
               -0.03195215 0.03921401 -0.00544639 0.03921401 -0.04812629 0.00668421 -0.00544639 0.00668421 -0.00092836
               -0.01583708 -0.00182736 0.03959271 -0.00182736 -0.00021085 0.00456839 0.03959271 0.00456839 -0.09898177
               -0.0010352 0.00348332 -0.0019445 0.00348332 -0.01172091 0.006543 -0.0019445 0.006543 -0.00365252
            """, (4, 3, 3))  # fmt: skip
show("jacfwd", jacfwd(f)(W), J)
show("jacrev", jacrev(f)(W), J)
blocks = jacrev(lambda params: predict(params["W"], params["b"], inputs))({"W": W, "b": b})
show("jacrev of a dict: 'W'", blocks["W"], J)
show("jacrev of a dict: 'b'", blocks["b"], [0.11503378, 0.04563541, 0.23439017, 0.00189765])
show("hessian: jacfwd of jacrev", jacfwd(jacrev(f))(W), H)
show("jvp along v", jvp(f, (W,), (v,))[1], [-0.23806505, -0.01713004, 0.14640695, -0.0008364])
y, vjp_fun = vjp(f, W)
show("vjp of ones (not printed there: the sum of jacrev's rows is)", vjp_fun(np.ones(4))[0], J.sum(axis=0))
vgrad = lambda f, x: vjp(f, x)[1](np.ones(np.shape(x)))[0]
show("gradient of 3 x**2 at ones, by vjp", vgrad(lambda x: 3 * x**2, np.ones((2, 2))), [[6.0, 6.0], [6.0, 6.0]])

count = 16 if "--small" in sys.argv else 128
U, S = np.random.default_rng(0).normal(size=(count, 4)), np.random.default_rng(1).normal(size=(count, 3))
_jvp = lambda s: jvp(f, (W,), (s,))[1]
pairs = {
    "Matrix-Jacobian": (lambda: np.vstack([vjp_fun(u)[0] for u in U]), lambda: vmap(vjp_fun)(U)[0], U @ J, "133 / 3.58"),
    "Jacobian-matrix": (lambda: np.vstack([_jvp(s) for s in S]), lambda: vmap(_jvp)(S), S @ J.T, "138 / 1.65"),
}
for name, (looped, batched, expected, printed) in pairs.items():
    assert np.allclose(looped(), batched(), rtol=1e-13), "batched and looped products should be identical"
    show(f"{name} product of {count} vectors, the first of them", batched()[0], expected[0])
    times = [min(milliseconds(call) for _ in range(10)) for call in (looped, batched)]
    print(f"   looped / batched: numbad {times[0]:.2f} / {times[1]:.2f} ms; jax there, for 128: {printed} ms")
print(f"\n{len(errors)} results; largest difference from what JAX prints: {max(errors):.1e} (single precision there)")
