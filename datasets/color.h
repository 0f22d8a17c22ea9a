#pragma once
// What happens to the pixels of a training image behind crop and flip. Private to datasets.

#include "core/rng.h"
#include "datasets/bitmap.h"
#include "datasets/datasets.h"

namespace pare::datasets {

bool changes_colors(const Augment& augment);
/// RandAugment, then jitter, as far as asked for.
void change_colors(Bitmap& x, const Augment& augment, Rng& rng);

// --- Formulas are PIL's (ImageEnhance, ImageOps). f = 1 changes nothing.
void adjust_brightness(Bitmap& x, float f);  // f x
void adjust_contrast(Bitmap& x, float f);    // f x + (1 - f) mean grey
void adjust_color(Bitmap& x, float f);       // f x + (1 - f) grey of the pixel
void autocontrast(Bitmap& x);                // each channel's extremes become 0 and 255
void equalize(Bitmap& x);                    // each channel's histogram becomes flat
void posterize(Bitmap& x, int bits);         // the upper bits stay
void solarize(Bitmap& x, int threshold);     // values from threshold on are inverted

/// y[i, j] = x[a y' + b x', c y' + d x'] around the centre, moved by (dy, dx); the nearest pixel,
/// grey outside.
struct Affine {
  float a = 1, b = 0, c = 0, d = 1, dy = 0, dx = 0;
};
void warp(Bitmap& x, const Affine& affine);

}  // namespace pare::datasets
