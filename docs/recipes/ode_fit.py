"""
Fit the parameters of an ODE
============================

Hares and lynxes after Lotka and Volterra: four parameters are found from noisy counts, by least squares with the
exact Jacobian of a Runge-Kutta solution. The Jacobian is checked against SciPy's solution of the sensitivity
equations.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

import numbad

# %%
# Solvers such as ``solve_ivp`` choose their steps by looking at errors, and call your function from inside. numbad
# does not record them. A method with fixed steps is a loop, and a loop is all that numbad needs.

STEP, STEPS, EVERY = 0.05, 300, 10
START = np.array([10.0, 5.0])


def rates(state, p):
    """Hares are born and eaten; lynxes are born where hares are eaten, and die."""
    hares, lynxes = state[0], state[1]
    return np.stack([p[0] * hares - p[1] * hares * lynxes, p[2] * hares * lynxes - p[3] * lynxes])


def solve(p):
    """Return both populations at every tenth step of the classical method of fourth order."""
    state, found = START, []
    for k in range(STEPS):
        k1 = rates(state, p)
        k2 = rates(state + 0.5 * STEP * k1, p)
        k3 = rates(state + 0.5 * STEP * k2, p)
        k4 = rates(state + STEP * k3, p)
        state = state + STEP / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        if (k + 1) % EVERY == 0:
            found.append(state)
    return np.stack(found)


# %%
# The data: the true parameters, and noise of 5 per cent.

truth = np.array([1.0, 0.2, 0.04, 0.5])
counts = solve(truth) * np.random.default_rng(1).normal(1.0, 0.05, (STEPS // EVERY, 2))


def residuals(p):
    """Differences of the logarithms, for the noise is relative."""
    return np.ravel(np.log(solve(p)) - np.log(counts))


# %%
# Four parameters and sixty residuals: forward mode is the cheaper one. ``jit`` records the 300 steps once.

jacobian = numbad.jit(numbad.jacfwd(residuals))
fit = least_squares(residuals, np.array([0.8, 0.15, 0.03, 0.6]), jac=jacobian)
deviations = np.sqrt(2.0 * fit.cost / (counts.size - 4) * np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))
for name, exact, found, deviation in zip(("birth", "eaten", "food", "death"), truth, fit.x, deviations, strict=True):
    print(f"{name}: true {exact:.3f}, found {found:.4f} +- {deviation:.4f}")
assert (abs(fit.x - truth) < 4.0 * deviations).all()

# %%
# Is the Jacobian right? The sensitivities of an ODE solve an ODE themselves. SciPy solves it to eleven digits; what
# is left is the error of the fixed steps.


def with_sensitivities(t, u):
    """The rates of the populations, and of their derivatives with respect to the parameters."""
    (h, w), s, p = u[:2], u[2:].reshape(2, 4), fit.x
    by_state = np.array([[p[0] - p[1] * w, -p[1] * h], [p[2] * w, p[2] * h - p[3]]])
    by_parameters = np.array([[h, -h * w, 0.0, 0.0], [0.0, 0.0, h * w, -w]])
    return np.concatenate([rates(u[:2], p), np.ravel(by_state @ s + by_parameters)])


times = STEP * EVERY * np.arange(1, STEPS // EVERY + 1)
ends = (0.0, STEP * STEPS)
exact = solve_ivp(with_sensitivities, ends, [*START, *np.zeros(8)], t_eval=times, rtol=1e-11, atol=1e-11).y.T
expected = exact[:, 2:].reshape(-1, 2, 4) / exact[:, :2, None]
error = np.max(abs(jacobian(fit.x).reshape(-1, 2, 4) - expected)) / np.max(abs(expected))
print(f"largest relative difference from the sensitivity equations: {error:.1e}")
assert error < 1e-5

# %%

figure, panel = plt.subplots(figsize=(7, 4), layout="constrained")
for k, (name, colour) in enumerate((("hares", "tab:blue"), ("lynxes", "tab:orange"))):
    panel.plot(times, counts[:, k], "o", color=colour, markersize=4, label=f"{name}, counted")
    panel.plot(times, solve(fit.x)[:, k], color=colour, label=f"{name}, fitted")
panel.set(xlabel="years", ylabel="population", title="Hares and lynxes: counts with 5 % noise, and the fitted model")
panel.legend(ncols=2)
plt.show()
