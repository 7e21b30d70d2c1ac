"""Greedy colours of columns and of vertices, and the orders in which they are given.

Each is a C function of an address, compiled by Numba when it is first called; `sparsity.compiled` loads it.

Orders and the greedy colours of columns (at distance 2 in the graph of rows and columns): Coleman and Moré, 1983;
Gebremedhin, Manne and Pothen, 2005, "What color is your Jacobian?", SIAM Review 47, sections 3 and 5. By saturation:
Brélaz, 1979, "New methods to color the vertices of a graph". Star colours: Gebremedhin, Tarafdar, Manne and Pothen,
2007, "New acyclic and star coloring algorithms", SIAM J. Sci. Comput. 29, algorithm 4.1; trees: algorithm 3.1.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.tables import array_at, compiled, integers_at, table_at

MOST_BITS = 62  # colours in a mask
INCIDENCE, SMALLEST_LAST, DYNAMIC = 1, 2, 3  # orders that look at what is left

# ---------------------------------------------------------------- neighbours


@compiled
def near(v, pointers, rows, back, columns, marks, stamp, found):
    """List the neighbours of a vertex at distance 2, or at distance 1 where `back` is empty; return how many."""
    count = np.int64(0)
    marks[v] = stamp
    for k in range(pointers[v], pointers[v + 1]):
        w = rows[k]
        if back.size == 0:
            if marks[w] != stamp:
                marks[w] = stamp
                found[count] = w
                count += 1
            continue
        for j in range(back[w], back[w + 1]):
            u = columns[j]
            if marks[u] != stamp:
                marks[u] = stamp
                found[count] = u
                count += 1
    return count


# ---------------------------------------------------------------- orders


@compiled
def unlink(v, keys, heads, after, before):
    """Take a vertex out of the list of its key."""
    if before[v] >= 0:
        after[before[v]] = after[v]
    else:
        heads[keys[v]] = after[v]
    if after[v] >= 0:
        before[after[v]] = before[v]


@compiled
def link(v, keys, heads, after, before):
    """Put a vertex at the head of the list of its key."""
    head = heads[keys[v]]
    after[v], before[v] = head, -1
    if head >= 0:
        before[head] = v
    heads[keys[v]] = v


@compiled
def order_vertices(kind, pointers, rows, back, columns, degrees, order, marks, found, keys, heads, after, before):
    """Write an order of the vertices.

    `kind` is 0 for their degrees alone (`degrees` is written), INCIDENCE (most neighbours in the order so far first),
    SMALLEST_LAST (fewest among those left last), DYNAMIC (most among those left first).
    """
    count = degrees.size
    stamp = np.int64(0)
    for v in range(count):
        stamp += 1
        degrees[v] = near(np.int64(v), pointers, rows, back, columns, marks, stamp, found)
    if kind == 0:
        return
    for v in range(count - 1, -1, -1):
        keys[v] = 0 if kind == INCIDENCE else degrees[v]
        link(np.int64(v), keys, heads, after, before)
    low, step = np.int64(0), 1 if kind == INCIDENCE else -1
    high = np.int64(count - 1)
    for k in range(count):
        if kind == SMALLEST_LAST:
            while heads[low] < 0:
                low += 1
            v = heads[low]
        else:
            while heads[high] < 0:
                high -= 1
            v = heads[high]
        unlink(v, keys, heads, after, before)
        keys[v] = -1
        order[count - 1 - k if kind == SMALLEST_LAST else k] = v
        stamp += 1
        for j in range(near(v, pointers, rows, back, columns, marks, stamp, found)):
            u = found[j]
            if keys[u] >= 0:
                unlink(u, keys, heads, after, before)
                keys[u] += step
                link(u, keys, heads, after, before)
                low, high = min(low, keys[u]), max(high, keys[u])


# ---------------------------------------------------------------- columns


@compiled
def first_free(forbidden, v):
    """Return the first colour that is not forbidden for a vertex."""
    colour = np.int64(0)
    while forbidden[colour] == v:
        colour += 1
    return colour


@compiled
def colour_columns(order, pointers, rows, back, columns, colours, forbidden):
    """Give columns colours, so that no two with an entry in one row have the same."""
    for k in range(order.size):
        v = order[k]
        for i in range(pointers[v], pointers[v + 1]):
            row = rows[i]
            for j in range(back[row], back[row + 1]):
                if colours[columns[j]] >= 0:
                    forbidden[colours[columns[j]]] = v
        colours[v] = first_free(forbidden, v)


@compiled
def colour_saturated(pointers, rows, back, columns, degrees, colours, masks, marks, found, keys, heads, after, before):
    """Give columns colours, next always the one whose neighbours have most; return False where 64 are too few.

    Of several the one with most neighbours. The key of a column in `heads` says both.
    """
    count, widest, stamp = degrees.size, np.int64(0), np.int64(0)
    for v in range(count):
        stamp += 1
        degrees[v] = near(np.int64(v), pointers, rows, back, columns, marks, stamp, found)
        widest = max(widest, degrees[v] + 1)
    if MOST_BITS * widest + widest > heads.size:
        return False
    high = np.int64(0)
    for v in range(count - 1, -1, -1):
        keys[v] = degrees[v]
        high = max(high, keys[v])
        link(np.int64(v), keys, heads, after, before)
    for _ in range(count):
        while heads[high] < 0:
            high -= 1
        v = heads[high]
        unlink(v, keys, heads, after, before)
        colour = np.int64(0)
        while colour < MOST_BITS and masks[v] >> colour & 1:
            colour += 1
        if colour == MOST_BITS:
            return False
        colours[v] = colour
        bit = np.int64(1) << colour
        stamp += 1
        for j in range(near(v, pointers, rows, back, columns, marks, stamp, found)):
            u = found[j]
            if colours[u] < 0 and not masks[u] & bit:
                masks[u] |= bit
                unlink(u, keys, heads, after, before)
                keys[u] += widest
                link(u, keys, heads, after, before)
                high = max(high, keys[u])
    return True


# ---------------------------------------------------------------- stars


@compiled
def treat(v, w, pointers, others, colours, forbidden, treated):
    """Forbid a vertex the colours of the neighbours of one of its neighbours."""
    for k in range(pointers[w], pointers[w + 1]):
        if colours[others[k]] >= 0:
            forbidden[colours[others[k]]] = v
    treated[w] = v


@compiled
def colour_stars(order, pointers, others, edges, colours, forbidden, first_v, first_w, treated, stars, hubs):
    """Give vertices colours, so that the vertices of any two colours form stars; note the hub of each edge's star.

    Parameters
    ----------
    pointers, others, edges : ndarray of int64
        The neighbours of each vertex, without itself, and the number of the edge to each.
    stars : ndarray of int64, shape (edges,)
        Becomes the star of each edge.
    hubs : ndarray of int64, shape (edges,)
        Becomes the hub of each star; -1 of a star of one edge.
    """
    count = np.int64(0)
    for k in range(order.size):
        v = order[k]
        for i in range(pointers[v], pointers[v + 1]):
            w = others[i]
            colour = colours[w]
            if colour < 0:
                continue
            forbidden[colour] = v
            if first_v[colour] == v:
                q = first_w[colour]
                if treated[q] != v:
                    treat(v, q, pointers, others, colours, forbidden, treated)
                treat(v, w, pointers, others, colours, forbidden, treated)
            else:
                first_v[colour], first_w[colour] = v, w
                for j in range(pointers[w], pointers[w + 1]):
                    x = others[j]
                    if x != v and colours[x] >= 0 and hubs[stars[edges[j]]] == x:
                        forbidden[colours[x]] = v
        colours[v] = first_free(forbidden, v)
        for i in range(pointers[v], pointers[v + 1]):
            w, edge = others[i], edges[i]
            if colours[w] < 0:
                continue
            joined = False
            for j in range(pointers[w], pointers[w + 1]):
                x = others[j]
                if x != v and colours[x] == colours[v]:
                    stars[edge] = stars[edges[j]]
                    hubs[stars[edge]] = w
                    joined = True
                    break
            if joined:
                continue
            q = first_w[colours[w]]
            if first_v[colours[w]] == v and q != w:
                for j in range(pointers[v], pointers[v + 1]):
                    if others[j] == q:
                        stars[edge] = stars[edges[j]]
                        hubs[stars[edge]] = v
                        break
            else:
                stars[edge], hubs[count] = count, -1
                count += 1


# ---------------------------------------------------------------- trees


@compiled
def root_of(edge, parents):
    """Return the edge that stands for the tree of an edge, and make the way there shorter."""
    while parents[edge] != edge:
        parents[edge] = parents[parents[edge]]
        edge = parents[edge]
    return edge


@compiled
def forbid_cycles(v, w, pointers, others, edges, colours, forbidden, parents, visit_v, visit_w):
    """Forbid a vertex the colours that would close a cycle through a neighbour and another neighbour."""
    for k in range(pointers[w], pointers[w + 1]):
        x = others[k]
        if x == v or colours[x] < 0 or forbidden[colours[x]] == v:
            continue
        tree = root_of(edges[k], parents)
        if visit_v[tree] != v:
            visit_v[tree], visit_w[tree] = v, w
        elif visit_w[tree] != w:
            forbidden[colours[x]] = v


@compiled
def colour_trees(order, pointers, others, edges, colours, forbidden, near_v, near_edge, parents, visit_v, visit_w):
    """Give vertices colours, so that the vertices of any two colours form trees.

    `pointers`, `others` and `edges` are as those of `colour_stars`; `parents` is each edge itself at first, and becomes
    a forest of edges, one tree for each two-coloured tree.
    """
    for k in range(order.size):
        v = order[k]
        for i in range(pointers[v], pointers[v + 1]):
            if colours[others[i]] >= 0:
                forbidden[colours[others[i]]] = v
        for i in range(pointers[v], pointers[v + 1]):
            if colours[others[i]] >= 0:
                w = others[i]
                forbid_cycles(v, w, pointers, others, edges, colours, forbidden, parents, visit_v, visit_w)
        colours[v] = first_free(forbidden, v)
        for i in range(pointers[v], pointers[v + 1]):
            w, edge = others[i], edges[i]
            if colours[w] < 0:
                continue
            if near_v[colours[w]] != v:
                near_v[colours[w]], near_edge[colours[w]] = v, edge
            else:
                parents[root_of(edge, parents)] = root_of(near_edge[colours[w]], parents)
            for j in range(pointers[w], pointers[w + 1]):
                if others[j] != v and colours[others[j]] == colours[v]:
                    parents[root_of(edge, parents)] = root_of(edges[j], parents)


@compiled
def peel_trees(one, other, colours, wide, degrees, sums, leaves, order):
    """List the edges of two-coloured trees from the leaves on; return how many are listed.

    Parameters
    ----------
    one, other : ndarray of int64, shape (edges,)
        The ends of each edge.
    wide : int
        Number of colours.
    degrees, sums : ndarray of int64, shape (vertices * colours,)
        Zeros: of the edges between a vertex and those of a colour, their number and the sum of theirs.
    leaves : ndarray of int64, shape (vertices * colours,)
    order : ndarray of int64, shape (2 * edges,)
        Becomes (vertex, other end) of each edge, the vertex a leaf of what is left.
    """
    waiting, found = np.int64(0), np.int64(0)
    for k in range(one.size):
        for place in (one[k] * wide + colours[other[k]], other[k] * wide + colours[one[k]]):
            degrees[place] += 1
            sums[place] += k
    for place in range(degrees.size):
        if degrees[place] == 1:
            leaves[waiting] = place
            waiting += 1
    while waiting:
        waiting -= 1
        place = leaves[waiting]
        if degrees[place] != 1:
            continue
        edge, v = sums[place], place // wide
        w = one[edge] + other[edge] - v
        order[2 * found], order[2 * found + 1] = v, w
        found += 1
        back = w * wide + colours[v]
        degrees[place] -= 1
        degrees[back] -= 1
        sums[back] -= edge
        if degrees[back] == 1:
            leaves[waiting] = back
            waiting += 1
    return found


@compiled
def substitute(compressed, steps):
    """Take what has been read of a tree out of what its other numbers are summed with."""
    for k in range(steps.size // 2):
        compressed[steps[2 * k]] -= compressed[steps[2 * k + 1]]


# ---------------------------------------------------------------- entries


def order_at(like, kind, at):
    """Run `order_vertices`. Compiled to a C function."""
    table = table_at(at)
    pointers, rows, back, columns = (
        integers_at(table, 0),
        integers_at(table, 1),
        integers_at(table, 2),
        integers_at(table, 3),
    )
    degrees, order, marks, found = (
        integers_at(table, 4),
        integers_at(table, 5),
        integers_at(table, 6),
        integers_at(table, 7),
    )
    keys, heads, after, before = (
        integers_at(table, 8),
        integers_at(table, 9),
        integers_at(table, 10),
        integers_at(table, 11),
    )
    order_vertices(kind, pointers, rows, back, columns, degrees, order, marks, found, keys, heads, after, before)
    return np.int64(0)


def colour_columns_at(like, _, at):
    """Run `colour_columns`. Compiled to a C function."""
    table = table_at(at)
    order, pointers, rows, back = (
        integers_at(table, 0),
        integers_at(table, 1),
        integers_at(table, 2),
        integers_at(table, 3),
    )
    colour_columns(order, pointers, rows, back, integers_at(table, 4), integers_at(table, 5), integers_at(table, 6))
    return np.int64(0)


def colour_saturated_at(like, _, at):
    """Run `colour_saturated`. Compiled to a C function."""
    table = table_at(at)
    pointers, rows, back, columns = (
        integers_at(table, 0),
        integers_at(table, 1),
        integers_at(table, 2),
        integers_at(table, 3),
    )
    degrees, colours, masks, marks = (
        integers_at(table, 4),
        integers_at(table, 5),
        integers_at(table, 6),
        integers_at(table, 7),
    )
    found, keys, heads = integers_at(table, 8), integers_at(table, 9), integers_at(table, 10)
    after, before = integers_at(table, 11), integers_at(table, 12)
    done = colour_saturated(
        pointers, rows, back, columns, degrees, colours, masks, marks, found, keys, heads, after, before
    )
    return np.int64(done)


def colour_stars_at(like, _, at):
    """Run `colour_stars`. Compiled to a C function."""
    table = table_at(at)
    order, pointers, others, edges = (
        integers_at(table, 0),
        integers_at(table, 1),
        integers_at(table, 2),
        integers_at(table, 3),
    )
    colours, forbidden, first_v, first_w = (
        integers_at(table, 4),
        integers_at(table, 5),
        integers_at(table, 6),
        integers_at(table, 7),
    )
    treated, stars, hubs = integers_at(table, 8), integers_at(table, 9), integers_at(table, 10)
    colour_stars(order, pointers, others, edges, colours, forbidden, first_v, first_w, treated, stars, hubs)
    return np.int64(0)


def colour_trees_at(like, _, at):
    """Run `colour_trees`. Compiled to a C function."""
    table = table_at(at)
    order, pointers, others, edges = (
        integers_at(table, 0),
        integers_at(table, 1),
        integers_at(table, 2),
        integers_at(table, 3),
    )
    colours, forbidden, near_v, near_edge = (
        integers_at(table, 4),
        integers_at(table, 5),
        integers_at(table, 6),
        integers_at(table, 7),
    )
    parents, visit_v, visit_w = integers_at(table, 8), integers_at(table, 9), integers_at(table, 10)
    colour_trees(order, pointers, others, edges, colours, forbidden, near_v, near_edge, parents, visit_v, visit_w)
    return np.int64(0)


def peel_trees_at(like, wide, at):
    """Run `peel_trees`. Compiled to a C function."""
    table = table_at(at)
    one, other, colours, degrees = (
        integers_at(table, 0),
        integers_at(table, 1),
        integers_at(table, 2),
        integers_at(table, 3),
    )
    return peel_trees(
        one, other, colours, wide, degrees, integers_at(table, 4), integers_at(table, 5), integers_at(table, 6)
    )


def substitute_at(like, _, at):
    """Run `substitute`. Compiled to a C function."""
    table = table_at(at)
    substitute(array_at(table, 0, like), integers_at(table, 1))
    return np.int64(0)
