"""The LLVM texts of the package: of the sources as they are, for every function, fitted to any machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import numbad
from numbad.kernels import libmvec, loading, machinecode, make_texts, switches, texts
from numbad.kernels.archives import pack
from numbad.kernels.sources import digest_of_sources
from numbad.limits import VARIANT
from numbad.sweeps import whole

TITLES = [f"{name}_{dtype}" for name in loading.list_functions() for dtype in switches.dtypes_of(name)]
pytestmark = pytest.mark.skipif(bool(VARIANT), reason="a variant's code has no texts")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where another file of texts may be written, which is read instead of that of the package."""
    monkeypatch.setattr(texts, "ARCHIVE", tmp_path / "texts")
    for function in (texts.are_current, texts.digest_of_texts, texts.archive):
        function.cache_clear()
    yield tmp_path / "texts"
    for function in (texts.are_current, texts.digest_of_texts, texts.archive):
        function.cache_clear()


def test_the_texts_are_of_the_sources_as_they_are() -> None:
    assert texts.ARCHIVE.read_bytes().startswith(texts.head_of(digest_of_sources())), (
        "run python -m numbad.kernels.make_texts"
    )


def test_every_function_has_a_text() -> None:
    found = texts.archive()
    assert sorted(found.places) == sorted(["", *TITLES])
    assert len(found.packed) == sum(size for _, size in found.places.values())


def test_texts_name_no_machine() -> None:
    for title in TITLES:
        text = texts.find(title)
        assert text is not None
        assert not re.search(r"^target |target-cpu|target-features|/root|/home|/work|0x7f", text, re.MULTILINE), title
        assert "NRT_MemInfo_alloc" not in text


def test_a_text_of_other_sources_is_not_taken(archive: Path) -> None:
    data = pack({"run_at_float64": "; run\n"}, digest_of_sources())
    archive.write_bytes(data)
    assert texts.find("run_at_float64") == "; run\n"
    for function in (texts.are_current, texts.digest_of_texts, texts.archive):
        function.cache_clear()
    digest = digest_of_sources().encode()
    archive.write_bytes(data.replace(digest, digest[::-1], 1))
    assert not texts.are_current()
    assert texts.find("run_at_float64") is None


def test_a_machine_without_vector_functions_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "is_usable", lambda symbol: False)
    text = texts.find("block_sin_float64")
    assert text is not None and "_ZGV" not in text and "llvm.compiler.used" not in text
    code = texts.compile_text(text)
    x, z = np.linspace(-3.0, 3.0, 37), np.zeros(37)
    call = machinecode.callable_at(machinecode.link(texts.symbol_of("block_sin"), code), x.dtype, 4)
    call(0.0, z.ctypes.data, x.ctypes.data, x.ctypes.data, x.size)
    np.testing.assert_allclose(z, np.sin(x), rtol=1e-15, atol=1e-16)


@pytest.mark.skipif(not libmvec.HAVE_LIBMVEC, reason="there is no libmvec here")
def test_a_machine_keeps_the_vector_functions_that_it_has() -> None:
    text = texts.find("block_sin_float64")
    assert text is not None
    named = set(re.findall(r"@(_ZGV\w+)", text))
    assert named == {symbol for _, symbol, _ in libmvec.versions("sin", 8, 1)}
    for found in texts.VARIANTS.findall(text):
        assert all(libmvec.is_usable(mapping.split("(")[1][:-1]) for mapping in found.split(","))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["block_exp", "partials_multiply", "block_power", "partials_arctan2"])
def test_numba_and_texts_compute_the_same_bits(name: str, dtype: str) -> None:
    kind = np.dtype(dtype)
    text = texts.find(f"{name}_{dtype}")
    assert text is not None
    addresses = [machinecode.link(texts.symbol_of(name), texts.compile_text(text))]
    import numba

    signature = numba.int64(numba.from_dtype(kind), *[numba.int64] * switches.count_integers(name))
    compiled = numba.cfunc(signature, error_model="numpy")(switches.source_of(name))
    addresses.append(compiled.address)
    rng = np.random.default_rng(0)
    inputs = [np.abs(rng.standard_normal(101)).astype(kind) for _ in range(3)]
    answers = []
    for address in addresses:
        outputs = [np.zeros(101, kind) for _ in range(2 if name.startswith("partials") else 1)]
        operands = inputs[: switches.count_integers(name) - 1 - len(outputs)]
        places = [array.ctypes.data for array in (*outputs, *operands)]
        machinecode.callable_at(address, kind, len(places) + 1)(0.0, *places, 101)
        answers.append(np.concatenate(outputs).tobytes())
    assert answers[0] == answers[1]


def test_a_function_that_allocates_is_refused() -> None:
    with pytest.raises(AssertionError, match="allocates memory"):
        make_texts.check("declare ptr @NRT_MemInfo_alloc_aligned(i64, i32)\n", "lavish")


def test_texts_are_packed_and_found_again(archive: Path) -> None:
    archive.write_bytes(pack({"two_float64": "define void @two()\n", "one_float64": "; one\n"}, digest_of_sources()))
    assert texts.find("two_float64") == "define void @two()\n"
    assert texts.find("one_float64") == "; one\n"
    assert texts.find("three_float64") is None


def test_short_names_stand_for_long_ones() -> None:
    long = "define i64 @_ZN6numbad7kernels3fooB2v1E(ptr captures(none) %x) #0 {\n"
    long += "br label %_ZN6numbad3fooE.exit ; preds\n}\n"
    text = make_texts.clean(long + 'attributes #0 = { memory(argmem: read) }\n!1 = !{!1, !"_ZN6numbad3foo: %x"}\n')
    assert text.startswith("define i64 @f0(ptr %x) #0 {\nbr label %f1\n}")
    assert '!"f2"' in text and "memory" not in text


def test_rows_stop_for_functions_that_are_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_tables", {})
    monkeypatch.setattr(whole, "_kept", whole.Kept())  # plans name the tables
    x = np.linspace(0.1, 0.9, 7)
    found = numbad.gradient(lambda v: np.sum(np.arctanh(v) * np.cosh(v)), x)
    table = loading.op_table("partials", x.dtype)
    assert np.count_nonzero(table) < 10
    np.testing.assert_allclose(found, np.cosh(x) / (1.0 - x * x) + np.arctanh(x) * np.sinh(x), rtol=1e-14)


@pytest.mark.parametrize("name", ["block_sin", "block_power", "partials_cos", "partials_arctan2"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_bits_do_not_depend_on_where_memory_is(name: str, dtype: str) -> None:
    kind, n = np.dtype(dtype), 14
    call = machinecode.callable_at(int(loading.switch(name, kind)), kind, switches.count_integers(name))
    outputs = 2 if name.startswith("partials") else 1
    rng = np.random.default_rng(1)
    inputs = rng.uniform(0.1, 3.0, (switches.count_integers(name) - 1 - outputs, n)).astype(kind)
    answers = set()
    for gap in (n, n + 1, 40 * n):  # elements from one run to the next
        memory = np.zeros(6 * gap, kind)
        runs = [memory[k * gap : k * gap + n] for k in range(len(inputs) + outputs)]
        for run, values in zip(runs, inputs):
            run[:] = values
        places = [run.ctypes.data for run in runs]
        call(0.0, *places[len(inputs) :], *places[: len(inputs)], n)
        answers.add(b"".join(run.tobytes() for run in runs[len(inputs) :]))
    assert len(answers) == 1
