"""The check of a tape before it runs: hand-written, wrong and damaged ones."""

import dataclasses
import time

import numpy as np
import pytest

import numbad
from numbad.errors import BranchError, TapeError
from numbad.geometry import contiguous
from numbad.ops.definition import BY_NAME
from numbad.recording.arrays import make_block
from numbad.recording.scalars import make_scalar
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER
from numbad.tapes.slots import Input, Output
from numbad.tapes.tape import Tape
from shared.tapes import MATRIX, POINT, mixed


def rows(*rows_):
    return np.array(rows_, np.uint32).reshape(-1, 4)


ADD_OP, SIN, MULTIPLY = (BY_NAME[name].opcode for name in ("add", "sin", "multiply"))


def built(code, words=(), size=10, spaces=(None,), hosts=(), outputs=None):
    """Build a tape by hand: input x at addresses 1 to 3, the constant 2.0 at 4."""
    return Tape(
        code=code,
        words=np.array(words, np.int64),
        size=size,
        dtype=np.dtype(np.float64),
        numbers=np.array([[4.0, 2.0]]),
        loads=[],
        spaces=list(spaces),
        hosts=list(hosts),
        inputs=(Input("x", 0, 1, (3,), np.dtype(np.float64)),),
        outputs=outputs or (Output(0, 5, (), ()),),
        input_trees=(None,),
        output_tree=None,
        sites=np.full(len(code), -1, np.int32),
        places=[],
    )


def map_words(out=5, address=1, count=3, **changes):
    """Words of sin over an array."""
    words = {"size": 5 + 2 * 4, "count": count, "ndim": 1, "zeroed": count, "shape": count}
    words |= {"out_kind": 1, "out_space": 0, "out": out, "out_stride": 1}
    words |= {"kind": 1, "space": 0, "address": address, "stride": 1}
    return list((words | changes).values())


def sum_words(cleared=1, out=5, address=1, space=0, stride=1, count=3):
    """Words of a sum of an array."""
    kind = 1 if stride == 1 else 0
    return [13, count, 1, cleared, count, 2, 0, out, 0, kind, space, address, stride]


def test_hand_written_tapes_run():
    tape = built(rows((MULTIPLY, 5, 1, 2), (ADD_OP, 6, 5, 4)), outputs=(Output(0, 6, (), ()),))
    assert tape.value_and_gradient(np.array([3.0, 5.0, 0.0]))[0] == 17.0
    tape = built(rows((MAP + SIN, 5, 0, 1)), map_words(), outputs=(Output(0, 5, (3,), (1,)),))
    np.testing.assert_allclose(tape(np.ones(3)), np.sin(np.ones(3)), rtol=1e-15)
    tape = built(rows((ADD, 5, 0, 2), (ADD, 5, 13, 2)), sum_words() + sum_words(cleared=0))
    assert tape.value_and_gradient(np.ones(3))[0] == 6.0
    np.testing.assert_array_equal(tape.gradient(np.ones(3)), [2.0, 2.0, 2.0])


def test_an_operand_of_few_elements_reads_those_and_not_what_lies_between():
    written = ((SIN, 5, 1, 0), (SIN, 7, 2, 0))
    few = built(
        rows(*written, (ADD, 8, 0, 2)), sum_words(out=8, address=5, stride=2, count=2), outputs=(Output(0, 8, (), ()),)
    )
    assert few(np.array([1.0, 2.0, 0.0])) == pytest.approx(np.sin(1.0) + np.sin(2.0))
    with pytest.raises(TapeError, match="6 is read before it is written"):
        numbad.verify(built(rows(*written, (ADD, 8, 0, 2)), sum_words(out=8, address=5, count=2)))
    clear = [13, 1, 1, 9, 1, 1, 0, 5, 1, 2, 0, 1, 0]
    add = [13, 2, 1, 0, 2, 0, 0, 5, 8, 2, 0, 1, 0]  # to addresses 5 and 13 of the nine that were cleared
    code = rows((ADD, 5, 0, 2), (ADD, 5, 13, 2))
    tape = built(code, clear + add, size=14, outputs=(Output(0, 5, (9,), (1,)),))
    np.testing.assert_array_equal(tape(np.array([2.0, 0.0, 0.0])), [4.0, 0, 0, 0, 0, 0, 0, 0, 2.0])
    add[8] = 9
    with pytest.raises(TapeError, match="14"):
        numbad.verify(built(code, clear + add, size=15, outputs=(Output(0, 5, (9,), (1,)),)))


WRONG = {
    "unknown opcode": (built, (rows((200, 5, 1, 0)),), "opcode 200 is not known"),
    "out outside": (built, (rows((SIN, 10, 1, 0)),), "address 10 lies outside"),
    "operand outside": (built, (rows((SIN, 5, 4_000_000_000, 0)),), "address 4000000000 lies outside"),
    "read before written": (built, (rows((SIN, 5, 6, 0), (SIN, 6, 1, 0)),), "row 0 .*6 is read before"),
    "never written": (built, (rows((SIN, 5, 9, 0)),), "9 is read before"),
    "written twice": (built, (rows((SIN, 5, 1, 0), (SIN, 5, 1, 0)),), "row 1 .*5 is written twice"),
    "overwrites an input": (built, (rows((SIN, 2, 1, 0)),), "2 is written twice"),
    "overwrites a constant": (built, (rows((SIN, 4, 1, 0)),), "4 is written twice"),
    "overwrites zero": (built, (rows((SIN, 0, 1, 0)),), "row 0 \\(sin\\): the address 0"),
    "two operands for one": (built, (rows((SIN, 5, 1, 2)),), "second one, 2"),
    "guard of nothing": (built, (rows((SIN, 5, 1, 0), (GUARD, 1, 9, 0)),), "9 is read before"),
    "guard of neither": (built, (rows((GUARD, 7, 1, 0)),), "truth value 7"),
    "guard value outside": (built, (rows((GUARD_VALUE, 77, 1, 0)),), "address 77"),
    "words outside": (built, (rows((MAP + SIN, 5, 9, 1)), map_words()), "9, which lies outside of the words|not fit"),
    "no words": (built, (rows((MAP + SIN, 5, 0, 1)),), "outside of the words"),
    "operand count": (built, (rows((MAP + SIN, 5, 0, 2)), map_words()), "has 2 operands"),
    "word count": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(size=12)), "said to be 12"),
    "axes": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(ndim=1 << 40)), "axes"),
    "negative length": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(shape=-3)), "length -3"),
    "element count": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(shape=2)), "said to have 3 elements"),
    "kind": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(stride=0)), "kind 1"),
    "unknown kind": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(kind=7)), "kind 7"),
    "space": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(space=3)), "space 3"),
    "negative space": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(space=-1)), "space -1"),
    "beyond the arena": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(address=8)), "reaches element 10"),
    "before the arena": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(kind=0, stride=-1)), "reaches element -1"),
    "giant stride": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(kind=0, stride=1 << 62)), "outside of its space"),
    "result elsewhere": (built, (rows((MAP + SIN, 6, 0, 1)), map_words()), "row's address, but at 5"),
    "reads its result": (built, (rows((MAP + SIN, 5, 0, 1)), map_words(address=4)), "5 is read before"),
    "cleared too much": (built, (rows((ADD, 5, 0, 2)), sum_words(cleared=99)), "99"),
    "result outside of what is cleared": (built, (rows((ADD, 6, 0, 2)), sum_words(out=5)), "clears 1"),
    "sum beyond its space": (built, (rows((ADD, 5, 0, 2)), sum_words(space=1), 10, (None, np.ones(2))), "element 3"),
    "adds to an input": (built, (rows((ADD, 1, 0, 2)), sum_words(cleared=0, out=1)), "not an accumulator"),
    "adds to a scalar row": (
        built,
        (rows((SIN, 5, 1, 0), (ADD, 5, 0, 2)), sum_words(cleared=0)),
        "row 1 .*5, which is not an accumulator",
    ),
    "reads an open accumulator": (
        built,
        (rows((ADD, 5, 0, 2), (SIN, 6, 5, 0), (ADD, 5, 13, 2)), sum_words() + sum_words(cleared=0)),
        "row 1 .*5 is read before",
    ),
    "gathers from outside": (built, (rows((GATHER, 5, 0, 1)), [4, 2, 1, 99]), "99"),
    "gathers too many": (built, (rows((GATHER, 5, 0, 1)), [1 << 40, 1 << 40, 1]), "does not fit"),
    "scatters outside": (built, (rows((SCATTER, 5, 0, 1)), [7, 2, 3, 0, 1, 0, 3]), "place 3"),
    "scatters from nowhere": (built, (rows((SCATTER, 5, 0, 1)), [7, 2, 3, 5, 1, 0, 2]), "space 5"),
    "host": (built, (rows((HOST, 5, 0, 0)), [10, 0, 1, 1, 0, 1, 3, 0, 5, 3]), "host 0"),
    "output outside": (built, (rows((SIN, 5, 1, 0)), (), 10, (None,), (), (Output(0, 99, (), ()),)), "output"),
    "output not written": (built, (rows((SIN, 5, 1, 0)), (), 10, (None,), (), (Output(0, 7, (), ()),)), "never"),
    "size": (built, (rows((SIN, 5, 1, 0)), (), 0), "0 addresses"),
    "small": (built, (rows((SIN, 2, 1, 0)), (), 3), "outside of the arena"),
    "object space": (built, (rows((SIN, 5, 1, 0)), (), 10, (None, np.array([None]))), "not an array of real"),
    "strided space": (built, (rows((SIN, 5, 1, 0)), (), 10, (None, np.ones(9)[::2])), "not contiguous"),
    "code shape": (built, (np.zeros((2, 3), np.uint32),), "shape \\(rows, 4\\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tapes_are_refused_before_anything_runs(name):
    build, arguments, words = WRONG[name]
    with pytest.raises(TapeError, match=words):
        build(*arguments)(np.ones(3))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([[99.0, 1.0]], "outside of the arena"), ([[2.0, 1.0]], "share an address"), ([[4.0, 1.0], [4.0, 2.0]], "share")],
)
def test_constants_have_places_of_their_own(numbers, words):
    tape = dataclasses.replace(built(rows((SIN, 5, 1, 0))), numbers=np.array(numbers))
    with pytest.raises(TapeError, match=words):
        tape(np.ones(3))


def test_rows_cannot_be_changed_after_verification(tape):
    with pytest.raises(ValueError, match="read-only"):
        tape.code[0, 0] = 7
    code = tape.code.copy()
    copied = dataclasses.replace(tape, code=code)
    code[:] = 0
    assert copied(*POINT) == tape(*POINT)


def every_kind():
    """Return a tape with rows of every kind, some of them built by hand on top of a recording."""
    from numbad.ops import host

    @host.array_op
    def verified_double(x):
        return 2.0 * x

    @verified_double.vjp
    def verified_double_vjp(bars, results, operands):
        return (2.0 * bars[0],)

    def f(x, s):
        y = verified_double(MATRIX @ x)
        recorder = x.recorder
        out = recorder.scatter_row(np.array([4, 0, 4]), 6, 0, y.place()[1])
        block = make_block(recorder, out, (6,))
        total = recorder.add_row((6,), 1, (0,), (0, out, contiguous((6,))))
        recorder.structural_row(ADD, (30,), 0, total, ((0, total, (0,)), (0, y.place()[1], (1,))))
        z = block * 1.0
        z[1] = s
        scattered = make_scalar(recorder, total)
        return mixed(x, s) + scattered * np.sum(z * z)

    return numbad.record(f, *POINT), f


def test_every_kind_of_row_verifies_and_runs():
    tape, _ = every_kind()
    opcodes = set(tape.code[:, 0].tolist())
    assert {ADD, CONTRACT, GATHER, SCATTER, HOST, GUARD, GUARD_VALUE} <= opcodes
    assert any(MAP <= opcode < 2 * MAP for opcode in opcodes)
    numbad.verify(tape)
    step, (x, s) = 1e-6, POINT
    slope = (tape(x, s + step) - tape(x, s - step)) / (2.0 * step)
    assert tape.gradient(x, s)[1] == pytest.approx(slope, rel=1e-6)
    assert "host" in tape.summary()
    assert "verified_double" in str(tape)


@pytest.mark.parametrize("part", ["code", "words"])
@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_tapes_are_refused_or_stay_within_bounds(part, seed):
    """Change bytes of a tape at random: it is refused, or runs without touching foreign memory."""
    tape, _ = every_kind()
    random = np.random.default_rng(seed)
    refused = 0
    trials = 1500
    for _ in range(trials):
        changed = getattr(tape, part).copy()
        flat = changed.reshape(-1).view(np.uint8)
        for _ in range(int(random.integers(1, 4))):
            flat[random.integers(flat.size)] = random.integers(256)
        if random.random() < 0.3:  # plausible numbers instead of bytes
            whole = changed.reshape(-1)
            whole[random.integers(whole.size)] = random.integers(0, tape.size)
        damaged = dataclasses.replace(tape, **{part: changed})
        try:
            with np.errstate(all="ignore"):
                damaged.gradient(*POINT)
        except TapeError:
            refused += 1
        except BranchError:
            pass
    assert refused > trials // 2


def test_verification_is_fast():
    code = np.empty((1_000_000, 4), np.uint32)
    code[:, 0], code[:, 2], code[:, 3] = ADD_OP, np.arange(4, 1_000_004), 4
    code[:, 1] = np.arange(5, 1_000_005)
    tape = built(code, size=1_000_005)
    numbad.verify(tape)
    start = time.perf_counter()
    numbad.verify(tape)
    assert time.perf_counter() - start < 0.5
