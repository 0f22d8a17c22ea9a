#!/usr/bin/python3
"""Training steps of the same networks in PyTorch, in the protocol of `pare bench train --serve`:

  torch_step.py MODEL BATCH LAYOUT QUANT THREADS

Every number N on stdin is answered with {"train": [seconds of N steps]}, the end of the input with
what the process was and how much memory it took.
MODEL: nin, nin_gc, resnet20, resnet18 (224x224). LAYOUT: nchw, nhwc (channels_last). QUANT: float,
or for the two NINs W2A2 (binary), dorefaB (DoReFa with B bits), iaoB (IAO), as micronet writes
them.
SGD with momentum, cross-entropy, flush-to-zero.
"""
import json
import resource
import sys
import time

import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class BinarySign(Function):
    """y = sign(x), sign(0) = +1;  dx = dy 1[-1 < x < 1]"""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        y = torch.sign(x)
        y[y == 0] = 1
        return y

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        dx = dy.clone()
        dx[x.ge(1)] = 0
        dx[x.le(-1)] = 0
        return dx


class WeightSign(Function):
    """y = sign(w), sign(0) = +1;  dw = dy"""

    @staticmethod
    def forward(ctx, w):
        y = torch.sign(w)
        y[y == 0] = 1
        return y

    @staticmethod
    def backward(ctx, dy):
        return dy


class Round(Function):
    """Halves away from zero;  dx = dy"""

    @staticmethod
    def forward(ctx, x):
        return torch.sign(x) * torch.floor(torch.abs(x) + 0.5)

    @staticmethod
    def backward(ctx, dy):
        return dy


class BinaryActivation(nn.Module):
    def forward(self, x):
        return BinarySign.apply(x)


class BinaryConv2d(nn.Conv2d):
    """alpha sign(w), alpha = mean |w| of a filter; w is centred and clamped in place first."""

    def forward(self, x):
        w = self.weight
        w.data.sub_(w.data.mean(1, keepdim=True))
        w.data.clamp_(-1, 1)
        alpha = w.abs().mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, WeightSign.apply(w) * alpha, self.bias, self.stride, self.padding,
                        self.dilation, self.groups)


class DorefaConv2d(nn.Conv2d):
    """w: 2 q(tanh(w) / 2 max|tanh| + 1/2) - 1;  x: q(clamp(x / 10, 0, 1));  q: levels of bits"""

    bits = 4

    def quantize(self, x):
        scale = 1 / (2 ** self.bits - 1)
        return Round.apply(x / scale) * scale

    def forward(self, x):
        t = torch.tanh(self.weight)
        w = 2 * self.quantize(t / 2 / t.abs().max() + 0.5) - 1
        x = self.quantize(torch.clamp(x * 0.1, 0, 1))
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


class IaoRound(Function):
    """Halves away from zero;  dx = dy 1[lo <= x <= hi]"""

    @staticmethod
    def forward(ctx, codes, lo, hi):
        ctx.save_for_backward(codes, lo, hi)
        return torch.sign(codes) * torch.floor(torch.abs(codes) + 0.5)

    @staticmethod
    def backward(ctx, dy):
        codes, lo, hi = ctx.saved_tensors
        dx = dy.clone()
        dx[codes.gt(hi)] = 0
        dx[codes.lt(lo)] = 0
        return dx, None, None


class IaoConv2d(nn.Conv2d):
    """Symmetric. w: a range per output channel that never shrinks; x: one that follows the batches.
    y = s clamp(round(x / s), -n, n), s = range / n"""

    bits = 8

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("w_range", torch.zeros(self.out_channels, 1, 1, 1))
        self.register_buffer("x_range", torch.zeros(1))

    def quantize(self, x, reach, levels):
        scale = (reach / levels).clamp_min(1e-8)
        codes = IaoRound.apply(x / scale, -reach / scale, reach / scale)
        return torch.clamp(codes, -levels, levels) * scale

    def forward(self, x):
        n = 2 ** (self.bits - 1) - 1
        with torch.no_grad():
            w_flat = self.weight.flatten(1)
            w_reach = torch.max(w_flat.min(1)[0].abs(), w_flat.max(1)[0].abs())
            self.w_range = torch.max(self.w_range, w_reach.view(-1, 1, 1, 1))
            x_reach = torch.max(x.min().abs(), x.max().abs())
            self.x_range = torch.where(self.x_range == 0, x_reach.view(1),
                                       0.9 * self.x_range + 0.1 * x_reach)
        x = self.quantize(x, self.x_range, n)
        w = self.quantize(self.weight, self.w_range, n)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Shuffle(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        n, c, h, w = x.shape
        return x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)


NIN = [(192, 5, 1, 0), (160, 1, 1, 0), (96, 1, 1, 0), "pool",
       (192, 5, 1, 0), (192, 1, 1, 0), (192, 1, 1, 0), "pool",
       (192, 3, 1, 0), (192, 1, 1, 0), (10, 1, 1, 0)]  # width, kernel, groups, shuffle in front
NIN_GC = [(256, 5, 1, 0), (256, 1, 2, 0), (256, 1, 2, 2), "pool",
          (512, 3, 16, 2), (512, 1, 4, 16), (512, 1, 4, 4), "pool",
          (1024, 3, 32, 4), (1024, 1, 8, 32), (10, 1, 1, 0)]


def nin_layers(plan, pool, quant):
    """Blocks of convolution, batch norm, activation. The first convolution sees pixels and stays
    float but for IAO; the last one and its ReLU stay float in binary networks."""
    inner, act = nn.Conv2d, nn.ReLU
    if quant == "W2A2":
        inner, act = BinaryConv2d, BinaryActivation
    elif quant.startswith("dorefa"):
        inner = DorefaConv2d
        inner.bits = int(quant[len("dorefa"):])
    elif quant.startswith("iao"):
        inner = IaoConv2d
        inner.bits = int(quant[len("iao"):])
    layers, cin = [], 3
    for step in plan:
        if step == "pool":
            layers.append(pool())
            continue
        width, kernel, groups, shuffle = step
        first, last = cin == 3, step is plan[-1]
        conv = nn.Conv2d if first or (last and quant == "W2A2") else inner
        if inner is IaoConv2d:
            conv = inner  # every one
        if shuffle:
            layers.append(Shuffle(shuffle))
        layers += [conv(cin, width, kernel, padding=kernel // 2, groups=groups),
                   nn.BatchNorm2d(width), nn.ReLU() if last else act()]
        cin = width
    return nn.Sequential(*layers, nn.AvgPool2d(8), nn.Flatten())


class Basic(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.a = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn_a = nn.BatchNorm2d(cout)
        self.b = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn_b = nn.BatchNorm2d(cout)
        self.short = nn.Sequential()
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False),
                                       nn.BatchNorm2d(cout))

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
                         *stages(16, [16, 32, 64], 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(64, 10))


def resnet18():
    return nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                         nn.MaxPool2d(3, 2, 1), *stages(64, [64, 128, 256, 512], 2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def build(name, quant):
    if name == "nin":
        return nin_layers(NIN, lambda: nn.MaxPool2d(3, 2, 1), quant)
    if name == "nin_gc":
        return nin_layers(NIN_GC, lambda: nn.MaxPool2d(2), quant)
    if quant != "float":
        sys.exit(f"torch_step: {name} is only written in float here, got {quant}")
    return {"resnet20": resnet20, "resnet18": resnet18}[name]()


class Job:
    def __init__(self, name, batch, layout, quant):
        torch.manual_seed(0)
        size, classes = (224, 1000) if name == "resnet18" else (32, 10)
        memory = torch.channels_last if layout == "nhwc" else torch.contiguous_format
        self.model = build(name, quant).to(memory_format=memory)
        self.x = torch.randn(batch, 3, size, size).contiguous(memory_format=memory)
        self.y = torch.randint(0, classes, (batch,))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)

    def step(self):
        start = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        seconds = time.perf_counter() - start
        if not torch.isfinite(loss):
            sys.exit(f"torch_step: a step ended in {loss.item()}")
        return seconds


def blas():
    """Which BLAS is really loaded: the reference one would make a straw man."""
    with open("/proc/self/maps") as maps:
        return "openblas" if "openblas" in maps.read() else "other"


def main():
    name, batch, layout, quant, threads = sys.argv[1:]
    torch.set_flush_denormal(True)
    torch.set_num_threads(int(threads))
    base = peak_rss()
    job = Job(name, int(batch), layout, quant)
    for _ in range(3):
        job.step()
    for line in sys.stdin:
        print(json.dumps({"train": [job.step() for _ in range(int(line))]}), flush=True)
    print(json.dumps({"version": torch.__version__, "blas": blas(), "peak_rss_bytes": peak_rss(),
                      "base_rss_bytes": base,
                      "params": sum(p.numel() for p in job.model.parameters())}))


if __name__ == "__main__":
    main()
