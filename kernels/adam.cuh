// One step of Adam for one parameter (Kingma and Ba, 2015).
//     m = beta1 m + (1 - beta1) g     v = beta2 v + (1 - beta2) g^2
//     param -= step_size m / (sqrt(v) inv_sqrt_bias2 + eps)
#pragma once
#include "state.cuh"

// The coefficients of a step, from an argument struct with `state`, `beta1`, `beta2` and `eps`.
struct AdamStep {
  float beta1, beta2, rest1, rest2, size, scale, eps;
  template <class Args>
  DEVICE_MEMBER explicit AdamStep(const Args& a)
      : beta1(float(a.beta1)), beta2(float(a.beta2)), rest1(float(1.0 - a.beta1)), rest2(float(1.0 - a.beta2)),
        size(float(a.state->step_size)), scale(float(a.state->inv_sqrt_bias2)), eps(float(a.eps)) {}
  DEVICE_MEMBER void operator()(float g, float& param, float& m, float& v) const {
    m = beta1 * m + rest1 * g, v = beta2 * v + rest2 * (g * g);
    param = param - size * m * quick_inverse(quick_root(v) * scale + eps);
  }
};
