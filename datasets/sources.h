#pragma once
// Where images come from: one function per format. Private to datasets.

#include "datasets/datasets.h"

namespace pare::datasets {

/// One label byte (CIFAR-100: coarse, then fine), then the planes R, G, B of 32x32 pixels, per
/// image. https://www.cs.toronto.edu/~kriz/cifar.html
PixelSet load_cifar10(const LoadOptions& options);
PixelSet load_cifar100(const LoadOptions& options);

/// Big-endian header, then bytes; plain or .gz.  http://yann.lecun.com/exdb/mnist
PixelSet load_mnist(const LoadOptions& options);
PixelSet load_fashion_mnist(const LoadOptions& options);

/// Ten kinds of figure, drawn from the seed.
PixelSet draw_synthetic(const LoadOptions& options);

/// A folder of JPEG and PNG files for each class, or a file made of it.
std::shared_ptr<const ImageSet> load_photos(const LoadOptions& options);

}  // namespace pare::datasets
