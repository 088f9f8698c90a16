// The density of a diagonal Gaussian policy.
#pragma once
#include "simt.cuh"

// log N(action; mean, exp(logstd)^2), summed over the entries.
DEVICE float log_density(u32 entries, const float* action, const float* mean, const float* logstd) {
  const float normalizer = 0.91893853320467274f;  // log(2 pi) / 2
  float sum = 0;
  for (u32 i = 0; i < entries; ++i) {
    const float off = (action[i] - mean[i]) / expf(logstd[i]);
    sum += -0.5f * off * off - logstd[i] - normalizer;
  }
  return sum;
}
