"""What a call of a few operations costs, recorded anew each time or replayed; a time is that of 100 calls."""

import numbad

from .problems import fastest, formulas, logistic_problem, need

CALLS = range(100)


class Formula:
    """exp(x1) - x1*x2 + cos(x2), once and as a sum of several."""

    params = [1, 4, 16]
    param_names = ["terms"]

    def setup(self, terms):
        need("gradient", "record", "jit", "grad", "Tape.gradient")
        self.function = formulas(terms)
        self.tape = numbad.record(self.function, 2.0, 4.0)
        self.jitted = numbad.jit(numbad.grad(self.function, (0, 1)))
        for _ in range(5):
            self.tape.gradient(2.0, 4.0)
            self.jitted(2.0, 4.0)

    def time_100_gradients(self, terms):
        for _ in CALLS:
            numbad.gradient(self.function, 2.0, 4.0)

    def time_100_gradients_of_tape(self, terms):
        for _ in CALLS:
            self.tape.gradient(2.0, 4.0)

    def time_100_jitted_gradients(self, terms):
        for _ in CALLS:
            self.jitted(2.0, 4.0)

    def track_gradient_over_primal(self, terms):
        return fastest(lambda: numbad.gradient(self.function, 2.0, 4.0)) / fastest(lambda: self.function(2.0, 4.0))

    track_gradient_over_primal.unit = "ratio"


class Logistic:
    """A logistic loss of some samples with three features."""

    params = [4, 16, 64]
    param_names = ["samples"]

    def setup(self, samples):
        need("gradient", "value_and_gradient")
        self.loss, self.point = logistic_problem(samples, 3)
        numbad.value_and_gradient(self.loss, *self.point)

    def time_100_values_and_gradients(self, samples):
        for _ in CALLS:
            numbad.value_and_gradient(self.loss, *self.point)

    def time_100_gradients(self, samples):
        for _ in CALLS:
            numbad.gradient(self.loss, *self.point)

    def track_gradient_over_primal(self, samples):
        return fastest(lambda: numbad.gradient(self.loss, *self.point)) / fastest(lambda: self.loss(*self.point))

    track_gradient_over_primal.unit = "ratio"
