// Adds the current step to the epoch's sums, in double precision: the losses, then
//     the gradient's norm sqrt(sum squares)        the gate's entropy -sum_be gate ln gate / B
//     of each latent dimension:  kl[l]  sum_b mu[b,l]  sum_b mu[b,l]^2  sum_b sigma[b,l]^2
//     sum_b gate[b,e]     of each expert, or the samples of each code
// There is one block. Its threads share the entropy, which sums over all numbers; each other entry
// is one thread's. The gradient's norm has a kernel of its own, as it is known last.
#pragma once
#include "reduce.cuh"
#include "state.cuh"

struct EpochSums {                // field for field: src/ops/epoch_sums.rs; absent tensors are null
  const double *losses, *kl;      // [LOSSES]   [L]
  const float *mu, *sigma, *gate; // [B, L]   [B, L]   [B, E]
  const u32* code;                // [B]
  const double* squares;          // [chunks]
  double* sums;                   // [LOSSES + 2 + 4 L + E] updated
  u32 b, l, e, chunks;
};
struct EpochSumsShared {
  double parts[WARPS];
};

DEVICE void epoch_sums(Where at, const EpochSums& a, EpochSumsShared& shared) {
  if (at.block > 0) return;
  double entropy = 0;
  for (u64 j = at.thread; a.gate && j < u64(a.b) * a.e; j += at.threads) {
    const double g = a.gate[j];
    entropy -= g * log(fmax(g, 2.2250738585072014e-308));
  }
  entropy = block_sum(at, entropy, shared.parts);
  const u32 scalars = LOSSES + 2, latents = scalars + 4 * a.l, entries = latents + a.e;
  for (u32 i = at.thread; i < entries; i += at.threads) {
    double add = 0;
    if (i < LOSSES) {
      add = a.losses[i];
    } else if (i == LOSSES) {
      continue;  // the norm: grad_norm
    } else if (i == LOSSES + 1) {
      add = entropy / a.b;
    } else if (i < latents) {
      const u32 l = (i - scalars) % a.l, what = (i - scalars) / a.l;
      const float* from = what == 3 ? a.sigma : a.mu;
      if (what == 0) {
        add = a.kl ? a.kl[l] : 0;
      } else {
        for (u32 b = 0; from && b < a.b; ++b) {
          const double x = from[u64(b) * a.l + l];
          add += what == 1 ? x : x * x;
        }
      }
    } else {
      const u32 expert = i - latents;
      for (u32 b = 0; a.gate && b < a.b; ++b) add += a.gate[u64(b) * a.e + expert];
      for (u32 b = 0; a.code && b < a.b; ++b) add += a.code[b] == expert;
    }
    a.sums[i] += add;
  }
}
KERNEL(epoch_sums, EpochSums, EpochSumsShared, 256)

DEVICE void grad_norm(Where at, const EpochSums& a, EpochSumsShared& shared) {
  if (at.block > 0) return;
  double squares = 0;
  for (u32 j = at.thread; j < a.chunks; j += at.threads) squares += a.squares[j];
  squares = block_sum(at, squares, shared.parts);
  if (at.thread == 0) a.sums[LOSSES] += sqrt(squares);
}
KERNEL(grad_norm, EpochSums, EpochSumsShared, 256)
