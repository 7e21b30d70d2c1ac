"""Convolutions, linear filters and medians of what is there: values and gradients."""

import numpy as np
import scipy.signal

import numbad

from .problems import need


def images(shape, taps, name):
    """Return the sum of squares of a convolution of images, and an image."""
    kernel = np.random.default_rng(5).standard_normal((taps, taps))
    convolve = getattr(scipy.signal, name)
    return lambda a: np.sum(convolve(a, kernel, mode="same") ** 2), (shape, shape)


def sequences(count, taps):
    """Return the sum of squares of a convolution of sequences, and their length."""
    kernel = np.random.default_rng(5).standard_normal(taps)
    return lambda a: np.sum(scipy.signal.fftconvolve(a, kernel, mode="same") ** 2), (count,)


PROBLEMS = {
    "convolve2d 128 by 5": lambda: images(128, 5, "convolve2d"),
    "fftconvolve 128 by 17": lambda: images(128, 17, "fftconvolve"),
    "fftconvolve 8000 by 8000": lambda: sequences(8000, 8000),
    "lfilter 20000": lambda: (lambda x: np.sum(scipy.signal.lfilter([1.0, 0.5], [1.0, -0.3], x) ** 2), (20000,)),
    "nanmedian 2000 x 7": lambda: (lambda x: np.sum(np.nanmedian(x, axis=1) ** 2), (2000, 7)),
}


class Gradients:
    """The gradient of a sum of squares, recorded anew and replayed."""

    params = [list(PROBLEMS)]
    param_names = ["problem"]
    timeout = 120

    def setup(self, problem):
        need("gradient", "grad", "jit")
        self.function, shape = PROBLEMS[problem]()
        self.x = np.random.default_rng(7).standard_normal(shape)
        if "nan" in problem:
            self.x[::3, 1] = np.nan
        self.replayed = numbad.jit(numbad.grad(self.function))
        numbad.gradient(self.function, self.x)
        self.replayed(self.x)

    def time_recorded(self, problem):
        numbad.gradient(self.function, self.x)

    def time_replayed(self, problem):
        self.replayed(self.x)
