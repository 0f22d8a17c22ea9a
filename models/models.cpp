#include "models/models.h"

#include <algorithm>
#include <functional>

#include "models/builders.h"
#include "nn/nearest.h"

namespace pare::models {

namespace {

struct Entry {
  Info info;
  nn::InitOptions init;
  size_t widths;                   // how many numbers
  std::vector<std::string> takes;  // options besides classes, image and widths
  std::function<nn::Layer(const Options&)> build;
};

/// micronet trains its NINs from Xavier weights and zero biases.
constexpr nn::InitOptions kNinInit{.conv = nn::Scheme::xavier_uniform, .linear_normal = 0.01f};
constexpr nn::InitOptions kResNetInit{.zero_bias = false};
constexpr nn::InitOptions kVggInit{.linear_normal = 0.01f};
constexpr nn::InitOptions kLeNetInit{.conv = nn::Scheme::kaiming_uniform, .zero_bias = false};

Entry nin_entry(const char* name, const char* summary, nn::Layer (*build)(const Options&)) {
  return {{name, summary, {32, 32, 3}}, kNinInit, 8, {"order", "bn_momentum", "dropout"}, build};
}

Entry cifar_entry(int depth, const char* params) {
  return {{str("resnet", depth), str("CIFAR ResNet, He et al. 2015, ", params), {32, 32, 3}},
          kResNetInit,
          3,
          {"shortcut", "bn_momentum"},
          [depth](const Options& o) { return resnet_cifar(depth, o); }};
}

/// Networks of one shape: their widths are not for choosing.
Entry fixed_entry(const char* name, const char* summary, std::vector<std::string> takes,
                  const nn::InitOptions& init, nn::Layer (*build)(const Options&)) {
  return {{name, summary, {224, 224, 3}}, init, 0, std::move(takes), build};
}

Entry imagenet_entry(int depth, const char* params) {
  return {{str("resnet", depth), str("ResNet, He et al. 2015, ", params), {224, 224, 3}},
          kResNetInit,
          4,
          {"stem", "bn_momentum"},
          [depth](const Options& o) { return resnet_imagenet(depth, o); }};
}

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = {
      nin_entry("nin", "Network in Network, 0.97 M parameters", nin),
      nin_entry("nin_3x3", "NIN with a 3x3 fourth convolution, 0.67 M parameters", nin_3x3),
      nin_entry("nin_gc", "NIN of grouped convolutions and shuffles, 0.59 M parameters", nin_gc),
      cifar_entry(20, "0.27 M parameters"),
      cifar_entry(32, "0.47 M parameters"),
      cifar_entry(44, "0.66 M parameters"),
      cifar_entry(56, "0.86 M parameters"),
      cifar_entry(110, "1.73 M parameters"),
      imagenet_entry(18, "11.7 M parameters with 1000 classes"),
      imagenet_entry(34, "21.8 M parameters with 1000 classes"),
      imagenet_entry(50, "25.6 M parameters with 1000 classes"),
      {{"vgg16_bn",
        "VGG-16 with batch norm, 14.7 M parameters; 138 M for images of 224 pixels",
        {32, 32, 3}},
       kVggInit,
       13,
       {"bn_momentum", "dropout"},
       vgg16_bn},
      {{"alexnet_bn",
        "AlexNet with batch norm, 61.1 M parameters with 1000 classes",
        {224, 224, 3}},
       kVggInit,
       7,
       {"bn_momentum", "dropout"},
       alexnet_bn},
      {{"nin_imagenet",
        "Network in Network for ImageNet, 7.6 M parameters with 1000 classes",
        {224, 224, 3}},
       kVggInit,
       4,
       {"bn_momentum", "dropout"},
       nin_imagenet},
      {{"lenet5", "LeNet-5, LeCun et al. 1998, 0.06 M parameters", {28, 28, 1}},
       kLeNetInit,
       4,
       {},
       lenet5},
      fixed_entry("mobilenet_v1", "MobileNetV1, 4.2 M parameters with 1000 classes",
                  {"bn_momentum"}, kVggInit, mobilenet_v1),
      fixed_entry("mobilenet_v2", "MobileNetV2, 3.5 M parameters with 1000 classes",
                  {"bn_momentum", "dropout"}, kVggInit, mobilenet_v2),
      fixed_entry("efficientnet_lite0", "EfficientNet-Lite0, 4.7 M parameters with 1000 classes",
                  {"bn_momentum"}, kVggInit, efficientnet_lite0),
      fixed_entry("regnet_x_600mf", "RegNetX-600MF, 6.2 M parameters with 1000 classes",
                  {"bn_momentum"}, kVggInit, regnet_x_600mf),
      fixed_entry("squeezenet1_0", "SqueezeNet 1.0, 1.2 M parameters with 1000 classes",
                  {"dropout"}, kLeNetInit, squeezenet1_0),
  };
  return all;
}

const Entry& find(const std::string& name) {
  std::string known;
  const Entry* nearest = &entries().front();
  for (const Entry& e : entries()) {
    if (e.info.name == name) return e;
    known += (known.empty() ? "" : ", ") + e.info.name;
    if (nn::edit_distance(name, e.info.name) < nn::edit_distance(name, nearest->info.name)) {
      nearest = &e;
    }
  }
  throw Error(str("unknown model '", name, "'; did you mean ", nearest->info.name, "?",
                  hint("known: " + known)),
              "models::find");
}

std::string accepted(const Entry& e) {
  std::string text = str("classes, image, widths (", e.widths, " numbers)");
  for (const std::string& option : e.takes) text += ", " + option;
  return text;
}

void check(const Entry& e, const Options& o) {
  const std::string& name = e.info.name;
  PARE_CHECK(o.classes > 0, name, ": needs at least one class, got ", o.classes);
  PARE_CHECK(o.image.dims() == 3 && o.image[0] > 0 && o.image[1] > 0 && o.image[2] > 0, name,
             ": an image is [H, W, C], got ", o.image);
  PARE_CHECK(o.widths.empty() || o.widths.size() == e.widths, name, ": has ", e.widths,
             " widths, got ", o.widths.size());
  for (int64_t w : o.widths) PARE_CHECK(w > 0, name, ": widths must be positive, got ", w);
  PARE_CHECK(o.bn_momentum >= 0 && o.bn_momentum <= 1, name, ": bn_momentum must be in 0..1, got ",
             o.bn_momentum);
  PARE_CHECK(o.dropout >= 0 && o.dropout < 1, name, ": dropout must be in 0..1 without 1, got ",
             o.dropout);
  const auto refuse_if = [&](bool set, const char* option) {
    const bool known = std::find(e.takes.begin(), e.takes.end(), option) != e.takes.end();
    PARE_CHECK(!set || known, name, ": has no use for the option ", option,
               hint("it accepts " + accepted(e)));
  };
  refuse_if(!o.order.empty(), "order");
  refuse_if(!o.shortcut.empty(), "shortcut");
  refuse_if(!o.stem.empty(), "stem");
  refuse_if(o.bn_momentum != Options{}.bn_momentum, "bn_momentum");
  refuse_if(o.dropout != 0, "dropout");
}

}  // namespace

nn::Layer make(const std::string& name, const Options& options) {
  const Entry& entry = find(name);
  check(entry, options);
  nn::Layer model = entry.build(options);
  nn::assign_paths(model);
  return model;
}

nn::InitOptions init_options(const std::string& name) { return find(name).init; }

const std::vector<Info>& list() {
  static const std::vector<Info> all = [] {
    std::vector<Info> infos;
    for (const Entry& e : entries()) infos.push_back(e.info);
    return infos;
  }();
  return all;
}

}  // namespace pare::models
