"""
Price options and their Greeks
==============================

The price of a European call after Black and Scholes, its sensitivities, and the volatility that a market price
implies. The Greeks are checked against their closed forms.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import ndtr

import numbad


def call(spot, strike, volatility, rate, years):
    """The price of the right to buy at the strike."""
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    return spot * ndtr(d1) - strike * np.exp(-rate * years) * ndtr(d1 - spread)


# %%
# All first derivatives come from one backward sweep. The derivatives have names:

POINT = (100.0, 105.0, 0.2, 0.03, 0.75)
price, (delta, _, vega, rho, aging) = numbad.value_and_gradient(call, *POINT)
gamma = numbad.derivative(lambda spot: call(spot, *POINT[1:]), POINT[0], 2)
print(f"price {price:.6f}")
print(f"delta {delta:.6f}, gamma {gamma:.6f}, vega {vega:.6f}, rho {rho:.6f}, theta {-aging:.6f}")

# %%
# Against the closed forms:

spot, strike, volatility, rate, years = POINT
spread = volatility * np.sqrt(years)
d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
density = np.exp(-0.5 * d1**2) / np.sqrt(2.0 * np.pi)
discounted = strike * np.exp(-rate * years) * ndtr(d1 - spread)
closed = {
    "delta": (delta, ndtr(d1)),
    "gamma": (gamma, density / (spot * spread)),
    "vega": (vega, spot * density * np.sqrt(years)),
    "rho": (rho, years * discounted),
    "theta": (-aging, -0.5 * spot * density * volatility / np.sqrt(years) - rate * discounted),
}
for name, (found, expected) in closed.items():
    print(f"{name:6} differs by {abs(found - expected):.1e}")
    assert np.isclose(found, expected, rtol=1e-12)

# %%
# Implied volatility: Newton's iteration with the vega as slope. The loop stops where the price is met, so the number
# of its steps depends on the price. numbad differentiates through the loop, too: the implied volatility as a function
# of the price has a slope too, which is one over the vega.


def implied(target, spot, strike, rate, years):
    """The volatility at which a call costs the target."""
    volatility = 0.5
    for _ in range(50):
        value, slope = numbad.value_and_grad(call, 2)(spot, strike, volatility, rate, years)
        volatility = volatility - (value - target) / slope
        if abs(value - target) < 1e-12 * spot:
            break
    return volatility


found, slope = numbad.value_and_grad(implied)(price, spot, strike, rate, years)
print(f"implied volatility {found:.12f}, slope {slope:.9f}, 1 / vega {1.0 / vega:.9f}")
assert np.isclose(found, volatility, rtol=1e-10) and np.isclose(slope, 1.0 / vega, rtol=1e-6)

# %%
# Many prices at once: a tape of one option runs over arrays of spots.

spots = np.linspace(60.0, 150.0, 200)
tape = numbad.record(call, *POINT)
prices, (deltas, _, vegas, *_) = tape.value_and_gradient_map(spots, *POINT[1:])
assert np.allclose(prices, call(spots, *POINT[1:]), rtol=1e-12)

figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for panel, curve, name in zip(panels, (prices, deltas, vegas), ("price", "delta", "vega"), strict=True):
    panel.plot(spots, curve)
    panel.axvline(strike, color="black", linewidth=0.8, linestyle="--", label="strike")
    panel.set(xlabel="spot", title=f"{name} of a call")
panels[0].legend()
plt.show()
