"""Measures pare and its rivals in turn; started by bench/compare/run, which explains the flags."""
import argparse
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import chart
import deploy
from rivals import Rival, spread, take_turns
from tables import (PASSES, TORCH_LAYOUTS, DeployTable, LayerTable, OwnTable, StepTable,
                    torch_memory, torch_speed)

HERE = pathlib.Path(__file__).resolve().parent
MODELS = ["nin", "nin_gc", "resnet20", "resnet18"]
# What a job may ask for: flags of `pare bench train`, QUANT of torch_step.py.
VARIANTS = {"fp32": ([], "float"), "bf16": (["--precision", "bf16"], "float"),
            "W2A2": (["--quant", "wbab:W2A2"], "W2A2"),
            "dorefa4": (["--quant", "wqaq:W4A4"], "dorefa4"),
            "iao8": (["--quant", "iao:W8A8,keep=none"], "iao8")}
# Other ways to do the float32 step, measured against it.
OWN_STEPS = {"fp32": [], "fp32, Winograd off": ["--winograd", "off"],
             "fp32, one thread": ["--threads", 1], "bf16": ["--precision", "bf16"],
             **{quant: ["--quant", quant]
                for quant in ["wbab:W2A2", "wbab:W2A2,xnor=on", "wbab:W3A2", "W=ternary,A=float",
                              "dorefa:W4A4", "pact:W4A4", "lsq:W4A4", "lsq+:W4A4", "iao:W8A8",
                              "iao:W8A8,bn=fused"]}}
# Without these, malloc returns the tensors of every step to the system and PyTorch pays for fresh
# pages in the next one: up to a quarter of its time.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2 ** 40)}
DEFAULT_JOBS = ["nin", "resnet20", "resnet18", "nin_gc", "nin_gc:W2A2", "nin:W2A2", "nin:dorefa4",
                "nin:iao8", "layers:nin", "layers:resnet20", "layers:resnet18",
                "layers:nin_gc"]


class Job:
    """MODEL[:VARIANT][:BATCH], layers:MODEL[:BATCH], own:MODEL[:BATCH] or deploy:MODEL[:BATCH]"""

    def __init__(self, text):
        words = text.split(":")
        self.kind = words.pop(0) if words[0] in ["layers", "own", "deploy"] else "steps"
        self.model = words.pop(0) if words else ""
        self.variant = words.pop(0) if words and words[0] in VARIANTS else "fp32"
        usual = {"steps": 128, "own": 128, "layers": 32, "deploy": 64}
        self.batch = 16 if self.model == "resnet18" else usual[self.kind]
        if words and words[0].isdigit() and int(words[0]) > 0:
            self.batch = int(words.pop(0))
        plain = self.kind != "steps"
        if words or self.model not in MODELS or (plain and self.variant != "fp32"):
            sys.exit(f"compare: '{text}' is no job; models are {', '.join(MODELS)}, variants "
                     f"{', '.join(VARIANTS)}; bench/compare/run --help")
        if VARIANTS[self.variant][1] != "float" and not self.model.startswith("nin"):
            sys.exit(f"compare: '{text}': {self.variant} is only written for the NINs in PyTorch")
        self.name = self.model if self.variant == "fp32" else f"{self.model} {self.variant}"


class Comparison:
    def __init__(self, args):
        self.args, self.pare = args, args.bin / "pare"
        self.out = {"machine": {"cpu": cpu_name(), "threads": args.threads,
                                "load_before": os.getloadavg()[0]}, "versions": {},
                    "date": time.strftime("%Y-%m-%d"), "rounds": args.rounds,
                    "steps": [], "layers": [], "own": [], "deploy": []}

    def run(self, jobs):
        steps = [job for job in jobs if job.kind == "steps"]
        if steps:
            print(f"{self.args.threads} threads, {self.args.rounds} rounds; images/s are median "
                  "(min - max), ratios are to the faster and to the leaner PyTorch\n")
            table = StepTable()
        for job in steps:
            self.out["steps"].append(self.train_steps(job))
            table.add(self.out["steps"][-1])
            self.save()
        others = {"layers": self.conv_layers, "own": self.own_steps, "deploy": self.deployed}
        for job in jobs:
            if job.kind in others:
                self.out[job.kind].append(others[job.kind](job))
                self.save()

    def train_steps(self, job):
        flags, quant = VARIANTS[job.variant]
        threads = self.args.threads
        pare = self.training_step(job, flags)
        torch = {layout: ["/usr/bin/python3", HERE / "torch_step.py", job.model, job.batch,
                          layout.removeprefix("torch_"), quant, threads]
                 for layout in TORCH_LAYOUTS}
        rivals = [Rival("pare", pare, threads)]
        rivals += [Rival(name, torch[name], threads, KEEP_MEMORY) for name in torch]
        take_turns(rivals, self.args.rounds, self.args.steps or 2)
        results = {rival.name: rival.finish() for rival in rivals}
        check_fair(job, results["pare"], results["torch_nchw"])
        for name in torch:  # a process of its own for memory, which malloc may return
            results[name] = Rival(name, torch[name], threads).finish()
        self.remember(results["pare"], "PyTorch", results["torch_nchw"])

        row = {"job": job.name, "model": job.model, "variant": job.variant, "batch": job.batch}
        for rival in rivals:
            row[rival.name] = {
                "images_per_second": spread([job.batch / s for s in rival.seconds["train"]]),
                "peak_rss_bytes": results[rival.name]["peak_rss_bytes"]}
        row["pare"]["peak_fraction"] = results["pare"]["peak_fraction"]
        row["torch_base_rss_bytes"] = results["torch_nchw"]["base_rss_bytes"]
        row["ratio"] = row["pare"]["images_per_second"]["median"] / torch_speed(row)
        row["memory_ratio"] = row["pare"]["peak_rss_bytes"] / torch_memory(row)
        return row

    def training_step(self, job, flags):
        classes = 1000 if job.model == "resnet18" else 10
        threads = [] if "--threads" in flags else ["--threads", self.args.threads]
        return [self.pare, "bench", "train", "--model", job.model, "--batch-size", job.batch,
                "--classes", classes, "--serve", *threads, *flags]

    def own_steps(self, job):
        print(f"\n{job.name}, batch {job.batch}: other training steps beside the float32 one\n")
        table = OwnTable(job)
        rivals = [Rival(name, self.training_step(job, flags), self.args.threads)
                  for name, flags in OWN_STEPS.items()]
        take_turns(rivals, self.args.rounds, self.args.steps or 2)
        fp32, rows = rivals[0].seconds["train"], []
        for rival in rivals:
            seconds, result = rival.seconds["train"], rival.finish()
            self.remember(result)
            rows.append({"step": rival.name,
                         "images_per_second": spread([job.batch / s for s in seconds]),
                         "time_ratio": statistics.median(seconds) / statistics.median(fp32),
                         "fastest_time_ratio": min(seconds) / min(fp32),
                         "peak_fraction": result["peak_fraction"],
                         "peak_rss_bytes": result["peak_rss_bytes"]})
            table.add(rows[-1])
        return {"job": job.name, "model": job.model, "batch": job.batch, "steps": rows}

    def deployed(self, job):
        print(f"\n{job.name}, batch {job.batch}: inference, ratios are to ONNX Runtime\n")
        threads, size = self.args.threads, deploy.image_size(job.model)
        files = deploy.write_files(self.pare, job.model, self.args.out / f"deploy_{job.model}")
        rivals = [Rival("pare", [self.pare, "bench", "infer", "--weights", files["fp32"],
                                 "--precision", ",".join(deploy.PRECISIONS), "--batch-size",
                                 job.batch, "--image-size", size, "--threads", threads, "--serve"],
                        threads)]
        rivals += [Rival(name, ["node", HERE / "onnx_step.cjs", files[f"{name}.onnx"], job.batch,
                                size, threads], threads) for name in ["fp32", "int8"]]
        take_turns(rivals, self.args.rounds, self.args.steps or 5)
        results = [rival.finish() for rival in rivals]
        self.out["machine"].update(isa=results[0]["isa"], commit=results[0]["commit"])
        self.out["versions"]["ONNX Runtime"] = results[1]["version"]
        onnx = {r.name: spread([job.batch / s for s in r.seconds["infer"]]) for r in rivals[1:]}
        pare = {name: spread([job.batch / s for s in seconds])
                for name, seconds in rivals[0].seconds.items()}
        table = DeployTable()
        for name, speed in pare.items():
            table.add(name, speed, onnx)
        return {"job": job.name, "model": job.model, "batch": job.batch, "pare": pare, "onnx": onnx}

    def conv_layers(self, job):
        print(f"\n{job.name}, batch {job.batch}: convolutions, median GFLOP/s, oneDNN beside pare; "
              "'all' is all FLOP over all time\n")
        table, rows = LayerTable(), []
        for layer in self.list_layers(job):
            rows.append(self.conv_layer(job, layer))
            table.add(rows[-1])
        total = total_row(rows)
        table.add(total)
        return {"job": job.name, "model": job.model, "batch": job.batch, "layers": rows,
                "total": total}

    def list_layers(self, job):
        command = [self.pare, "bench", "conv", "--model", job.model, "--batch-size", 1,
                   "--steps", 1, "--warmup", 0, "--threads", self.args.threads, "--quiet", "--json"]
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(1)  # its own message is on stderr
        return json.loads(done.stdout.splitlines()[-1])["layers"]

    def conv_layer(self, job, layer):
        threads = self.args.threads
        pare = [self.pare, "bench", "conv", "--batch-size", job.batch, "--groups", layer["groups"],
                "--threads", threads, "--serve"]
        for flag in ["shape", "kernel", "stride", "pad", "dilation"]:
            pare += [f"--{flag}", ",".join(map(str, layer[flag]))]
        onednn = [self.args.bin / "dnnl_conv", threads, job.batch, *layer["shape"],
                  *layer["kernel"], *layer["stride"], *layer["pad"], *layer["dilation"],
                  layer["groups"]]
        rivals = [Rival("pare", pare, threads), Rival("onednn", onednn, threads)]
        take_turns(rivals, self.args.rounds, self.args.steps or 5)
        results = {rival.name: rival.finish() for rival in rivals}
        self.remember(results["pare"], "oneDNN", results["onednn"])
        return layer_row(job, layer, rivals, results["onednn"]["ways"])

    def remember(self, pare, rival=None, result=None):
        machine = self.out["machine"]
        machine.update(isa=pare["isa"], commit=pare["commit"],
                       peak_flops=max(pare["peak_flops"], machine.get("peak_flops", 0)))
        if rival:
            self.out["versions"][rival] = result["version"]

    def save(self):
        folder = self.args.out
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compare.json").write_text(json.dumps(self.out, indent=2) + "\n")
        for name, svg in chart.draw(self.out).items():
            (folder / name).write_text(svg)


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def check_fair(job, pare, torch):
    if torch["blas"] != "openblas":
        sys.exit("compare: PyTorch runs without OpenBLAS; choose it with "
                 "update-alternatives --config libblas.so.3-x86_64-linux-gnu")
    if torch["params"] != pare["params"]:
        sys.exit(f"compare: {job.name} has {pare['params']} parameters in pare and "
                 f"{torch['params']} in PyTorch: not the same network")


def layer_row(job, layer, rivals, ways):
    height, width, inputs, _ = layer["shape"]
    kernel = "x".join(map(str, layer["kernel"]))
    kernel += f" s{layer['stride'][0]}" if layer["stride"] != [1, 1] else ""
    kernel += f" g{layer['groups']}" if layer["groups"] != 1 else ""
    flops = 2 * layer["macs_per_image"] * job.batch
    row = {"layer": layer["path"], "input": f"{height}x{width}x{inputs}", "kernel": kernel,
           "count": layer["count"], "flops": flops, "ways": ways}
    for name in PASSES:
        if layer[name] is None:  # the gradient of the images, which no step computes
            continue
        row[name] = {r.name: spread([flops / s for s in r.seconds[name]]) for r in rivals}
        row[name]["ratio"] = row[name]["pare"]["median"] / row[name]["onednn"]["median"]
    return row


def total_row(rows):
    """All FLOP over all time: layers weigh what a step spends on them."""
    total = {"layer": "all", "input": "", "kernel": "", "count": ""}
    for name in PASSES:
        used = [row for row in rows if name in row]
        flops = sum(row["count"] * row["flops"] for row in used)
        total[name] = {}
        for side in ["pare", "onednn"]:
            seconds = sum(row["count"] * row["flops"] / row[name][side]["median"] for row in used)
            total[name][side] = {"median": flops / seconds}
        ratios = [row[name]["ratio"] for row in used]
        total[name]["ratio"] = total[name]["pare"]["median"] / total[name]["onednn"]["median"]
        total[name]["geomean_ratio"] = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return total


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number of at least 1")
    return value


def main():
    parser = argparse.ArgumentParser(prog="bench/compare/run", usage="%(prog)s --help")
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--steps", type=positive)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/compare"))
    parser.add_argument("jobs", nargs="*", default=DEFAULT_JOBS)
    args = parser.parse_args()
    jobs = [Job(text) for text in args.jobs]
    for program in ["pare"] + ["dnnl_conv"] * any(job.kind == "layers" for job in jobs):
        if not (args.bin / program).exists():
            sys.exit(f"compare: {args.bin} has no {program}; build it with scripts/build")
    if os.getloadavg()[0] > 0.5:
        print(f"compare: the load is {os.getloadavg()[0]:.1f}, other programs are running: expect "
              "noise", file=sys.stderr)
    Comparison(args).run(jobs)
    print(f"\ncompare: the figures and charts are in {args.out}")


if __name__ == "__main__":
    main()
