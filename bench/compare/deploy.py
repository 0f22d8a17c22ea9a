"""Networks as files for ONNX Runtime: fp32 and int8, after one step of training, since speed does
not depend on what a network has learned."""
import pathlib
import random
import struct
import subprocess
import sys
import zlib

PRECISIONS = ["fp32", "int8", "binary"]


def image_size(model):
    return 224 if model == "resnet18" else 32


def write_files(pare, model, folder):
    """{"fp32": a checkpoint, "fp32.onnx": ..., "int8.onnx": ...}"""
    folder.mkdir(parents=True, exist_ok=True)
    data = ["--dataset", "synthetic"]
    if image_size(model) == 224:
        photographs(folder / "photographs", 256)
        data = ["--dataset", "imagenet", "--data", folder / "photographs", "--image-size", 224]
    few = ["--train-limit", 64, "--test-limit", 16]
    run([pare, "train", "--model", model, *data, *few, "--batch-size", 16, "--epochs", 1, "--steps",
         1, "--out", folder / "float", "--force", "--quiet"])
    checkpoint = folder / "float/best.safetensors"
    run([pare, "quantize", "--weights", checkpoint, "--quant", "uniform:W8A8,keep=none", "--calib",
         64, *data, *few, "--out", folder / "int8", "--force", "--quiet"])
    files = {"fp32": checkpoint, "fp32.onnx": folder / "fp32.onnx", "int8.onnx": folder / "int8.onnx"}
    export = [pare, "export", *data, "--quiet"]
    run([*export, "--weights", checkpoint, "--to", "onnx", "--out", files["fp32.onnx"]])
    run([*export, "--weights", folder / "int8/quantized.safetensors", "--to", "onnx-qdq", "--out",
         files["int8.onnx"]])
    return files


def run(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(1)  # its own message is on stderr


def photographs(folder, size):
    """Two classes of noise: files that can be read are all that is needed."""
    source = random.Random(1)
    for split in ["train", "val"]:
        for name in ["a", "b"]:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(8):
                (folder / split / name / f"{i}.png").write_bytes(noise_png(size, source))


def noise_png(size, source):
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))

    rows = b"".join(b"\0" + source.randbytes(3 * size) for _ in range(size))
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))
