"""scipy.stats: densities and distribution functions, against differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as stats
from scipy.stats import norm

import numbad
from shared.oracle import check_against_numpy

X = np.array([0.7, 1.3, 0.4])
M = np.array([[0.1, -0.4, 0.9], [1.2, 0.3, -0.8], [-0.5, 0.6, 0.2]])
S = M @ M.T + 3.0 * np.eye(3)

# ---------------------------------------------------------------- distributions


DISTRIBUTIONS = {
    "norm": (0.3, 1.2), "expon": (0.1, 2.0), "gamma": (2.0,), "beta": (2.0, 3.0, -0.1, 3.0), "t": (4.0,),
    "chi2": (3.0,), "laplace": (0.2,), "logistic": (0.1,), "cauchy": (), "uniform": (0.0, 2.0), "lognorm": (0.5,),
    "weibull_min": (1.5,), "halfnorm": (), "gumbel_r": (), "pareto": (1.1, -1.0), "rayleigh": (), "invgamma": (2.0,),
}  # fmt: skip


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("method", ["pdf", "logpdf", "cdf", "sf", "logcdf", "logsf"])
def test_continuous_distributions(name, method):
    distribution, parameters = getattr(stats, name), DISTRIBUTIONS[name]
    check_against_numpy(lambda x: getattr(distribution, method)(x, *parameters), X, rtol=1e-6)


def test_parameters_of_distributions():
    data = np.array([0.3, 0.8, 1.9])
    check_against_numpy(lambda p: stats.norm.logpdf(data, loc=p[0], scale=p[1]), X)
    check_against_numpy(lambda p: stats.gamma.logpdf(data, p[0], scale=p[1]), X)
    check_against_numpy(lambda p: stats.t.logpdf(data, p[0] + 2.0, p[1], p[2]), X)
    check_against_numpy(lambda p: norm(p[0], p[1]).logpdf(0.4) + norm(p[0], p[1]).sf(0.1), X)
    check_against_numpy(lambda p: stats.norm.ppf(p / 2.0) + stats.beta.ppf(p / 2.0, 2.0, 3.0), X)
    counts = np.array([1, 2, 3])
    check_against_numpy(lambda p: stats.poisson.logpmf(counts, p) + stats.poisson.pmf(counts, p), X)
    check_against_numpy(lambda p: stats.binom.logpmf(counts, 5, p / 2.0), X)
    check_against_numpy(lambda p: stats.bernoulli.logpmf(np.array([1, 0, 1]), p / 2.0), X)
    check_against_numpy(lambda p: stats.nbinom.logpmf(counts, 5, p / 2.0) + stats.geom.logpmf(counts, p / 2.0), X)
    check_against_numpy(lambda p: stats.poisson.cdf(counts, p), X)


def test_outside_of_a_support():
    x = np.array([-1.0, 0.5, 3.0])
    for method in ("pdf", "cdf", "sf", "logpdf", "logcdf", "logsf"):
        value, slope = numbad.jvp(getattr(stats.uniform, method), (x,), (np.ones(3),))
        np.testing.assert_array_equal(value, getattr(stats.uniform, method)(x))
        np.testing.assert_array_equal(slope[[0, 2]], 0.0)
    with np.errstate(all="ignore"):
        assert np.isnan(numbad.value_and_gradient(lambda s: stats.norm.logpdf(1.0, 0.0, s), -1.0)[0])


def test_multivariate_densities():
    mean, x = np.array([0.2, -0.1, 0.4]), np.array([[0.5, 0.1, -0.3], [1.0, 0.2, 0.1]])
    both = lambda *arguments: [getattr(stats.multivariate_normal, name)(*arguments) for name in ("logpdf", "pdf")]
    check_against_numpy(lambda a: both(a, mean, S), X)
    check_against_numpy(lambda a: both(a, mean, S), x)
    check_against_numpy(lambda a: both(x, a, S + np.diag(a)), X)
    check_against_numpy(lambda a: both(x, mean, a[0] ** 2), X)
    check_against_numpy(lambda a: stats.multivariate_normal.logpdf(x, a, S + np.diag(a), allow_singular=True), X)
    for singular in (np.ones((3, 3)), np.zeros((3, 3))):
        with pytest.raises(numbad.RecordingError, match="singular"):
            numbad.gradient(lambda a, cov=singular: stats.multivariate_normal.logpdf(x[0], a, cov, True), X)
    tape = numbad.record(lambda a: stats.multivariate_normal.logpdf(x[0], mean, np.diag(a), True), np.ones(3))
    with pytest.raises(numbad.BranchError):
        tape(np.array([1.0, 1.0, 1e-20]))
    frozen = stats.multivariate_normal(mean, S)
    check_against_numpy(lambda a: frozen.logpdf(a), X, value_rtol=1e-11)
    check_against_numpy(lambda a: stats.dirichlet.logpdf(np.array([0.2, 0.3, 0.5]), a), X)


def test_statistics_of_samples():
    x = np.array([[0.7, 1.3, 0.4, 2.2], [1.1, 0.2, 0.9, 0.5]])
    names = ("zscore", "skew", "kurtosis", "gmean", "hmean", "sem", "entropy")
    check_against_numpy(lambda a: [getattr(stats, name)(a, axis=1) for name in names], x)
    check_against_numpy(lambda a: stats.moment(a, 3), x[0])
    check_against_numpy(lambda a: stats.kurtosis(a, bias=False) + stats.skew(a, bias=False), x[0])
    check_against_numpy(lambda a: stats.entropy(a, np.array([0.1, 0.2, 0.3, 0.4])), x[0])


# ---------------------------------------------------------------- being called by name


def test_the_users_own_distribution():
    class Triangular(stats.rv_continuous):
        """2 x on the unit interval."""

        def _pdf(self, x):
            return 2.0 * x

        def _cdf(self, x):
            return x * x

    own = Triangular(a=0.0, b=1.0, name="own")
    check_against_numpy(lambda x: own.logpdf(x) + own.cdf(x, loc=0.1, scale=2.0), np.array([0.3, 0.7]))
