"""Small plots as inline SVG: a page of evidence that needs no plotting library and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#566573")
_FONT = 'font-family="sans-serif" font-size="11" fill="#333"'


def _frame(width: int, height: int, body: str, title: str) -> str:
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f'<title>{escape(title)}</title><rect width="{width}" height="{height}" fill="#fff" stroke="#ccc"/>{body}'
        f'<text x="8" y="15" {_FONT} font-weight="bold">{escape(title)}</text></svg>'
    )


def scatter(points: np.ndarray, title: str, rings: Sequence[float], unit: str, size: int = 260) -> str:
    """Points (N, 2) about the middle, with circles of the radii `rings` (in the points' unit); points outside the
    largest ring's square are put on its edge."""
    reach = 1.15 * max(rings)
    scale = (size / 2 - 18) / reach
    centre = size / 2
    body = [
        f'<circle cx="{centre}" cy="{centre}" r="{r * scale:.1f}" fill="none" stroke="#bbb"/>'
        f'<text x="{centre + r * scale * 0.71:.1f}" y="{centre - r * scale * 0.71:.1f}" {_FONT}>{r:g} {unit}</text>'
        for r in rings
    ]
    xy = np.clip(np.asarray(points, float).reshape(-1, 2), -reach, reach) * scale + centre
    body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6" fill="{COLOURS[0]}" fill-opacity="0.5"/>' for x, y in xy]
    return _frame(size, size, "".join(body), title)


def arrows(
    at: np.ndarray, by: np.ndarray, image_size: tuple[int, int], magnify: float, title: str, width: int = 360
) -> str:
    """Displacements `by` (N, 2) px at pixels `at` (N, 2), drawn `magnify` times too long."""
    scale = width / image_size[0]
    height = round(image_size[1] * scale)
    ends = at + magnify * by
    body = [
        f'<line x1="{a[0] * scale:.1f}" y1="{a[1] * scale:.1f}" x2="{e[0] * scale:.1f}" y2="{e[1] * scale:.1f}" '
        f'stroke="{COLOURS[1]}" stroke-width="0.8"/>'
        for a, e in zip(at, ends)
    ]
    return _frame(width, height, "".join(body), title)


def bars(
    labels: Sequence[str],
    series: dict[str, Sequence[float]],
    title: str,
    unit: str,
    width: int = 760,
    height: int = 190,
) -> str:
    """One group of bars a label, one bar a series; nan leaves a gap."""
    top = max([v for values in series.values() for v in values if np.isfinite(v)] + [1e-9]) * 1.1
    left, bottom, ceiling = 44, height - 34, 26
    step = (width - left - 10) / max(len(labels), 1)
    each = 0.8 * step / max(len(series), 1)
    body = []
    for tick in np.linspace(0, top, 5):
        y = bottom - (bottom - ceiling) * tick / top
        body.append(
            f'<line x1="{left}" y1="{y:.1f}" x2="{width - 8}" y2="{y:.1f}" stroke="#eee"/>'
            f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end" {_FONT}>{tick:.2g}</text>'
        )
    for k, (name, values) in enumerate(series.items()):
        colour = COLOURS[k % len(COLOURS)]
        for i, value in enumerate(values):
            if np.isfinite(value):
                tall = (bottom - ceiling) * value / top
                body.append(
                    f'<rect x="{left + i * step + k * each:.1f}" y="{bottom - tall:.1f}" width="{each:.1f}" '
                    f'height="{tall:.1f}" '
                    f'fill="{colour}"><title>{escape(labels[i])} {escape(name)}: {value:.3g} {unit}</title></rect>'
                )
        body.append(
            f'<text x="{width - 12 - 110 * (len(series) - 1 - k)}" y="15" text-anchor="end" '
            'font-family="sans-serif" font-size="11" '
            f'fill="{colour}">{escape(name)}</text>'
        )
    for i, label in enumerate(labels):
        body.append(
            f'<text x="{left + (i + 0.4) * step:.1f}" y="{bottom + 14}" text-anchor="middle" '
            f"{_FONT}>{escape(label)}</text>"
        )
    return _frame(width, height, "".join(body), f"{title} ({unit})")
