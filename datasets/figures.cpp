#include "datasets/figures.h"

#include <algorithm>
#include <cmath>

namespace pare::datasets {

namespace {

constexpr float kPi = 3.14159265f;

float length(Point p) { return std::sqrt(p.x * p.x + p.y * p.y); }

float box(Point p, float half_width, float half_height) {
  return std::max(std::fabs(p.x) - half_width, std::fabs(p.y) - half_height);
}

float triangle(Point p, float r) {
  // Three half-planes at 120 degrees; r / 2 is the inner radius, r the outer one.
  const float slant = 0.8660254f * std::fabs(p.x) - 0.5f * p.y;
  return std::max(p.y, slant) - 0.5f * r;
}

float star(Point p, float r) {
  // One half of a tip, the other nine are its mirror images: the edge runs from (r, 0) to the notch
  // at 36 degrees.
  constexpr float kHalf = kPi / 5, kNotch = 0.42f;
  float angle = std::fmod(std::atan2(p.y, p.x) + 2 * kPi, 2 * kHalf);
  angle = std::min(angle, 2 * kHalf - angle);
  const float x = length(p) * std::cos(angle) - r, y = length(p) * std::sin(angle);
  const float ex = r * (kNotch * std::cos(kHalf) - 1), ey = r * kNotch * std::sin(kHalf);
  return (x * ey - y * ex) / std::sqrt(ex * ex + ey * ey);
}

/// Bands of half a period along t, negative inside.
float bands(float t, float period) { return -std::sin(2 * kPi * t / period) * period / (2 * kPi); }

}  // namespace

float distance(Figure figure, Point p, float r, const Pattern& pattern) {
  const float across = bands(p.x - pattern.origin.x, pattern.period);
  const float down = bands(p.y - pattern.origin.y, pattern.period);
  switch (figure) {
    case Figure::disc:
      return length(p) - 0.85f * r;
    case Figure::ring:
      return std::fabs(length(p) - 0.75f * r) - 0.2f * r;
    case Figure::square:
      return box(p, 0.75f * r, 0.75f * r);
    case Figure::triangle:
      return triangle(p, 1.1f * r);
    case Figure::cross:
      return std::min(box(p, r, 0.3f * r), box(p, 0.3f * r, r));
    case Figure::star:
      return star(p, 1.15f * r);
    case Figure::crescent:
      return std::max(length(p) - 0.95f * r, 0.75f * r - length({p.x - 0.5f * r, p.y}));
    case Figure::rows:
      return std::max(length(p) - r, down);
    case Figure::columns:
      return std::max(length(p) - r, across);
    case Figure::checkers:
      return std::max({length(p) - r, std::min(across, down), -std::max(across, down)});
  }
  return 0;
}

float capsule(Point p, Point a, Point b, float r) {
  const Point ab{b.x - a.x, b.y - a.y}, ap{p.x - a.x, p.y - a.y};
  const float along = (ap.x * ab.x + ap.y * ab.y) / std::max(ab.x * ab.x + ab.y * ab.y, 1e-6f);
  const float t = std::clamp(along, 0.0f, 1.0f);
  return length({ap.x - t * ab.x, ap.y - t * ab.y}) - r;
}

}  // namespace pare::datasets
