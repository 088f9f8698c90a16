// The latent and its KL to N(0, I), nats.
//     sigma = exp(logvar / 2)     z = mu + eps sigma
//     kl[l] = -1/2 mean_b (1 + logvar - mu^2 - sigma^2)         losses[KL] = max(0, mean_l kl[l])
//     losses[REGULARIZER] = mean_l max(kl[l], free_bits), or losses[KL] when free_bits is 0
//     dmu = dz + weight mu / (B L)     dlogvar = dz eps sigma / 2 + weight (sigma^2 - 1) / (2 B L)
// where dz is the sum of `dz` and the further parts. weight is losses[WEIGHT], or 0 where the KL is
// clamped or costs nothing.
//
// The work has a share for each sample, and one more for the KL; a share is one block's. The sums
// of the KL run in double precision, and a latent dimension is one warp's.
#pragma once
#include "reduce.cuh"
#include "state.cuh"

struct Reparameterize {                    // field for field: src/ops/reparameterize.rs
  const float *mu, *logvar, *eps, *dz;     // [B, L]
  const float* parts;                      // [P, B, L] or absent
  float *z, *sigma;                        // [B, L]
  double *kl, *losses;                     // [L]   [LOSSES] KL and REGULARIZER are written
  float *dmu, *dlogvar;                    // [B, L] overwritten
  double free_bits;
  u32 b, l, p, pad;
};

struct ReparameterizeShared {
  double parts[WARPS];
};

DEVICE void reparameterize_kl(Where at, const Reparameterize& a, ReparameterizeShared& shared) {
  double mean = 0, costs = 0;
  for (u32 l = at.thread / 32; l < a.l; l += at.threads / 32) {
    double kl = 0;
    for (u32 b = at.thread % 32; b < a.b; b += 32) {
      const u64 i = u64(b) * a.l + l;
      const float mu = a.mu[i], logvar = a.logvar[i], sigma = expf(0.5f * logvar);
      kl -= 0.5 * (1.0 + logvar - double(mu) * mu - double(sigma) * sigma);
    }
    kl = warp_sum(kl) / a.b;
    if (at.thread % 32 == 0) {
      a.kl[l] = kl;
      mean += kl;
      costs += kl < a.free_bits ? a.free_bits : kl;  // a NaN stays one
    }
  }
  mean = block_sum(at, mean, shared.parts);
  costs = block_sum(at, costs, shared.parts);
  if (at.thread == 0) {
    mean = mean < 0 ? 0 : mean / a.l;
    a.losses[KL] = mean;
    a.losses[REGULARIZER] = a.free_bits > 0 ? costs / a.l : mean;
  }
}

DEVICE void reparameterize_forward(Where at, const Reparameterize& a, ReparameterizeShared& shared) {
  for (u32 share = at.block; share <= a.b; share += at.blocks) {
    if (share == a.b) reparameterize_kl(at, a, shared);
    for (u32 l = at.thread; share < a.b && l < a.l; l += at.threads) {
      const u64 i = u64(share) * a.l + l;
      const float sigma = expf(0.5f * a.logvar[i]);
      a.sigma[i] = sigma;
      a.z[i] = a.mu[i] + a.eps[i] * sigma;
    }
  }
}
KERNEL(reparameterize_forward, Reparameterize, ReparameterizeShared, 256)

DEVICE void reparameterize_backward(Where at, const Reparameterize& a, NoShared&) {
  const double n = double(u64(a.b) * a.l);
  double sum = 0;
  for (u32 l = 0; l < a.l; ++l) sum += a.kl[l];
  for (u32 b = at.block; b < a.b; b += at.blocks) {
    for (u32 l = at.thread; l < a.l; l += at.threads) {
      const u64 i = u64(b) * a.l + l;
      const bool costs = a.free_bits > 0 ? a.kl[l] > a.free_bits : sum >= 0;
      const float weight = costs ? float(a.losses[WEIGHT] / n) : 0.0f;
      const float sigma = a.sigma[i];
      float dz = a.dz[i];
      for (u32 part = 0; part < a.p; ++part) dz += a.parts[part * u64(a.b) * a.l + i];
      a.dmu[i] = dz + weight * a.mu[i];
      a.dlogvar[i] = 0.5f * (dz * a.eps[i] * sigma + weight * (sigma * sigma - 1));
    }
  }
}
KERNEL(reparameterize_backward, Reparameterize, NoShared, 256)
