// Vector quantiser: the latent is the nearest code. Codes follow the encoder by exponential moving
// averages, and the decoder's gradient passes straight to the encoder. N codes, the columns of
// embed.
//     code[b] = the first k with the least sum_i embed[i,k]^2 - 2 v[b,i] embed[i,k]
//     z[b,i]  = embed[i,code[b]]
//     losses[KL] = losses[REGULARIZER] = mean (z - v)^2
//     losses[PERPLEXITY] = exp(-sum_k u_k log(u_k + 1e-10)), u = count / B
//     dv      = dz + 2 weight (v - z) / (B L)
//     update: cluster_size, embed_avg decay towards this batch's counts and sums;
//             embed = embed_avg / smoothed cluster_size
// Sums over the batch run in the order of the samples, in one block.
#pragma once
#include "reduce.cuh"
#include "state.cuh"

struct Quantize {                             // field for field: src/ops/quantize.rs
  const float *v, *dz, *action;               // [B, L]   [B, L]   [B, N]
  float *embed, *cluster_size, *embed_avg;    // [L, N]   [N]   [L, N]
  float* z;                                   // [B, L]
  u32* code;                                  // [B]
  float* count;                               // [N]
  double* losses;                             // [LOSSES]
  float* dv;                                  // [B, L] overwritten
  u32 b, l, n, pad;
};
struct QuantizeShared {
  double parts[WARPS];
};

DEVICE void quantize_forward(Where at, const Quantize& a, QuantizeShared& shared) {
  if (at.block > 0) return;
  for (u32 b = at.thread / 32; b < a.b; b += at.threads / 32) {  // a sample is one warp's
    float least = INFINITY;
    u32 best = 0xffffffffu;  // of this lane's codes
    for (u32 k = at.thread % 32; k < a.n; k += 32) {
      float distance = 0;
      for (u32 i = 0; i < a.l; ++i) {
        const float c = a.embed[u64(i) * a.n + k], x = a.v[u64(b) * a.l + i];
        distance += c * c - (x + x) * c;
      }
      if (distance < least) least = distance, best = k;
    }
    for (u32 offset = 16; offset > 0; offset /= 2) {
      const float other = warp_down(least, offset);
      const u32 k = warp_down(best, offset);
      if (other < least || (other == least && k < best)) least = other, best = k;
    }
    if (at.thread % 32 == 0) a.code[b] = best < a.n ? best : 0;  // 0 if no distance is a finite number
  }
  block_sync();  // codes are written
  for (u32 k = at.thread; k < a.n; k += at.threads) {
    float count = 0;
    for (u32 b = 0; b < a.b; ++b) count += a.code[b] == k;
    a.count[k] = count;
  }
  double loss = 0;
  for (u32 i = at.thread; i < a.b * a.l; i += at.threads) {
    const float z = a.embed[u64(i % a.l) * a.n + a.code[i / a.l]], off = z - a.v[i];
    a.z[i] = z;
    loss += double(off) * off;
  }
  loss = block_sum(at, loss, shared.parts);  // counts are written, too
  if (at.thread == 0) {
    double entropy = 0;
    for (u32 k = 0; k < a.n; ++k) {
      const double use = double(a.count[k]) / a.b;
      entropy -= use * log(use + 1e-10);
    }
    a.losses[KL] = a.losses[REGULARIZER] = loss / (double(a.b) * a.l);
    a.losses[PERPLEXITY] = exp(entropy);
  }
}
KERNEL(quantize_forward, Quantize, QuantizeShared, 1024)

// z = the code of the action's largest entry, the first one on a tie. A sample is one thread's.
DEVICE void quantize_choose(Where at, const Quantize& a, NoShared&) {
  for (u32 b = at.block * at.threads + at.thread; b < a.b; b += at.blocks * at.threads) {
    u32 best = 0;
    for (u32 k = 1; k < a.n; ++k)
      if (a.action[u64(b) * a.n + k] > a.action[u64(b) * a.n + best]) best = k;
    a.code[b] = best;
    for (u32 i = 0; i < a.l; ++i) a.z[u64(b) * a.l + i] = a.embed[u64(i) * a.n + best];
  }
}
KERNEL(quantize_choose, Quantize, NoShared, 64)

DEVICE void quantize_update(Where at, const Quantize& a, NoShared&) {
  if (at.block > 0 || stands_still(a.losses)) return;
  const float decay = float(0.99), rest = float(1.0 - 0.99), smoothing = float(1e-5);
  for (u32 k = at.thread; k < a.n; k += at.threads) a.cluster_size[k] = decay * a.cluster_size[k] + rest * a.count[k];
  block_sync();  // cluster sizes are new
  float all = 0;
  for (u32 k = 0; k < a.n; ++k) all += a.cluster_size[k];
  for (u32 i = at.thread; i < a.l * a.n; i += at.threads) {
    const u32 l = i / a.n, k = i % a.n;
    float sum = a.embed_avg[i] * decay;
    for (u32 b = 0; b < a.b; ++b)
      if (a.code[b] == k) sum += rest * a.v[u64(b) * a.l + l];
    a.embed_avg[i] = sum;
    a.embed[i] = sum / ((a.cluster_size[k] + smoothing) / (all + float(a.n) * smoothing) * all);
  }
}
KERNEL(quantize_update, Quantize, NoShared, 1024)

DEVICE void quantize_backward(Where at, const Quantize& a, NoShared&) {
  const u64 n = u64(a.b) * a.l;
  const float scale = float(2.0 * a.losses[WEIGHT] / double(n));
  for (u64 i = u64(at.block) * at.threads + at.thread; i < n; i += u64(at.blocks) * at.threads)
    a.dv[i] = a.dz[i] + scale * (a.v[i] - a.z[i]);
}
KERNEL(quantize_backward, Quantize, NoShared, 256)
