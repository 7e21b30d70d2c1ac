"""Which vector functions a machine can call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numbad.kernels import libmvec


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Begin without answers for another machine, and leave none."""
    libmvec.is_usable.cache_clear()
    yield
    libmvec.is_usable.cache_clear()


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
    monkeypatch.setattr(libmvec.llvm, "get_host_cpu_features", dict)
    assert [symbol for _, symbol, _ in libmvec.versions("exp", 8, 1)] == ["_ZGVbN2v_exp"]
