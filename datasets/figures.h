#pragma once
// The ten figures of the synthetic data set as signed distances. Private to datasets.

#include <array>

namespace pare::datasets {

struct Point {
  float x, y;
};

enum class Figure { disc, ring, square, triangle, cross, star, crescent, rows, columns, checkers };
inline constexpr std::array<const char*, 10> kFigureNames = {
    "disc", "ring",     "square", "triangle", "cross",
    "star", "crescent", "rows",   "columns",  "checkers"};

/// What rows, columns and checkers repeat, within a disc.
struct Pattern {
  float period = 6;  // pixels
  Point origin{0, 0};
};

/// Distance in pixels from p to the outline of a figure of size `r` around (0, 0), negative inside.
float distance(Figure figure, Point p, float r, const Pattern& pattern);

/// Distance to the segment a-b, thickened by `r`.
float capsule(Point p, Point a, Point b, float r);

}  // namespace pare::datasets
