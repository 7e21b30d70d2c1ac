"""Fresh processes: what the import costs, and the first derivative with a warm and with an empty disk cache."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NUMBERS = "import numbad, numpy as np; numbad.gradient(lambda x, y: np.exp(x) * y, 2.0, 4.0)"
ARRAYS = "import numbad, numpy as np; numbad.gradient(lambda x: np.sum(np.sin(x)), np.ones(9))"
LARGE = "import numbad, numpy as np; numbad.gradient(lambda x: np.sum(np.sin(x)), np.ones(99999))"
PROGRAMS = {"numbers": NUMBERS, "arrays": ARRAYS, "large arrays": LARGE}


def package():
    """Return the folder of the numbad that asv measures; without one, a `setup` that asks is skipped."""
    specification = importlib.util.find_spec("numbad")
    if specification is None:
        raise NotImplementedError("numbad is missing")
    return Path(specification.origin).parent


def run(program, **environment):
    """Return the seconds that a fresh Python takes for a program."""
    environment = {"PYTHONPATH": str(package().parent)} | environment
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stderr=subprocess.DEVNULL, env=os.environ | environment)
    return time.perf_counter() - start


def shortest(program, times=3):
    """Return the seconds of the shortest of several runs."""
    return min(run(program) for _ in range(times))


class Import:
    """Importing a package; the figures in seconds are without the interpreter's own start, the times with it."""

    params = ["numbad", "numba", "numpy"]
    param_names = ["package"]

    def setup(self, name):
        package()

    def time_process(self, name):
        run(f"import {name}")

    def track_seconds(self, name):
        return shortest(f"import {name}") - shortest("pass")

    track_seconds.unit = "seconds"


def track_import_over_numba():
    return shortest("import numbad") / shortest("import numba")


track_import_over_numba.unit = "ratio"


class FirstGradient:
    """From the start of a process to its first gradient."""

    params = list(PROGRAMS)
    param_names = ["of"]
    timeout = 180

    def setup(self, of):
        package()

    def time_warm(self, of):
        run(PROGRAMS[of])

    def track_warm_seconds(self, of):
        run(PROGRAMS[of])
        return shortest(PROGRAMS[of])

    def track_cold_seconds(self, of):
        """Everything is compiled: the first gradient ever on a machine, by a copy of the package without caches."""
        with tempfile.TemporaryDirectory() as empty:
            shutil.copytree(package(), Path(empty) / "numbad", ignore=shutil.ignore_patterns("__pycache__"))
            return run(PROGRAMS[of], PYTHONPATH=empty, XDG_CACHE_HOME=empty, NUMBA_CACHE_DIR=f"{empty}/numba")

    track_warm_seconds.unit = track_cold_seconds.unit = "seconds"
