"""Places and index spaces: axes that fit together, and lists of addresses as rectangles."""

from __future__ import annotations

import numpy as np
import pytest

from numbad.compilation.places import Place, common_shape, drop_ones, find_rectangles
from numbad.geometry import spread
from numbad.limits import FEW_RECTANGLES


def addresses(place: Place, shape: tuple[int, ...]) -> list[int]:
    """Return the addresses of a place, in the order of its index space."""
    return (place.address + spread(shape, place.strides)).reshape(-1).tolist()


def test_split_places_name_the_same_addresses() -> None:
    place = Place(0, 7, (1, 40))
    split = place.split((12, 5), (3, 2, 2, 5))
    assert split.strides == (4, 2, 1, 40)
    assert addresses(split, (3, 2, 2, 5)) == addresses(place, (12, 5))


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ((12,), (3, 4), (3, 4)),
        ((2, 6), (4, 3), (2, 2, 3)),
        ((12,), (12,), (12,)),
        ((2, 3), (3, 2), None),
        ((), (), ()),
    ],
)
def test_common_shapes_are_made_of_both(one: tuple, other: tuple, common: tuple | None) -> None:
    assert common_shape(one, other) == common_shape(other, one) == common


def test_axes_of_one_element_are_left_out() -> None:
    shape, (place,) = drop_ones((1, 3, 1, 2), [Place(0, 4, (9, 2, 5, 1))])
    assert shape == (3, 2) and place == Place(0, 4, (2, 1))


def test_places_that_may_share_addresses_meet() -> None:
    one, other, apart = Place(0, 0, (2,)), Place(0, 1, (2,)), Place(0, 12, (1,))
    assert one.meets(other, (5,)) and not one.meets(apart, (5,)) and not one.meets(Place(1, 0, (2,)), (5,))
    assert one.is_block((5,)) is False and Place(0, 3, (5, 1)).is_block((2, 5))
    assert Place(0, 9, (-1,)).reach((5,)) == (5, 9) and Place(0, 9, (-1,)).is_block((5,))
    assert not Place(0, 0, (1, 1)).names_each((3, 3))


def spelled(listed: np.ndarray) -> int | None:
    """Return how many rectangles a list has, when they have been found to be the list."""
    found = find_rectangles(listed)
    if found is None:
        return None
    got = np.full(len(listed), -1)
    for part in found:
        places = part.start + spread(part.shape, part.steps)
        assert (got[places.reshape(-1)] == -1).all()
        got[places.reshape(-1)] = (part.address + spread(part.shape, part.strides)).reshape(-1)
    np.testing.assert_array_equal(got, listed)
    return len(found)


def test_lists_of_a_grid_with_another_middle_are_few_rectangles() -> None:
    grid = np.arange(1600).reshape(40, 40)
    new = grid.copy()
    new[1:-1, 1:-1] = 5000 + np.arange(38 * 38).reshape(38, 38)
    counts = [
        spelled(part.reshape(-1)) for part in (new[1:], new[:-1], new[:, 1:], new[:, :-1], grid[::-1, ::2], grid.T)
    ]
    assert counts == [4, 4, 3, 3, 1, 1]


def test_rectangles_spell_any_list() -> None:
    random = np.random.default_rng(0)
    for length in (1, 2, 3, 5, 16, 40, 200):
        for k in range(60):
            steps = random.integers(-1 if k % 3 else 0, 3, length)
            spelled(np.cumsum(steps) + 300 if k % 2 else random.integers(0, 1 + length // (1 + k % 4), length))


def test_many_rectangles_are_none() -> None:
    count = 40 * FEW_RECTANGLES
    assert spelled(np.random.default_rng(1).permutation(count)) is None
    assert spelled(np.arange(FEW_RECTANGLES)) == 1
