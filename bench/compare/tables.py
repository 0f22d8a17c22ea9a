"""The figures of compare.json as Markdown, a row at a time."""

PASSES = ["forward", "data_gradient", "weight_gradient"]
TORCH_LAYOUTS = ["torch_nchw", "torch_nhwc"]


def torch_memory(row):
    """The leaner of PyTorch's two layouts."""
    return min(row[side]["peak_rss_bytes"] for side in TORCH_LAYOUTS)


def torch_speed(row):
    """The faster of PyTorch's two layouts."""
    return max(row[side]["images_per_second"]["median"] for side in TORCH_LAYOUTS)


class Table:
    def __init__(self, columns):
        self.widths = [width for _, width in columns]
        self._print([title for title, _ in columns])
        self._print(["-" * width for width in self.widths])

    def _print(self, cells):
        texts = [f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
                 for i, (cell, width) in enumerate(zip(cells, self.widths))]
        print("| " + " | ".join(texts) + " |", flush=True)


class StepTable(Table):
    def __init__(self):
        super().__init__([("training step", 14), ("batch", 5), ("pare, images/s", 22),
                          ("PyTorch NCHW", 22), ("PyTorch channels_last", 22), ("speed", 6),
                          ("% peak", 6), ("pare MB", 7), ("PyTorch MB", 10), ("memory", 6)])

    def add(self, row):
        def rate(side):
            return "{median:.1f} ({min:.1f} - {max:.1f})".format(**row[side]["images_per_second"])

        self._print([row["job"], row["batch"], rate("pare"), rate("torch_nchw"), rate("torch_nhwc"),
                     f"{row['ratio']:.2f}x", f"{100 * row['pare']['peak_fraction']:.1f}",
                     f"{row['pare']['peak_rss_bytes'] / 1e6:.0f}", f"{torch_memory(row) / 1e6:.0f}",
                     f"{row['memory_ratio']:.2f}x"])


class OwnTable(Table):
    def __init__(self, job):
        super().__init__([(job.name, 26), ("images/s", 24), ("time of fp32", 12), ("fastest", 7),
                          ("% peak", 6), ("MB", 6)])

    def add(self, row):
        self._print([row["step"],
                     "{median:.1f} ({min:.1f} - {max:.1f})".format(**row["images_per_second"]),
                     f"{row['time_ratio']:.2f}x", f"{row['fastest_time_ratio']:.2f}x",
                     f"{100 * row['peak_fraction']:.1f}", f"{row['peak_rss_bytes'] / 1e6:.0f}"])


class DeployTable(Table):
    def __init__(self):
        super().__init__([("pare", 8), ("images/s", 26), ("ONNX fp32", 26), ("ratio", 6),
                          ("ONNX int8", 26), ("ratio", 6)])

    def add(self, name, speed, onnx):
        def show(rate):
            return "{median:.0f} ({min:.0f} - {max:.0f})".format(**rate)

        cells = [name, show(speed)]
        for other in ["fp32", "int8"]:
            cells += [show(onnx[other]), f"{speed['median'] / onnx[other]['median']:.2f}x"]
        self._print(cells)


class LayerTable(Table):
    def __init__(self):
        super().__init__([("convolution", 22), ("input", 12), ("kernel", 10), ("times", 5),
                          ("forward", 7), ("oneDNN", 7), ("ratio", 6), ("data", 7), ("oneDNN", 7),
                          ("ratio", 6), ("weight", 7), ("oneDNN", 7), ("ratio", 6)])

    def add(self, row):
        cells = [row["layer"], row["input"], row["kernel"], row["count"]]
        for name in PASSES:
            if name not in row:
                cells += ["-", "-", "-"]
                continue
            cells += [f"{row[name][side]['median'] / 1e9:.1f}" for side in ["pare", "onednn"]]
            cells.append(f"{row[name]['ratio']:.2f}x")
        self._print(cells)
