"""
Second derivatives for an optimiser
===================================

Second derivatives in an optimisation: logistic regression by scipy.optimize.minimize with jac, hess and hessp.

Run: python examples/newton_and_hvp.py [--small]     picture: examples/output/newton_and_hvp.png
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import numbad

EXAMPLES, FEATURES = (200, 12) if "--small" in sys.argv else (5000, 150)
generator = np.random.default_rng(7)
DATA = generator.normal(size=(EXAMPLES, FEATURES)) * np.linspace(0.2, 3.0, FEATURES)
TRUTH = generator.normal(size=FEATURES)
LABELS = np.where(generator.random(EXAMPLES) < 1.0 / (1.0 + np.exp(-DATA @ TRUTH)), 1.0, -1.0)


def loss(w):
    """The negative log-likelihood, and a penalty that grows like |w| with a smooth corner."""
    return np.mean(numbad.softplus(-LABELS * (DATA @ w))) + 1e-3 * np.sum(np.sqrt(1.0 + w**2) - 1.0)


value_and_gradient = numbad.jit(numbad.value_and_grad(loss))
hessian = numbad.jit(numbad.hessian(loss))
product = numbad.jit(lambda w, v: numbad.hvp(loss, w, v))
METHODS = {
    "BFGS (gradient)": {"method": "BFGS"},
    "Newton-CG (hessp)": {"method": "Newton-CG", "hessp": product},
    "trust-ncg (hessp)": {"method": "trust-ncg", "hessp": product},
    "trust-exact (hess)": {"method": "trust-exact", "hess": hessian},
}

start = np.zeros(FEATURES)
found = hessian(start)
step = 1e-5 * np.eye(FEATURES)[0]
difference = (value_and_gradient(start + step)[1] - value_and_gradient(start - step)[1]) / 2e-5
print(f"{EXAMPLES} examples, {FEATURES} features")
print(f"first column of the Hessian against differences of the gradient: {np.max(abs(found[0] - difference)):.1e}")
print(f"Hessian times a vector against hvp: {np.max(abs(found @ TRUTH - product(start, TRUTH))):.1e}\n")

figure, panel = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
histories, results = {}, {}
for name, options in METHODS.items():
    path = histories[name] = []
    began = time.perf_counter()
    results[name] = minimize(value_and_gradient, start, jac=True, callback=lambda w, path=path: path.append(w.copy()),
                             options={"gtol": 1e-9} if "CG (" not in name else {"xtol": 1e-10}, **options)  # fmt: skip
    results[name].seconds = time.perf_counter() - began
print(f"{'':20}{'loss':>16}{'|gradient|':>13}{'iterations':>12}{'gradients':>11}{'Hessians':>10}{'seconds':>9}")
for name, result in results.items():
    norm = np.max(abs(value_and_gradient(result.x)[1]))
    print(f"{name:20}{result.fun:16.12f}{norm:13.1e}{result.nit:12}{result.njev:11}{result.get('nhev', 0):10}"
          f"{result.seconds:9.3f}")  # fmt: skip
    norms = [np.max(abs(value_and_gradient(w)[1])) for w in [start, *histories[name]]]
    panel.semilogy(norms, ".-", label=name, linewidth=0.8)
panel.set(xlabel="iteration", ylabel="largest element of the gradient", title="Logistic regression, exact derivatives")
panel.legend()
panel.grid(alpha=0.3)

output = Path(sys.argv[0]).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "newton_and_hvp.png", dpi=130)
print(f"picture: {output / 'newton_and_hvp.png'}")
