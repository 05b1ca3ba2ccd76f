#ifndef FLASHMOE_BASE_PORTABLE_MATH_H_
#define FLASHMOE_BASE_PORTABLE_MATH_H_

namespace flashmoe::portable {

/// Elementary functions with the same bits on every machine and C library: built from +, -, *, / on
/// doubles alone. For tables computed once (rotary frequencies and angles), not for inner loops.
/// Relative errors are below 1e-14, those of sin and cos absolute below 1e-15.

/// e^x; 0 below -745.2, infinity above 709.8.
double exp(double x);

/// Natural logarithm of a positive, finite x.
double log(double x);

/// x^y = exp(y log x) for x > 0; the error grows as |y log x| * 3e-16.
double pow(double x, double y);

struct SinCos {
  double sin;
  double cos;
};
/// For |x| <= 1e6.
SinCos sin_cos(double x);

}  // namespace flashmoe::portable

#endif  // FLASHMOE_BASE_PORTABLE_MATH_H_
