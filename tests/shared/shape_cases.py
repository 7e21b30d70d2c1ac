"""NumPy's functions that move elements, at arrays of several shapes and memory layouts."""

from __future__ import annotations

import numpy as np

random = np.random.default_rng(3)
V = random.normal(size=5)
M = random.normal(size=(3, 4))
Q = random.normal(size=(3, 3))
T = random.normal(size=(2, 3, 4))
D = np.array(0.7)
E = np.zeros((0, 4))
S = random.normal(size=(6, 8))[::2, ::-2]
F = np.asfortranarray(random.normal(size=(3, 4)))
MASK = random.random((3, 4)) > 0.5


def written_through(x, order):
    """Return a copy after an assignment to its elements in one axis: a view of it only where it has C order."""
    y = x.copy(order)
    y.reshape(-1)[:2] = 7.0
    return y


CASES = {
    "reshape": (lambda x: x.reshape(2, -1), M),
    "reshape np": (lambda x: np.reshape(x, (4, 3), order="F"), S),
    "reshape A": (lambda x: (np.reshape(x, 12, order="A"), x[1:].T.reshape(8, order="A")), M),
    "reshape A turned": (lambda x: (x.T.reshape(6, 2, order="A"), x[:, 1:].T.reshape(9, order="A")), M),
    "copies written to": (lambda x: [written_through(x, order) for order in "CFAK"], M),
    "copies written to, turned": (lambda x: [written_through(x.T, order) for order in "CFAK"], M),
    "copies written to, of three axes": (
        lambda x: [written_through(x.transpose(1, 0, 2), order) for order in "CFAK"],
        T,
    ),
    "reshape int": (lambda x: np.reshape(x, 12), F),
    "reshape 0-d": (lambda x: np.reshape(x, (1, 1)), D),
    "reshape to 0-d": (lambda x: np.reshape(x[:1], ()), V),
    "reshape empty": (lambda x: np.reshape(x, (2, 0, 3)), E),
    "ravel": (lambda x: (np.ravel(x), x.ravel(), np.ravel(x, "F"), np.ravel(x, "K"), np.ravel(x, "A")), M),
    "ravel strided": (lambda x: (np.ravel(x), np.ravel(x, "F")), S),
    "ravel K": (lambda x: (np.ravel(x, "K"), np.ravel(x.T, "K")), M),
    "flatten": (lambda x: (x.flatten(), x.flatten("F")), F),
    "transpose": (lambda x: (np.transpose(x), x.T, x.transpose(1, 0), np.permute_dims(x, (1, 0))), S),
    "transpose axes": (lambda x: (np.transpose(x, (2, 0, 1)), x.transpose((1, 2, 0)), x.transpose(None)), T),
    "matrix_transpose": (lambda x: (np.matrix_transpose(x), x.mT, np.linalg.matrix_transpose(x)), T),
    "swapaxes": (lambda x: (np.swapaxes(x, 0, -1), x.swapaxes(0, 1)), T),
    "moveaxis": (lambda x: (np.moveaxis(x, 0, -1), np.moveaxis(x, [0, 2], [1, 0])), T),
    "rollaxis": (lambda x: (np.rollaxis(x, 2), np.rollaxis(x, 0, 3), np.rollaxis(x, -1, 1)), T),
    "squeeze": (lambda x: (np.squeeze(x[None, :, None]), np.squeeze(x[None], 0), x[:, None].squeeze()), V),
    "squeeze to 0-d": (lambda x: np.squeeze(x[:1]) * 2.0, V),
    "expand_dims": (lambda x: (np.expand_dims(x, 0), np.expand_dims(x, (0, -1))), V),
    "broadcast_to": (lambda x: np.broadcast_to(x, (2, 5)), V),
    "broadcast_to 0-d": (lambda x: np.broadcast_to(x, (2, 2)), D),
    "broadcast_arrays": (lambda x, y: np.broadcast_arrays(x, y), M, V[:4]),
    "atleast": (lambda x: (np.atleast_1d(x), np.atleast_2d(x), np.atleast_3d(x)), D),
    "atleast 1": (lambda x: (np.atleast_1d(x), np.atleast_2d(x), np.atleast_3d(x)), V),
    "atleast 2": (lambda x, y: (np.atleast_1d(x, y), np.atleast_2d(x, y), np.atleast_3d(x, y)), M, D),
    "flip": (lambda x: (np.flip(x), np.flip(x, 1), np.flip(x, (0, -1)), np.fliplr(x), np.flipud(x)), T),
    "rot90": (lambda x: [np.rot90(x, k) for k in range(-1, 5)], M),
    "rot90 axes": (lambda x: [np.rot90(x, k, axes=(2, 0)) for k in range(4)], T),
    "roll": (lambda x: (np.roll(x, 2), np.roll(x, -1, 1), np.roll(x, (1, 2), (0, 1)), np.roll(x, 3, (0, 1))), M),
    "roll strided": (lambda x: (np.roll(x, 7), np.roll(x, 5, axis=0)), S),
    "fftshift": (lambda x: (np.fft.fftshift(x), np.fft.ifftshift(x), np.fft.fftshift(x, axes=1)), M),
    "diagonal": (lambda x: [np.diagonal(x, k) for k in (-3, -2, -1, 0, 1, 2, 3, 4)], M),
    "diagonal axes": (lambda x: (np.diagonal(x, 1, 0, 2), x.diagonal(0, 2, 1), np.linalg.diagonal(x)), T),
    "trace": (lambda x: (np.trace(x), np.trace(x, 1), x.trace(-1)), M),
    "trace axes": (lambda x: (np.trace(x, 0, 1, 2), np.linalg.trace(x)), T),
    "diag": (lambda x: [np.diag(x, k) for k in (-2, 0, 1)], V),
    "diag of matrix": (lambda x: [np.diag(x, k) for k in (-2, 0, 1)], S),
    "diagflat": (lambda x: np.diagflat(x, 1), M),
    "tril triu": (lambda x: [f(x, k) for f in (np.tril, np.triu) for k in (-1, 0, 2)], M),
    "tril vector": (lambda x: np.tril(x), V),
    "triu stack": (lambda x: np.triu(x, 1), T),
    "split": (lambda x: (np.split(x, 2, axis=1), np.split(x, [1, 3], axis=1), np.array_split(x, 2)), M),
    "hsplit": (lambda x: (np.hsplit(x, 2), np.vsplit(x, 3), np.hsplit(x, [1])), M),
    "dsplit": (lambda x: np.dsplit(x, 2), T),
    "unstack": (lambda x: np.unstack(x, axis=1), M),
    "concatenate": (lambda x, y: np.concatenate([x, y[None], x], axis=0), M, V[:4]),
    "concatenate axis": (lambda x: np.concatenate((x, x.T), axis=-1), Q),
    "concatenate plain": (lambda x: np.concatenate([np.ones((3, 2)), x, np.zeros((3, 1))], 1), M),
    "concatenate None": (lambda x, y: np.concatenate([x, y], axis=None), M, V),
    "concatenate rows": (lambda x: np.concatenate(x), T),
    "concatenate empty": (lambda x: np.concatenate([x[:0], x, x[:0]]), V),
    "concat": (lambda x: np.concat([x, x]), V),
    "stack": (lambda x, y: (np.stack([x, y]), np.stack([x, y], axis=-1), np.stack([x, y], 1)), M, F),
    "stack scalars": (lambda x: np.stack([x[0], x[1] * 2.0, 3.0]), V),
    "stack rows": (lambda x: np.stack(x, axis=1), M),
    "vstack": (lambda x, y: np.vstack([x, y]), M, V[:4]),
    "hstack": (lambda x, y: (np.hstack([x, y]), np.hstack([x[:, None], y[:, None]])), V, V),
    "dstack": (lambda x, y: np.dstack([x, y]), M, F),
    "column_stack": (lambda x, y: np.column_stack([x, y]), V, np.outer(V, V[:2])),
    "append": (lambda x: (np.append(x, 1.0), np.append(x, x[:1], axis=0)), M),
    "append plain": (lambda x: np.append([1.0, 2.0], x), V),
    "block": (lambda x, y: np.block([[x, y[:, None]], [np.ones((1, 4)), 2.0]]), M, V[:3]),
    "block 1-d": (lambda x: np.block([x, 1.0, x]), V),
    "tile": (lambda x: (np.tile(x, 2), np.tile(x, (2, 1, 3)), np.tile(x, (2, 2)), np.tile(x, ())), M),
    "tile 0-d": (lambda x: np.tile(x, (2, 2)), D),
    "repeat": (lambda x: (np.repeat(x, 2), np.repeat(x, 3, axis=1), x.repeat([1, 0, 2], axis=0)), M),
    "meshgrid": (lambda x, y: np.meshgrid(x, y), V, V[:3]),
    "meshgrid ij": (lambda x, y: np.meshgrid(x, y, [1.0, 2.0], indexing="ij"), V, V[:3]),
    "meshgrid sparse": (lambda x, y: np.meshgrid(x, y, sparse=True, copy=False), V, V[:3]),
    "pad": (lambda x: [np.pad(x, ((1, 2), (0, 1)), mode=m) for m in ("constant", "edge", "reflect", "wrap")], M),
    "pad value": (lambda x: np.pad(x, 2, constant_values=1.5), M),
    "pad values": (lambda x, a: np.pad(x, (1, 2), constant_values=(a, 2.0)), V, 0.3),
    "insert": (lambda x: (np.insert(x, 1, 9.0), np.insert(x, [0, 2], x[:2]), np.insert(x, 1, x[:2])), V),
    "insert axis": (lambda x, y: np.insert(x, 1, y, axis=0), M, V[:4]),
    "delete": (lambda x: (np.delete(x, 1), np.delete(x, [0, 2], axis=1), np.delete(x, slice(1), 0)), M),
    "resize": (lambda x: np.resize(x, (3, 3)), V),
    "shape": (lambda x: x * np.ndim(x) + np.size(x) + np.shape(x)[0] + np.size(x, 1) + len(x), M),
    "indices from": (lambda x: (x[np.diag_indices_from(x)], x[np.tril_indices_from(x)]), Q),
    "apply ix": (lambda x: x[np.ix_([0, 2], [1, 1, 3])], M),
    "where table": (lambda x: np.where(MASK, x, x[::-1]), M),
    "copy": (lambda x: (np.copy(x), x.copy(), x.T.copy(), +x), S),
    "scalar methods": (
        lambda x: (x.reshape(1), x.ravel(), x.flatten(), x.T * 1.0, x.squeeze() * 1.0, x.item() * 1.0),
        D,
    ),
}
