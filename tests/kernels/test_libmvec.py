"""Which vector functions a machine can call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numbad.kernels import libmvec


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Begin without answers for another machine, and leave none."""
    for function in (libmvec.is_usable, libmvec.processor):
        function.cache_clear()
    yield
    for function in (libmvec.is_usable, libmvec.processor):
        function.cache_clear()


@pytest.mark.skipif(not libmvec.HAVE_LIBMVEC, reason="there is no libmvec here")
def test_versions_are_those_of_the_registers() -> None:
    found = libmvec.versions("sin", 8, 1)
    assert found[0] == ("_ZGV_LLVM_N2v_sin(_ZGVbN2v_sin)", "_ZGVbN2v_sin", 2)
    assert next(lanes for _, _, lanes in libmvec.versions("powf", 4, 2)) == 4
    assert libmvec.versions("fmod", 8, 2) == libmvec.versions("lgammaf", 4, 1) == []


def test_a_machine_without_the_library_calls_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libmvec, "HAVE_LIBMVEC", False)
    assert libmvec.versions("sin", 8, 1) == []
    with pytest.raises(OSError, match="made where it is"):
        libmvec.name_for_all_machines()


@pytest.mark.skipif(not libmvec.HAVE_LIBMVEC, reason="there is no libmvec here")
def test_a_machine_without_wide_registers_calls_the_narrow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+sse2,-avx2")
    assert [symbol for _, symbol, _ in libmvec.versions("exp", 8, 1)] == ["_ZGVbN2v_exp"]


def test_the_processor_is_this_one_or_that_of_numbas_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    host = libmvec.processor()
    assert host[0] == libmvec.llvm.get_host_cpu_name() and host[1]
    libmvec.processor.cache_clear()
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    assert libmvec.processor() == ("haswell", host[1])
    libmvec.processor.cache_clear()
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert libmvec.processor() == ("generic", "")


def test_a_processor_whose_features_llvm_does_not_know_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("failed to get host cpu features")

    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    monkeypatch.setattr(libmvec.llvm, "get_host_cpu_features", fail)
    assert libmvec.processor()[1] == ""
