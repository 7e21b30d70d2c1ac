"""
Train a Gaussian process
========================

The length scale, the amplitude and the noise of a Gaussian process are found by maximising the likelihood of the
data. The gradient goes through a Cholesky factorization, and is checked against the formula from the textbook.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import numbad

generator = np.random.default_rng(4)
x = np.sort(generator.uniform(0.0, 10.0, 40))
y = np.sin(x) + 0.3 * x + generator.normal(0.0, 0.2, x.size)

# %%
# The parameters are logarithms, so that an optimiser may try any number.


def covariance(a, b, p):
    """The squared exponential kernel."""
    return np.exp(2.0 * p[1]) * np.exp(-0.5 * ((a[:, None] - b[None, :]) / np.exp(p[0])) ** 2)


def negative_log_likelihood(p):
    """Of the data, without constants: half of y K^-1 y, and the logarithm of the determinant of the factor."""
    factor = np.linalg.cholesky(covariance(x, x, p) + np.exp(2.0 * p[2]) * np.eye(x.size))
    whitened = np.linalg.solve(factor, y)
    return 0.5 * whitened @ whitened + np.sum(np.log(np.diag(factor)))


start = np.array([0.0, 0.0, -1.0])
objective = numbad.jit(numbad.value_and_grad(negative_log_likelihood))
best = minimize(objective, start, jac=True)
print(f"length scale {np.exp(best.x[0]):.3f}, amplitude {np.exp(best.x[1]):.3f}, noise {np.exp(best.x[2]):.3f}")
assert best.success and 0.1 < np.exp(best.x[2]) < 0.3  # the noise of the data is 0.2

# %%
# The textbook (Rasmussen and Williams, equation 5.9) has the derivative as a trace, with a matrix of derivatives for
# each parameter.


def by_formula(p):
    """Half of tr((K^-1 - a a^T) dK/dp) for each parameter, with a = K^-1 y."""
    smooth, noise = covariance(x, x, p), np.exp(2.0 * p[2]) * np.eye(x.size)
    by_length = smooth * ((x[:, None] - x[None, :]) / np.exp(p[0])) ** 2
    inverse = np.linalg.inv(smooth + noise)
    a = inverse @ y
    weights = inverse - np.outer(a, a)
    return np.array([0.5 * np.sum(weights * dk) for dk in (by_length, 2.0 * smooth, 2.0 * noise)])


error = np.max(abs(objective(start)[1] - by_formula(start)) / abs(by_formula(start)))
print(f"largest relative difference from the formula: {error:.1e}")
assert error < 1e-9

# %%


def predict(p, points):
    """Mean and standard deviation of the process at other points."""
    inverse = np.linalg.inv(covariance(x, x, p) + np.exp(2.0 * p[2]) * np.eye(x.size))
    cross = covariance(points, x, p)
    variance = np.exp(2.0 * p[1]) - np.sum((cross @ inverse) * cross, axis=1)
    return cross @ inverse @ y, np.sqrt(variance)


points = np.linspace(-1.0, 11.0, 300)
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for panel, p, name in zip(panels, (start, best.x), ("first guess", "maximum of the likelihood"), strict=True):
    mean, deviation = predict(p, points)
    panel.fill_between(points, mean - 2.0 * deviation, mean + 2.0 * deviation, alpha=0.25, label="two deviations")
    panel.plot(points, mean, label="mean")
    panel.plot(x, y, "k.", label="data")
    panel.set(title=f"{name}: -log p(y) = {negative_log_likelihood(p):.1f} + constant", xlabel="x")
panels[0].set_ylabel("y")
panels[0].legend()
plt.show()
