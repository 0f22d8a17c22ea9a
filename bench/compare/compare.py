"""Runs pare_step and torch_step.py in turn and prints medians and ratios. Started by bench/compare/run."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys


class Rival:
    """A process that answers "MODEL BATCH LAYOUT STEPS" with the seconds of each step."""

    def __init__(self, name, command, layouts):
        self.name, self.layouts = name, layouts
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def steps(self, model, batch, layout, count):
        self.process.stdin.write(f"{model} {batch} {layout} {count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"compare: {self.name} stopped on {model}:{batch}")
        return json.loads(line)


def measure(rivals, model, batch, rounds):
    seconds = {(r.name, layout): [] for r in rivals for layout in r.layouts}
    for _ in range(rounds):
        for rival in rivals:
            for layout in rival.layouts:
                # The first step after the other process had the machine only warms the caches.
                seconds[rival.name, layout] += rival.steps(model, batch, layout, 3)[1:]
    return {key: sorted(batch / s for s in values) for key, values in seconds.items()}


def summary(rates):
    return {"median": statistics.median(rates), "min": rates[0], "max": rates[-1]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pare", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="write the figures here too")
    parser.add_argument("jobs", nargs="*", default=["nin:128", "resnet20:128"])
    args = parser.parse_args()

    here = pathlib.Path(__file__).parent
    threads = str(args.threads)
    rivals = [Rival("pare", [args.pare, threads], ["nhwc"]),
              Rival("torch", ["/usr/bin/python3", str(here / "torch_step.py"), threads], ["nchw", "nhwc"])]
    print(f"training steps, fp32, {args.threads} threads, {args.rounds} rounds of 2; images/s, median (min - max)")
    print(f"{'model':<10} {'batch':>5}  {'pare':>24}  {'PyTorch NCHW':>24}  {'PyTorch channels_last':>24}  {'ratio':>6}")
    results = []
    for job in args.jobs:
        model, batch = job.split(":")
        rates = measure(rivals, model, int(batch), args.rounds)
        figures = {f"{name}_{layout}": summary(values) for (name, layout), values in rates.items()}
        best = max(figures["torch_nchw"]["median"], figures["torch_nhwc"]["median"])
        ratio = figures["pare_nhwc"]["median"] / best
        cell = lambda f: f"{f['median']:8.1f} ({f['min']:.1f} - {f['max']:.1f})"
        print(f"{model:<10} {batch:>5}  {cell(figures['pare_nhwc']):>24}  {cell(figures['torch_nchw']):>24}  "
              f"{cell(figures['torch_nhwc']):>24}  {ratio:>5.2f}x", flush=True)
        results.append({"model": model, "batch": int(batch), "threads": args.threads, "ratio": ratio, **figures})
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
