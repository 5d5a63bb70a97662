"""The growth curves as SVG, drawn by hand: four small panels with a shared legend."""

import math
from html import escape
from pathlib import Path

PANELS = [
    ("prompt", "rate", "prefill, tokens/s", "tokens of the prompt"),
    ("sequences", "rate", "decode, tokens/s in all", "sequences, each steered its own way"),
    ("threads", "rate", "tokens/s, 512 in (solid), 32 out (dashed)", "threads"),
    ("prompt", "peak_mb", "peak memory, MB", "tokens of the prompt"),
    ("sequences", "peak_mb", "peak memory, MB", "sequences"),
]
COLOURS = ["#c2410c", "#475569", "#0e7490", "#7c3aed"]  # ours first; told apart in grey as well
WIDTH, HEIGHT = 300, 210  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 40
COLUMNS = 3


def draw(results: dict, path: Path) -> None:
    """Nothing is drawn of results without curves."""
    growth = results.get("growth")
    if not growth:
        return
    points = growth["points"]
    engines = list(dict.fromkeys(point["engine"] for point in points))
    rows = -(-len(PANELS) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="10" fill="#334155">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for i, (axis, field, title, label) in enumerate(PANELS):
        x, y = i % COLUMNS * WIDTH, i // COLUMNS * HEIGHT
        curves = [
            (COLOURS[k % len(COLOURS)], "4 3" if name.endswith("decode") else "", chosen(points, engine, name, field))
            for k, engine in enumerate(engines)
            for name in ((axis,) if axis != "threads" else ("threads, prefill", "threads, decode"))
        ]
        parts.append(f'<g transform="translate({x} {y})">{panel(curves, title, label)}</g>')
    for k, engine in enumerate(engines):
        x, y = 20 + 170 * k, rows * HEIGHT + 16
        parts.append(f'<path d="M{x} {y - 3}h20" stroke="{COLOURS[k % len(COLOURS)]}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 26}" y="{y}">{escape(engine)}</text>')
    about = f"{growth['model']}, bf16; {results['machine']['cpu']}, {results['date']}"
    parts.append(f'<text x="{width - 14}" y="{rows * HEIGHT + 16}" text-anchor="end">{escape(about)}</text></svg>\n')
    path.write_text("\n".join(parts))


def chosen(points: list[dict], engine: str, axis: str, field: str) -> list[tuple[float, float]]:
    found = [it for it in points if it["engine"] == engine and it["axis"] == axis and it.get(field)]
    return sorted((it["at"], it[field]) for it in found)


def draw_rounding(results: dict, path: Path) -> None:
    """What rounded inputs of products cost, per layer: one panel."""
    rounding = results.get("rounding")
    if not rounding or not rounding["curves"]:
        return
    names = {"bf16": "bf16", "q8_0": "8 bits, Q8_0", "q4_k_m": "8 bits, Q4_K_M"}
    curves = [
        (colour, "", [(layer, lost) for layer, lost in enumerate(rounding["curves"][form]) if lost > 0])
        for form, colour in zip(names, COLOURS) if form in rounding["curves"]
    ]
    n_layers = max(len(curve) for _, _, curve in curves)
    marks = range(0, n_layers, max(1, n_layers // 6))
    text = panel(curves, "1 − cosine with float32 activations", "layer", lambda x: x, marks)
    width = WIDTH + 150
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="10" fill="#334155">',
        f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>', text,
    ]
    for k, (colour, _, curve) in enumerate(curves):
        y = TOP + 14 + 18 * k
        parts.append(f'<path d="M{WIDTH} {y - 3}h20" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH + 26}" y="{y}">{escape(names[list(rounding["curves"])[k]])}</text>')
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - BOTTOM + 29}">{escape(rounding["model"])}</text></svg>\n')
    path.write_text("\n".join(parts))


def panel(curves: list, title: str, label: str, scale=math.log, marks=None) -> str:
    """The side is logarithmic with ticks of 1, 2 and 5; below are powers of two, unless said otherwise."""
    xs = sorted({x for _, _, curve in curves for x, _ in curve})
    ys = [y for _, _, curve in curves for _, y in curve]
    text = f'<text x="{LEFT}" y="18" font-weight="600">{escape(title)}</text>'
    if not ys:
        return text + f'<text x="{LEFT}" y="60">not measured</text>'
    low, high = min(ys) * 0.9, max(ys) * 1.1
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    span = scale(xs[-1]) - scale(xs[0]) or 1
    at_x = lambda x: LEFT + inner_width * (scale(x) - scale(xs[0])) / span
    at_y = lambda y: TOP + inner_height * (1 - math.log(y / low) / math.log(high / low))
    for tick in ticks(low, high):
        y = at_y(tick)
        text += f'<path d="M{LEFT} {y:.1f}h{inner_width}" stroke="#e2e8f0"/>'
        text += f'<text x="{LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{tick:g}</text>'
    for x in marks or xs:
        text += f'<text x="{at_x(x):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{x:g}</text>'
    text += f'<text x="{LEFT + inner_width / 2}" y="{HEIGHT - BOTTOM + 29}" text-anchor="middle">{escape(label)}</text>'
    for colour, dashes, curve in reversed(curves):  # ours on top
        line = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in curve)
        text += f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dashes}"/>'
        text += "".join(f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="2.4" fill="{colour}"/>' for x, y in curve)
    return text


def ticks(low: float, high: float) -> list[float]:
    """Round numbers in range, as close together as six of them allow."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    all_of = lambda factors: [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
    steps = [[1 + i / 4 for i in range(36)], range(1, 10), (1, 2, 5), (1,)]
    return next((found for found in map(all_of, steps) if len(found) <= 6), all_of((1,)))
