#pragma once
// One function per family; models.cpp gives them names. Options have been checked by make(): widths
// are empty or as many as the model has, and what a model cannot use is not set.

#include "models/models.h"

namespace pare::models {

nn::Layer nin(const Options& options);
nn::Layer nin_3x3(const Options& options);
nn::Layer nin_gc(const Options& options);
nn::Layer resnet_cifar(int depth, const Options& options);
nn::Layer resnet_imagenet(int depth, const Options& options);
nn::Layer vgg16_bn(const Options& options);
nn::Layer lenet5(const Options& options);

}  // namespace pare::models
