"""Bar charts of compare.json as SVG."""
from html import escape

from tables import PASSES, torch_memory, torch_speed

WIDTH, LEFT, RIGHT = 860, 150, 190  # the plot lies between the labels and the figures
BAR, GAP, GROUP_GAP = 17, 4, 20
MEMORY_TARGET = 0.6
FONT = "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\""
INK, MUTED, GRID = "#1d2733", "#66727f", "#e3e7eb"
COLOURS = {"pare": "#0f766e", "PyTorch NCHW": "#b4bec8", "PyTorch channels_last": "#8795a4",
           "PyTorch": "#8795a4", "oneDNN": "#8795a4"}


# What keeps a figure readable on the lines behind it.
HALO = 'stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'


def text(x, y, content, size=13, colour=INK, anchor="start", weight="normal", extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
            f'text-anchor="{anchor}" font-weight="{weight}" {extra}>{escape(str(content))}</text>')


def rectangle(x, y, width, height, colour):
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" '
            f'rx="2" fill="{colour}"/>')


def line(x1, y1, x2, y2, colour, extra=""):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'{extra}/>')


def tick_step(limit):
    """A round number that cuts the axis into four to eight parts."""
    return next(step for step in [0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50] if limit / step <= 8)


class Chart:
    """Horizontal bars in groups, lengths relative to a rival.

    A group is (label, second line, ratio, bars); a bar is (series, value, low, high, figure).
    """

    def __init__(self, title, axis, groups, caption, target=None):
        self.groups, self.target = groups, target
        highest = max(bar[3] for group in groups for bar in group[3])
        self.limit = max(1.25, highest * 1.04, target or 0)
        self.parts = [text(24, 36, title, 19, weight="600"), *self._legend(62)]
        bottom = 80 + sum(self._height(group) for group in groups)
        self._grid(78, bottom, axis)
        y = 80
        for group in groups:
            self._group(y + GROUP_GAP / 2, group)
            y += self._height(group)
        for i, words in enumerate(caption):
            self.parts.append(text(24, bottom + 66 + 18 * i, words, 11.5, MUTED))
        self.height = bottom + 66 + 18 * len(caption)

    def svg(self):
        body = "\n".join(self.parts)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
                f'height="{self.height:.0f}" viewBox="0 0 {WIDTH} {self.height:.0f}" {FONT}>\n'
                f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n')

    @staticmethod
    def _height(group):
        return len(group[3]) * (BAR + GAP) - GAP + GROUP_GAP

    def _x(self, value):
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.limit

    def _legend(self, y):
        parts, x = [], 24
        for name in dict.fromkeys(bar[0] for group in self.groups for bar in group[3]):
            parts += [rectangle(x, y - 10, 12, 12, COLOURS[name]), text(x + 18, y, name, 12.5)]
            x += 42 + 7 * len(name)
        return parts

    def _grid(self, top, bottom, axis):
        step = tick_step(self.limit)
        for i in range(int(self.limit / step) + 1):
            x = self._x(i * step)
            self.parts += [line(x, top, x, bottom, GRID),
                           text(x, bottom + 17, f"{i * step:g}x", 11.5, MUTED, "middle")]
        self.parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, axis, 12, MUTED, "middle"))
        self.parts.append(line(self._x(1), top, self._x(1), bottom, MUTED, 'stroke-width="1.2"'))
        if self.target:
            x = self._x(self.target)
            self.parts.append(line(x, top, x, bottom, "#c2410c", 'stroke-dasharray="5 4"'))

    def _group(self, y, group):
        label, below, ratio, bars = group
        middle = y + (len(bars) * (BAR + GAP) - GAP) / 2
        self.parts += [text(LEFT - 14, middle - 1, label, 13.5, INK, "end", "600"),
                       text(LEFT - 14, middle + 15, below, 11.5, MUTED, "end"),
                       text(WIDTH - 24, middle + 7, f"{ratio:.2f}x", 19, COLOURS["pare"], "end",
                            "600")]
        for series, value, low, high, figure in bars:
            end = self._x(max(high, value))
            self.parts += [rectangle(LEFT, y, self._x(value) - LEFT, BAR, COLOURS[series]),
                           *self._whisker(y + BAR / 2, low, high),
                           text(end + 7, y + BAR - 4.5, figure, 12, extra=HALO)]
            y += BAR + GAP

    def _whisker(self, y, low, high):
        if high <= low:
            return []
        x1, x2 = self._x(low), self._x(high)
        ends = [line(x, y - 3, x, y + 3, INK, 'stroke-opacity="0.55"') for x in (x1, x2)]
        return [line(x1, y, x2, y, INK, 'stroke-opacity="0.55"'), *ends]


def speed_bar(series, spread, unit, divisor, scale=1):
    return (series, spread["median"] / divisor, spread.get("min", spread["median"]) / divisor,
            spread.get("max", spread["median"]) / divisor, f"{spread['median'] / scale:.1f} {unit}")


def step_groups(rows):
    for row in rows:
        sides = {"pare": "pare", "PyTorch NCHW": "torch_nchw",
                 "PyTorch channels_last": "torch_nhwc"}
        yield (row["job"], f"batch {row['batch']}", row["ratio"],
               [speed_bar(name, row[side]["images_per_second"], "images/s", torch_speed(row))
                for name, side in sides.items()])


def memory_groups(rows):
    for row in rows:
        best = torch_memory(row)
        bars = [(name, value / best, value / best, value / best, f"{value / 1e6:.0f} MB")
                for name, value in [("pare", row["pare"]["peak_rss_bytes"]), ("PyTorch", best)]]
        yield row["job"], f"batch {row['batch']}", row["memory_ratio"], bars


def layer_groups(comparisons):
    for comparison in comparisons:
        for name in PASSES:
            entry = comparison["total"][name]
            rival = entry["onednn"]["median"]
            yield (name.replace("_", " "), f"{comparison['job']}, batch {comparison['batch']}",
                   entry["ratio"], [speed_bar(series, entry[side], "GFLOP/s", rival, 1e9)
                                    for series, side in [("pare", "pare"), ("oneDNN", "onednn")]])


def caption(out):
    """The machine; what was compared."""
    machine, threads = out["machine"], out["machine"]["threads"]
    versions = ", ".join(f"{name} {version}" for name, version in out["versions"].items())
    return [f"{machine['cpu']}, {machine['isa']}, {threads} thread{'s' if threads > 1 else ''}, "
            f"{machine['peak_flops'] / 1e9:.0f} GFLOP/s of FMAs",
            f"pare {machine['commit']}, {versions}; {out['date']}"]


def draw(out):
    """File name to SVG, for what has been measured."""
    if not out["steps"] and not out["layers"]:
        return {}
    charts, about = {}, caption(out)
    turns = f"Median of {out['rounds']} rounds in turn, flush-to-zero on all sides"
    if out["steps"]:
        charts["steps.svg"] = Chart(
            "Training steps", "speed, PyTorch's faster layout = 1", list(step_groups(out["steps"])),
            [*about, f"{turns}; thin lines go from the slowest step to the fastest"])
        charts["memory.svg"] = Chart(
            "Peak memory of a training process",
            f"resident memory, PyTorch's leaner layout = 1, dashed: the target of {MEMORY_TARGET}",
            list(memory_groups(out["steps"])), about, target=MEMORY_TARGET)
    if out["layers"]:
        charts["layers.svg"] = Chart(
            "Convolutions of a network, all together", "speed, oneDNN's fastest way = 1",
            list(layer_groups(out["layers"])), [*about, turns])
    return {name: chart.svg() for name, chart in charts.items()}
