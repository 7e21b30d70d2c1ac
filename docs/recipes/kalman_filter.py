"""
Estimate a Kalman filter
========================

How noisy is a measurement, and how fast does the thing move that is measured? A Kalman filter gives the likelihood of
a series; its gradient gives the answer, and its Hessian the error bars. Both are checked against one large normal
distribution, which is the same model without a filter.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

import numbad

LENGTH = 100
generator = np.random.default_rng(0)
speeds = np.cumsum(generator.normal(0.0, 0.1, LENGTH))
positions = np.cumsum(speeds)
measured = positions + generator.normal(0.0, 1.0, LENGTH)

# %%
# The state is a position and a speed. Parameters are the logarithms of the two standard deviations.

MOVE = np.array([[1.0, 1.0], [0.0, 1.0]])
SEEN = np.array([1.0, 0.0])
PUSHED = np.outer([1.0, 1.0], [1.0, 1.0])  # a change of the speed moves the position in the same step
FIRST = np.diag([1.0, 0.1])


def filtered(p):
    """Return the log-likelihood of the series, and the means and variances of the position."""
    shock, error = np.exp(2.0 * p[0]), np.exp(2.0 * p[1])
    mean, spread, total, means, variances = np.zeros(2), FIRST, 0.0, [], []
    for z in measured:
        mean, spread = MOVE @ mean, MOVE @ spread @ MOVE.T + shock * PUSHED
        variance = spread[0, 0] + error
        surprise = z - mean[0]
        gain = spread @ SEEN / variance
        mean, spread = mean + gain * surprise, spread - np.outer(gain, SEEN @ spread)
        total = total - 0.5 * (np.log(2.0 * np.pi * variance) + surprise**2 / variance)
        means.append(mean[0])
        variances.append(spread[0, 0])
    return total, means, variances


def loss(p):
    """What is to be minimised."""
    return -filtered(p)[0]


objective = numbad.jit(numbad.value_and_grad(loss))
best = minimize(objective, np.zeros(2), jac=True)
hessian = numbad.hessian(loss, best.x)
deviations = np.sqrt(np.diag(np.linalg.inv(hessian)))
for name, true, found, deviation in zip(("shock", "error"), (0.1, 1.0), best.x, deviations, strict=True):
    print(f"{name}: true {true}, found {np.exp(found):.3f}, a factor of {np.exp(deviation):.2f} either way")
assert (abs(best.x - np.log([0.1, 1.0])) < 3.0 * deviations).all()

# %%
# Without a filter: all measurements together are normal, with a covariance matrix that is built from the model.


def covariance(p):
    """Of all measurements: each depends linearly on the first state, the shocks and the errors."""
    powers = [np.linalg.matrix_power(MOVE, k) for k in range(LENGTH + 1)]
    first = np.stack([SEEN @ powers[k + 1] for k in range(LENGTH)])
    pushes = np.array([[float(k - j + 1) if j <= k else 0.0 for j in range(LENGTH)] for k in range(LENGTH)])
    return first @ FIRST @ first.T + np.exp(2.0 * p[0]) * pushes @ pushes.T + np.exp(2.0 * p[1]) * np.eye(LENGTH)


def dense_loss(p):
    """The same loss from one Cholesky factorization."""
    factor = np.linalg.cholesky(covariance(p))
    whitened = np.linalg.solve(factor, measured)
    return 0.5 * whitened @ whitened + np.sum(np.log(np.diag(factor))) + 0.5 * LENGTH * np.log(2.0 * np.pi)


expected = -multivariate_normal(np.zeros(LENGTH), covariance(best.x)).logpdf(measured)
print(f"log-likelihood {-loss(best.x):.9f}, by scipy.stats {-expected:.9f}")
assert np.isclose(loss(best.x), expected, rtol=1e-9)
assert np.allclose(objective(np.zeros(2))[1], numbad.gradient(dense_loss, np.zeros(2)), rtol=1e-7)
assert np.allclose(hessian @ [1.0, 1.0], numbad.hvp(dense_loss, best.x, np.ones(2)), rtol=1e-6)

# %%

_, means, variances = filtered(best.x)
band = 2.0 * np.sqrt(variances)
figure, panel = plt.subplots(figsize=(8, 4), layout="constrained")
panel.fill_between(range(LENGTH), means - band, means + band, alpha=0.25, label="two deviations")
panel.plot(means, label="filtered position")
panel.plot(positions, "k--", linewidth=0.8, label="true position")
panel.plot(measured, "k.", markersize=3, label="measured")
panel.set(xlabel="step", ylabel="position", title="A position from noisy measurements, noise levels estimated")
panel.legend()
plt.show()
