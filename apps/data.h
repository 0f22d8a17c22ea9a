#pragma once
// Which images a program reads, and how.

#include <memory>
#include <string>

#include "apps/cli.h"
#include "apps/photo_args.h"
#include "core/batch.h"
#include "datasets/datasets.h"

namespace pare {

struct DataArgs {
  std::string dataset, data, normalize;
  PhotoArgs photos;
  int64_t train_limit = 0, test_limit = 0, eval_batch_size = 256, workers = 0;

  void fields(cli::Fields& f, bool training);
  /// Stays with what a checkpoint was trained on where no flag says otherwise.
  void adopt(const std::string& trained_on, const std::string& normalized_as,
             const PhotoArgs& shown_as, const cli::Given& given);
  /// The data set meant: --dataset, or what the folder of --data looks like, or synthetic.
  std::string name() const;
  /// The normalization meant: --normalize, or the data set's own.
  std::string normalization() const;
  /// Where the files are: --data, or data/ below the working directory.
  std::string folder() const { return data.empty() ? "data" : data; }
  /// Drawn by the program, or that folder exists.
  bool is_there() const;
};

std::shared_ptr<const datasets::ImageSet> load_split(const DataArgs& args, datasets::Split split);
/// Whole images in order.
std::unique_ptr<BatchSource> test_batches(const DataArgs& args,
                                          std::shared_ptr<const datasets::ImageSet> images);
/// Whole images in random order, to calibrate and measure on.
std::unique_ptr<BatchSource> sample_batches(const DataArgs& args,
                                            std::shared_ptr<const datasets::ImageSet> images,
                                            int64_t batch_size, int64_t seed);

/// "10000 images of 32x32x3, 10 classes"
std::string describe_images(const datasets::ImageSet& images);
/// "2 files could not be read:", and the first of them; empty: there are none.
std::string describe_unreadable(const std::vector<datasets::Unreadable>& files);

}  // namespace pare
