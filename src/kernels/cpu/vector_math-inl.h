// exp and its kin on 16 lanes: docs/numerics.md gives the formulas. Included by kernels-inl.h.

/// Adding this to |x| < 2^22 rounds x to the nearest integer, halves to even, and leaves that
/// integer in the low bits.
constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23

/// 2^n for integral n in [-126, 127].
inline F32x16 power_of_two(F32x16 n) { return shift_bits_left_23(n + set1(kRounder + 127.0f)); }

inline F32x16 exp(F32x16 x) {
  const F32x16 low = set1(-87.33654f);
  const F32x16 high = set1(88.72283f);
  const F32x16 clamped = min(high, max(low, x));  // this order keeps NaN
  const F32x16 rounder = set1(kRounder);
  const F32x16 n = fma(clamped, set1(1.44269504088896341f), rounder) - rounder;
  F32x16 r = fnma(n, set1(0.693359375f), clamped);
  r = fnma(n, set1(-2.12194440e-4f), r);
  F32x16 p = set1(1.9875691500e-4f);  // Cephes' expf
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(p, r, set1(1.0f));
  p = fma(p, r, set1(1.0f));
  const F32x16 half = fma(n, set1(0.5f), rounder) - rounder;
  p = p * power_of_two(half) * power_of_two(n - half);
  p = select_less(x, low, set1(0.0f), p);
  return select_less(high, x, set1(__builtin_inff()), p);
}

inline F32x16 sigmoid(F32x16 x) {
  const F32x16 one = set1(1.0f);
  return one / (one + exp(set1(0.0f) - x));
}

inline F32x16 silu(F32x16 x) { return x / (set1(1.0f) + exp(set1(0.0f) - x)); }

/// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), and (1 + tanh(u)) / 2 is sigmoid(2 u).
inline F32x16 gelu_tanh(F32x16 x) {
  const F32x16 twice = x * fma(x * x, set1(0.071354816273f), set1(1.59576912161f));
  return x / (set1(1.0f) + exp(set1(0.0f) - twice));
}

/// Below 0.625 a polynomial (Cephes' tanhf), which keeps the bits that 1 - 2 / (1 + exp(2 |x|))
/// would lose.
inline F32x16 tanh(F32x16 x) {
  const F32x16 zero = set1(0.0f);
  const F32x16 one = set1(1.0f);
  const F32x16 magnitude = select_less(x, zero, zero - x, x);
  const F32x16 far = one - set1(2.0f) / (one + exp(magnitude + magnitude));
  const F32x16 z = x * x;
  F32x16 p = set1(-5.70498872745e-3f);
  p = fma(p, z, set1(2.06390887954e-2f));
  p = fma(p, z, set1(-5.37397155531e-2f));
  p = fma(p, z, set1(1.33314422036e-1f));
  p = fma(p, z, set1(-3.33332819422e-1f));
  const F32x16 near = fma(x * z, p, x);
  return select_less(magnitude, set1(0.625f), near, select_less(x, zero, zero - far, far));
}

/// max(x, 0) + log1p(exp(-|x|)), log1p(e) = 2 atanh(s) with s = e / (2 + e) <= 1/3.
inline F32x16 softplus(F32x16 x) {
  const F32x16 zero = set1(0.0f);
  const F32x16 e = exp(select_less(zero, x, zero - x, x));
  const F32x16 s = e / (set1(2.0f) + e);
  const F32x16 z = s * s;
  F32x16 p = set1(1.0f / 15);
  p = fma(p, z, set1(1.0f / 13));
  p = fma(p, z, set1(1.0f / 11));
  p = fma(p, z, set1(1.0f / 9));
  p = fma(p, z, set1(1.0f / 7));
  p = fma(p, z, set1(1.0f / 5));
  p = fma(p, z, set1(1.0f / 3));
  p = fma(p, z, set1(1.0f));
  return fma(s + s, p, max(x, zero));
}
