"""What one call costs: functions of a few operations, recorded anew each time, or replayed.

asv runs a benchmark that has a `setup` once between two looks at the clock; these take microseconds, so
their inputs are made when the module is imported.
"""

import numbad

from .problems import fastest, formulas, logistic_problem

TERMS = [1, 4, 16]
FORMULAS = {terms: formulas(terms) for terms in TERMS}
SAMPLES = [4, 16, 64]
LOGISTIC = {samples: logistic_problem(samples, 3) for samples in SAMPLES}
TAPES = {terms: numbad.record(function, 2.0, 4.0) for terms, function in FORMULAS.items()}
JITTED = {terms: numbad.jit(numbad.grad(function, (0, 1))) for terms, function in FORMULAS.items()}


class Formula:
    """exp(x1) - x1*x2 + cos(x2), once and as a sum of several."""

    params = [TERMS]
    param_names = ["terms"]

    def time_gradient(self, terms):
        numbad.gradient(FORMULAS[terms], 2.0, 4.0)

    def time_primal(self, terms):
        FORMULAS[terms](2.0, 4.0)

    def time_gradient_of_tape(self, terms):
        TAPES[terms].gradient(2.0, 4.0)

    def time_jitted_gradient(self, terms):
        JITTED[terms](2.0, 4.0)

    def track_gradient_over_primal(self, terms):
        function = FORMULAS[terms]
        return fastest(lambda: numbad.gradient(function, 2.0, 4.0)) / fastest(lambda: function(2.0, 4.0))

    track_gradient_over_primal.unit = "ratio"


class Logistic:
    """A logistic loss of some samples with three features."""

    params = [SAMPLES]
    param_names = ["samples"]

    def time_value_and_gradient(self, samples):
        loss, point = LOGISTIC[samples]
        numbad.value_and_gradient(loss, *point)

    def track_gradient_over_primal(self, samples):
        loss, point = LOGISTIC[samples]
        return fastest(lambda: numbad.gradient(loss, *point)) / fastest(lambda: loss(*point))

    track_gradient_over_primal.unit = "ratio"
