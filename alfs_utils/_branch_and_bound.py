"""A decision procedure for sums of convex and concave losses; for `asymmetry`."""

import math
from fractions import Fraction
from functools import cached_property

import numpy as np

from alfs_utils._enclosure import (
    BENDS,
    SLOPES,
    bounds,
    context,
    formula,
    interval,
    no_bend,
    parameters,
    steepness,
)

SMALL, SLACK = 2.0**-20, 2.0**-30  # width, and bend, of a cell where the sign of l'' may stay open
LEAST = 2.0**-50  # width of the smallest cell
NODES, DEPTH = 1500, 2.0**-300  # boxes, and the least D, until branch and bound gives up
SHARES = np.r_[0.0, 2.0 ** -np.arange(40.0, 5.0, -5), np.linspace(0.04, 1.0, 25)]
FLOAT = 2.0**-44  # relative error, with room, of a sum of a few hundred floats


def _share(x, n):
    """Return x / n, rounded up."""
    share = x / n
    return share if n & (n - 1) == 0 else math.nextafter(share, math.inf)


class Enclosure:
    """Decides sums of convex and concave losses of the library, with l(0) and g(0) finite.

    With v_i = u_i for the rivals, D = 1 - u_t their sum, h(v) = l(0) - l(v) and
    P(D) = l(1 - D) - l(1), e_t is the only minimiser iff w_t P(D) - sum_i w_i h(v_i) > 0 for all
    v != 0. If it is not, some other point is a minimiser, and there

    - a class of larger weight has the larger probability, one without weight has none;
    - w_i g(v_i) = w_t g(1 - D) wherever v_i > 0, and w_i g(v_i) <= w_t g(1 - D) (first order);
    - no two classes have w_i l''(u_i) + w_j l''(u_j) < 0 (second order).

    Boxes without such a point are dropped. So are boxes on which the sum is positive: by weak
    duality with one multiplier m for the constraint on D, the sum is at least that of
    min [w_t P(D) - m D] and of min [m v - w_i h(v)]. Where l is convex, a tangent bounds a minimum
    from below; where l is concave, the ends of the box do. g and l'' of every term are monotone on
    [0, 1], so their values at the ends of a box enclose them on it.
    """

    def __init__(self, terms):
        self.terms = terms
        self.known = {}
        self.answers = {}

    @cached_property
    def g(self):
        return steepness(self.terms)

    def decide(self, w, t, error=0.0):
        """Decide whether a sum is asymmetric on all weights within `error` of w.

        Return the answer and a counterexample; (None, None) if the answer is not found. The
        counterexample is only a candidate, which `gain` must confirm; it is None if the first
        steps from e_t to the strongest rival are one.
        """
        with np.errstate(all="ignore"):
            if not np.isfinite(self.g(np.array([0.0]), np.array([1.0]))).all():
                return None, None
        rivals = sorted((i for i in range(len(w)) if i != t), key=lambda i: -w[i])
        rivals = [i for i in rivals if w[i] + error > 0]
        down, up = (-math.inf, math.inf) if error or w.dtype == object else (0, 0)
        top = math.nextafter(float(w[t]) - error, down) if down else float(w[t])
        weights = [float(w[i]) + error for i in rivals]
        weights = tuple(math.nextafter(x, up) for x in weights) if up else tuple(weights)
        if not weights or top <= weights[0]:
            return (None if weights else True), None
        if top * self.at(0.0, 1)[1][1] < weights[0] * self.at(0.0, 0)[1][0] * (1 - FLOAT):
            return False, None  # not even a local minimum
        if (top, weights) not in self.answers:
            self.answers[top, weights] = self._branch(top, weights)
        answer, v = self.answers[top, weights]
        if v is None:
            return answer, None
        u = np.zeros(len(w))
        u[rivals] = v
        return answer, u

    def _branch(self, top, weights):
        if self.pieces is None:
            return None, None
        nodes = [((0.0, 1.0), *((0.0, _share(1.0, i + 2)) for i in range(len(weights))))]
        for _ in range(NODES):
            if not nodes:
                return True, None
            if nodes[-1][0][1] < DEPTH:
                break
            node = self._contract(nodes.pop(), top, weights)
            if node is None:
                continue
            found = self._bound(node, top, weights)
            if isinstance(found, list):
                return False, found
            if found is not None:
                nodes += self._split(node, found)
        return None, None

    # what is known of l at one point, and on a box

    def at(self, x, side):
        """Return bounds at u = x, or at u = 1 - x for side 1.

        They are bounds of h or P, of g, and of g and l'' term by term.
        """
        if (x, side) not in self.known:
            self.known[x, side] = self._evaluate(x, side)
        return self.known[x, side]

    def _evaluate(self, x, side):
        iv, exact = context(), Fraction(x)
        iv.prec = 64 * (3 - 2 * min(math.frexp(x)[1], 0) // 64) if x else 192
        u = interval(1 - exact if side else exact)
        v = interval(exact if side else 1 - exact)
        l = formula(self.terms)
        value = l(u) - l(interval(1)) if side else l(interval(0)) - l(u)
        slopes, bends = [], []
        for c, loss in self.terms:
            values = parameters(loss, interval)
            slopes.append(interval(c) * SLOPES[type(loss)](u, v, *values))
            bends.append(interval(c) * BENDS.get(type(loss), no_bend)(u, v, *values))
        value = bounds(value) if x else (0.0, 0.0)
        return (
            value,
            bounds(sum(slopes, start=interval(0))),
            [bounds(y) for y in slopes],
            [bounds(y) for y in bends],
        )

    def around(self, box, side, what):
        """Return bounds of g (what = 2) or l'' (what = 3) on a box, term by term from its ends."""
        ends = zip(self.at(box[0], side)[what], self.at(box[1], side)[what], strict=True)
        lows, highs = zip(*((min(a[0], b[0]), max(a[1], b[1])) for a, b in ends), strict=True)
        low, high = math.fsum(lows), math.fsum(highs)  # correctly rounded
        return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)

    @cached_property
    def pieces(self):
        """Knots where l turns from convex to concave or back, the signs between, and a slack.

        Cells that are too small to tell count as convex; on them l' falls by the slack at most.
        None if the slack may be infinite.
        """
        cells, todo, slack = [], [(0.0, 1.0)], 0.0
        while todo:
            a, b = todo.pop()
            low, high = self.around((a, b), 0, 3)
            small = b - a < SMALL and -low * (b - a) < SLACK
            if low >= 0 or high < 0 or small or b - a < LEAST:
                slack += max(-low, 0.0) * (b - a) if high >= 0 else 0.0
                cells.append((a, b, high >= 0))
            else:
                todo += [((a + b) / 2, b), (a, (a + b) / 2)]
        if not slack < math.inf:
            return None
        knots, convex = [0.0], []
        for _, b, sign in cells:
            if convex and convex[-1] == sign:
                knots[-1] = b
            else:
                knots.append(b)
                convex.append(sign)
        return knots, convex, slack

    def shape(self, box, side):
        """Return True if l is convex on a box, False if it is concave, None if both occur."""
        knots, convex, _ = self.pieces
        for x, y, sign in zip(knots, knots[1:], convex, strict=False):
            if side:
                x, y = 1 - y, 1 - x  # exact: knots are multiples of LEAST / 2
            if x <= box[0] and box[1] <= y:
                return sign
        return None

    # one node: the box of D, and one for every rival, by falling weight

    def _contract(self, node, top, weights):
        """Return the part of a node where another minimiser can be, or None."""
        (low, high), *boxes = node
        before = high
        for i, (a, b) in enumerate(boxes):
            before = min(before, b, _share(high, i + 1))
            boxes[i] = (a, before)
        if any(a > b for a, b in boxes) or boxes[0][0] > (1 - low) * (1 + FLOAT):
            return None
        if sum(a for a, _ in boxes) > high * (1 + FLOAT):
            return None
        push = [top * y for y in self.around((low, high), 1, 2)]
        for i, (a, b) in enumerate(boxes):
            pull = [weights[i] * y for y in self.around((a, b), 0, 2)]
            if pull[0] * (1 - FLOAT) > push[1]:
                return None
            if pull[1] * (1 + FLOAT) < push[0]:
                if a > 0:
                    return None
                boxes[i] = (0.0, 0.0)
        if sum(b for _, b in boxes) * (1 + FLOAT) < low or boxes[0][1] == 0:
            return None
        bends = [top * self.around((low, high), 1, 3)[1]]
        bends += [
            w * self.around(box, 0, 3)[1]
            for w, box in zip(weights, boxes, strict=True)
            if box[0] > 0
        ]
        bends.sort()
        if len(bends) > 1 and bends[0] + bends[1] < -FLOAT * abs(bends[0]):
            return None
        return ((low, high), *boxes)

    def _bound(self, node, top, weights):
        """Return None if the sum is positive on a node, v if negative at v, else the gaps."""
        scales = [top, *weights[: len(node) - 1]]
        x, lower, gaps, slopes = self._sketch(node, scales)
        m, best = self._multiplier(x, lower, node, top)
        points = self._points(node, scales, x, slopes, m, best)
        total = size = 0.0
        for j, (box, w, p) in enumerate(zip(node, scales, points, strict=True)):
            part, magnitude = self._least(box, w, p, m, int(j == 0))
            total, size = total + part, size + magnitude
        if total > FLOAT * size:
            return None
        v = points[1:]
        D = sum(v)
        if 0 < D <= 1:
            rise = top * self.at(D, 1)[0][1]
            fall = sum(w * self.at(y, 0)[0][0] for w, y in zip(weights, v, strict=True))
            if rise * (1 + FLOAT) < fall:
                return v
        return gaps

    def _sketch(self, node, scales):
        """Sample each term in floats, to guide the search: x, lower bounds, gaps, slopes."""
        a, b = (np.array(ends)[:, None] for ends in zip(*node, strict=True))
        x = a + (b - a) * SHARES
        with np.errstate(all="ignore"):
            g = self.g(np.r_[1 - x[:1], x[1:]], np.r_[x[:1], 1 - x[1:]])
        g = np.array(scales)[:, None] * np.broadcast_to(g, x.shape)
        areas = (g[:, 1:] + g[:, :-1]) / 2 * np.diff(x, axis=1)
        values = np.pad(np.cumsum(areas, axis=1), ((0, 0), (1, 0)))
        sign = np.array([1.0] + [-1.0] * (len(node) - 1))[:, None]
        start = [
            w * self.at(box[0], int(j == 0))[0][0]
            for j, (box, w) in enumerate(zip(node, scales, strict=True))
        ]
        values = sign * (np.array(start)[:, None] + values)
        lower = values.copy()
        for j, box in enumerate(node):
            shape = self.shape(box, int(j == 0))
            if shape is False:
                lower[j] = values[j, 0] + (values[j, -1] - values[j, 0]) * SHARES
            elif shape is None:
                lower[j] = values[j].min()
        return x, lower, (values - lower).max(axis=1), g

    def _multiplier(self, x, lower, node, top):
        """Find the multiplier with the greatest bound, and where each term is then smallest."""
        low, high = (top * y for y in self.around(node[0], 1, 2))
        low, high = max(low / 2, 0.0), min(2 * high, 1e300)
        sign = np.array([-1.0] + [1.0] * (len(x) - 1))[:, None]
        for _ in range(4):
            m = np.linspace(low, high, 17)
            bound = (lower + m[:, None, None] * sign * x).min(axis=2).sum(axis=1)
            i = int(bound.argmax())
            low, high = m[max(i - 1, 0)], m[min(i + 1, 16)]
        m = float((low + high) / 2)
        return m, (lower + m * sign * x).argmin(axis=1)

    def _points(self, node, scales, x, slopes, m, best):
        """Return where each term is smallest: at a sample, or between samples where l is convex."""
        points = []
        for j, box in enumerate(node):
            i = best[j]
            point = float(x[j, i])
            if self.shape(box, int(j == 0)) and box[0] < box[1]:
                near = slice(max(i - 1, 0), i + 2)
                order = 1 if slopes[j, near][0] < slopes[j, near][-1] else -1
                point = float(np.interp(m, slopes[j, near][::order], x[j, near][::order]))
            points.append(min(max(point, box[0]), box[1]))
        return points

    def _least(self, box, w, p, m, side):
        """Bound w P(x) - m x (side 1), or m x - w h(x), from below on a box; return its size."""
        sign = 1.0 if side else -1.0
        shape, (a, b) = self.shape(box, side), box

        def value(x):
            low, high = self.at(x, side)[0]
            return w * low if side else -w * high

        if shape is None:
            base = value(a if side else b)
            ends = [(base, x, 0.0) for x in box]
        elif shape:
            g = self.at(p, side)[1]
            slack = self.pieces[2]
            steep = [sign * w * y for y in g]
            ends = [
                (value(p), x, min((x - p) * y for y in steep) - abs(w * slack * (x - p)))
                for x in box
            ]
        else:
            ends = [(value(x), x, 0.0) for x in box]
        least = min(base + change - sign * m * x for base, x, change in ends)
        return least, max(abs(base) + abs(change) + abs(m * x) for base, x, change in ends)

    def _split(self, node, gaps):
        """Make two nodes: cut the box with the greatest gap, at a turn of l if there is one."""
        (low, high), *_ = node
        widths = [b - a for a, b in node]
        j = int(np.argmax(np.where(np.array(widths) > 0, gaps, -1)))
        if low == 0 or gaps[j] <= 0:
            j = 0
        a, b = node[j]
        turns = [1 - y if j == 0 else y for y in self.pieces[0]]
        inside = [y for y in turns if a < y < b]
        if j == 0 and low == 0 and not (inside and min(inside) < high / 4):
            cut = high / 4
        elif inside:
            cut = min(inside, key=lambda y: abs(y - (a + b) / 2))
        else:
            cut = (a + b) / 2
        return [(*node[:j], part, *node[j + 1 :]) for part in ((a, cut), (cut, b))]
