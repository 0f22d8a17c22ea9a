#pragma once
// Where images come from: one function per format. Private to datasets.

#include "datasets/datasets.h"

namespace pare::datasets {

/// One label byte (CIFAR-100: coarse, then fine), then the planes R, G, B of 32x32 pixels, per
/// image. https://www.cs.toronto.edu/~kriz/cifar.html
ImageSet load_cifar10(const LoadOptions& options);
ImageSet load_cifar100(const LoadOptions& options);

/// Big-endian header, then bytes; plain or .gz.  http://yann.lecun.com/exdb/mnist
ImageSet load_mnist(const LoadOptions& options);
ImageSet load_fashion_mnist(const LoadOptions& options);

/// Ten kinds of figure, drawn from the seed.
ImageSet draw_synthetic(const LoadOptions& options);

}  // namespace pare::datasets
