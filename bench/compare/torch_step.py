#!/usr/bin/env python3
"""Training steps of the same networks in PyTorch, for bench/compare/run.

Reads requests "MODEL BATCH LAYOUT STEPS" from stdin, one a line; answers with the seconds of each step, as JSON.
Models: nin, nin_gc, resnet20, resnet18 (224x224). Layouts: nchw, nhwc. SGD with momentum, cross-entropy.
"""
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Sequential):
    def __init__(self, cin, cout, k, groups=1):
        super().__init__(nn.Conv2d(cin, cout, k, padding=k // 2, groups=groups), nn.BatchNorm2d(cout), nn.ReLU())


class Shuffle(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        n, c, h, w = x.shape
        return x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def nin():
    pool = lambda: nn.MaxPool2d(3, 2, 1)
    return nn.Sequential(
        Block(3, 192, 5), Block(192, 160, 1), Block(160, 96, 1), pool(),
        Block(96, 192, 5), Block(192, 192, 1), Block(192, 192, 1), pool(),
        Block(192, 192, 3), Block(192, 192, 1), Block(192, 10, 1), nn.AvgPool2d(8), nn.Flatten())


def nin_gc():
    return nn.Sequential(
        Block(3, 256, 5), Block(256, 256, 1, 2), Shuffle(2), Block(256, 256, 1, 2), nn.MaxPool2d(2),
        Shuffle(2), Block(256, 512, 3, 16), Shuffle(16), Block(512, 512, 1, 4), Shuffle(4), Block(512, 512, 1, 4),
        nn.MaxPool2d(2), Shuffle(4), Block(512, 1024, 3, 32), Shuffle(32), Block(1024, 1024, 1, 8),
        Block(1024, 10, 1), nn.AvgPool2d(8), nn.Flatten())


class Basic(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.a = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn_a = nn.BatchNorm2d(cout)
        self.b = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn_b = nn.BatchNorm2d(cout)
        self.short = nn.Sequential()
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        h = F.relu(self.bn_a(self.a(x)))
        return F.relu(self.bn_b(self.b(h)) + self.short(x))


def stages(cin, widths, depth):
    layers = []
    for i, width in enumerate(widths):
        for j in range(depth):
            layers.append(Basic(cin, width, 2 if i and not j else 1))
            cin = width
    return layers


def resnet20():
    return nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                         *stages(16, [16, 32, 64], 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet18():
    return nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
                         *stages(64, [64, 128, 256, 512], 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(512, 1000))


class Job:
    def __init__(self, name, batch, layout):
        torch.manual_seed(0)
        size, classes = (224, 1000) if name == "resnet18" else (32, 10)
        fmt = torch.channels_last if layout == "nhwc" else torch.contiguous_format
        self.model = {"nin": nin, "nin_gc": nin_gc, "resnet20": resnet20, "resnet18": resnet18}[name]()
        self.model = self.model.to(memory_format=fmt)
        self.x = torch.randn(batch, 3, size, size).contiguous(memory_format=fmt)
        self.y = torch.randint(0, classes, (batch,))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def step(self):
        start = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.model(self.x), self.y).backward()
        self.optimizer.step()
        return time.perf_counter() - start


def main():
    torch.set_flush_denormal(True)
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    jobs = {}
    for line in sys.stdin:
        name, batch, layout, steps = line.split()
        key = (name, batch, layout)
        if key not in jobs:
            jobs = {key: Job(name, int(batch), layout)}  # one model in memory at a time
            jobs[key].step()
        print(json.dumps([jobs[key].step() for _ in range(int(steps))]), flush=True)


if __name__ == "__main__":
    main()
