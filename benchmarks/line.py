"""Whether measured points lie on a line."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["deviation", "fit"]

Point = tuple[float, float]


def fit(points: Sequence[Point], *, through_origin: bool = True) -> tuple[float, float]:
    """Slope and intercept that leave the least squares of the relative distances: a point ten times as high may be ten
    times as far away. At least two points, none of them at height 0."""
    weights = [1 / y**2 for _, y in points]
    mean_x = mean_y = 0.0
    if not through_origin:
        mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / sum(weights)
        mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / sum(weights)
    together = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True))
    slope = together / sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    return slope, mean_y - slope * mean_x


def deviation(points: Sequence[Point], *, through_origin: bool = True) -> float:
    """The largest relative distance of a point from the line."""
    slope, intercept = fit(points, through_origin=through_origin)
    return max(abs(y / (slope * x + intercept) - 1) for x, y in points)
