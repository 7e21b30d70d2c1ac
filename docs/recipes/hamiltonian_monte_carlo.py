"""
Sample with gradients
=====================

Hamiltonian Monte Carlo draws from a distribution of which only the logarithm is known, up to a constant, and its
gradient. Here it is the posterior of a Poisson regression with two parameters, so few that the right answer can be
had by adding up a fine grid.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import numbad

DRAWS = 1000 if "--small" in sys.argv else 10_000
generator = np.random.default_rng(6)
x = np.linspace(-1.0, 2.0, 25)
counts = generator.poisson(np.exp(0.5 + 0.8 * x))

# %%
# The logarithm of the posterior: the likelihood of the counts, and a normal prior.


def log_posterior(p):
    """Without constants."""
    log_rate = p[0] + p[1] * x
    return np.sum(counts * log_rate - np.exp(log_rate)) - 0.5 * np.sum(p**2)


value_and_slope = numbad.jit(numbad.value_and_grad(log_posterior))

# %%
# A step: the point gets a random momentum and moves along the gradient for a while. It is accepted as Metropolis'
# rule says, so that errors of the path do not matter. The gradient is taken 16 times for each draw: a case for
# ``jit``.


def draw(p, step=0.06, moves=16):
    """Return the next point, and whether it is another one."""
    momentum = generator.normal(size=p.size)
    (value, slope), old = value_and_slope(p), p
    energy = value - 0.5 * momentum @ momentum
    for _ in range(moves):
        momentum = momentum + 0.5 * step * slope
        p = p + step * momentum
        value, slope = value_and_slope(p)
        momentum = momentum + 0.5 * step * slope
    accepted = np.log(generator.random()) < value - 0.5 * momentum @ momentum - energy
    return (p, True) if accepted else (old, False)


point, draws, accepted = np.zeros(2), [], 0
for k in range(DRAWS + 100):
    point, moved = draw(point)
    if k >= 100:  # the first ones come from the start
        draws.append(point)
        accepted += moved
draws = np.array(draws)

# %%
# The right answer, from a grid of 400 x 400 points.

axes = [np.linspace(*ends, 400) for ends in ((-0.3, 1.2), (0.2, 1.4))]
grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
heights = np.array([np.sum(counts * r - np.exp(r)) for r in grid[:, :1] + grid[:, 1:] * x]) - 0.5 * np.sum(grid**2, 1)
weights = np.exp(heights - heights.max())
weights /= weights.sum()
mean = weights @ grid
deviation = np.sqrt(weights @ (grid - mean) ** 2)
print(f"{accepted / DRAWS:.0%} of the moves were accepted")
for k, name in enumerate(("intercept", "slope")):
    print(f"{name:9}  mean {draws[:, k].mean():.3f}, from the grid {mean[k]:.3f}; "
          f"deviation {draws[:, k].std():.3f}, from the grid {deviation[k]:.3f}")  # fmt: skip
assert (abs(draws.mean(axis=0) - mean) < 0.15 * deviation).all()
assert np.allclose(draws.std(axis=0), deviation, rtol=0.15)

# %%

figure, panel = plt.subplots(figsize=(6, 4.5), layout="constrained")
panel.plot(*draws[:2000].T, ".", markersize=2, alpha=0.4, label="draws")
panel.contour(*axes, weights.reshape(400, 400).T, levels=6, colors="black", linewidths=0.8)
panel.plot(*mean, "r+", markersize=12, label="mean, from the grid")
panel.set(xlabel="intercept", ylabel="slope", title="Draws from the posterior, and its contours from a grid")
panel.legend()
plt.show()
