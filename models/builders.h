#pragma once
// One function per family; models.cpp gives them names. Options have been checked by make(): widths
// are empty or as many as the model has, and what a model cannot use is not set.

#include "models/models.h"

namespace pare::models {

nn::Layer nin(const Options& options);
nn::Layer nin_3x3(const Options& options);
nn::Layer nin_gc(const Options& options);
nn::Layer nin_imagenet(const Options& options);
nn::Layer resnet_cifar(int depth, const Options& options);
nn::Layer resnet_imagenet(int depth, const Options& options);
nn::Layer vgg16_bn(const Options& options);
nn::Layer alexnet_bn(const Options& options);
nn::Layer lenet5(const Options& options);
nn::Layer mobilenet_v1(const Options& options);
nn::Layer mobilenet_v2(const Options& options);
nn::Layer efficientnet_lite0(const Options& options);
nn::Layer regnet_x_600mf(const Options& options);
nn::Layer squeezenet1_0(const Options& options);

}  // namespace pare::models
