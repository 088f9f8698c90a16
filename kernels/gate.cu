// The gate of the mixture decoder: two ELU layers on [z | c] and a softmax. One block takes a
// sample from end to end.
//     h1[b,i] = elu(sum_k w1[i,k] z[b,k] + h0[b,i]), h0 = [0|c] w1 + bias1, by a product before
//     h2[b,i] = elu(sum_k w2[i,k] h1[b,k] + bias2[i])
//     gate[b] = softmax(logits[b]), logits[b,e] = sum_k w3[e,k] h2[b,k] + bias3[e]
//     dlogits[b,e] = gate[b,e] (dgate[b,e] - sum_k gate[b,k] dgate[b,k])
//     dh2 = dlogits w3 and dh1 = dh2 w2, each before its activation; dz = dh1 w1, its columns of z
#pragma once
#include "product.cuh"
#include "reduce.cuh"
#include "state.cuh"

struct Gate {                                   // field for field: src/ops/gate.rs
  const float *z, *c, *h0;                      // [B, L]   [B, C]   [B, G] or absent
  const float *w1, *bias1, *w2, *bias2;         // [G, L + C]   [G]   [G, G]   [G]
  const float *w3, *bias3, *dgate;              // [E, G]   [E]   [P, B, E] parts whose sum is the gradient
  float *h1, *h2, *logits, *gate;               // [B, G]   [B, G]   [B, E]   [B, E]
  float *dlogits, *dh2, *dh1, *dz;              // [B, E]   [B, G]   [B, G]   [B, L] or absent
  u32 b, l, cc, g, e, add_dz, p, pad;
};
struct GateShared {
  float parts[32 * WARPS];
};

// A layer of one sample. One lane calls done(o, sum) with the sum over i < inputs of x(i) w[o,i];
// rows of w are `stride` apart. A warp computes four outputs at a time.
template <class X, class Done>
DEVICE void gate_layer(Where at, u32 inputs, u32 outputs, X x, const float* w, u32 stride, Done done) {
  const u32 lane = at.thread % 32;
  for (u32 first = at.thread / 32 * 4; first < outputs; first += at.threads / 32 * 4) {
    float sums[4] = {0, 0, 0, 0};
    for (u32 i = lane; i < inputs; i += 32) {
      const float value = x(i);
      UNROLL for (u32 p = 0; p < 4; ++p)
        if (first + p < outputs) sums[p] += value * w[u64(first + p) * stride + i];
    }
    UNROLL for (u32 p = 0; p < 4; ++p) {
      const float sum = warp_sum(sums[p]);
      if (lane == 0 && first + p < outputs) done(first + p, sum);
    }
  }
  block_sync();  // all threads see what done wrote
}

// The backward pass of a layer of one sample. For each i < columns of the layer's inputs, one
// thread calls done(i, sum) with the sum over o < outputs of dy[o] w[o,i].
template <class Done>
DEVICE void gate_layer_back(Where at, u32 inputs, u32 columns, u32 outputs, const float* dy, const float* w,
                            GateShared& shared, Done done) {
  const u32 lane = at.thread % 32, warp = at.thread / 32, warps = at.threads / 32;
  for (u32 first = 0; first < columns; first += 32) {
    const u32 i = first + lane;
    float sum = 0;
    for (u32 o = warp; i < columns && o < outputs; o += warps) sum += dy[o] * w[u64(o) * inputs + i];
    shared.parts[at.thread] = sum;
    block_sync();  // parts are written
    if (warp == 0 && i < columns) {
      for (u32 k = 1; k < warps; ++k) sum += shared.parts[32 * k + lane];
      done(i, sum);
    }
    block_sync();  // parts are read, and all threads see what done wrote
  }
}

DEVICE void gate_forward(Where at, const Gate& a, NoShared&) {
  for (u32 b = at.block; b < a.b; b += at.blocks) {
    const float* z = a.z + u64(b) * a.l;
    float *h1 = a.h1 + u64(b) * a.g, *h2 = a.h2 + u64(b) * a.g, *logits = a.logits + u64(b) * a.e;
    gate_layer(
        at, a.l, a.g, [&](u32 i) { return z[i]; }, a.w1, a.l + a.cc,
        [&](u32 o, float sum) { h1[o] = activate(ELU, sum + (a.h0 ? a.h0[u64(b) * a.g + o] : a.bias1[o])); });
    gate_layer(
        at, a.g, a.g, [&](u32 i) { return h1[i]; }, a.w2, a.g,
        [&](u32 o, float sum) { h2[o] = activate(ELU, sum + a.bias2[o]); });
    gate_layer(
        at, a.g, a.e, [&](u32 i) { return h2[i]; }, a.w3, a.g, [&](u32 o, float sum) { logits[o] = sum + a.bias3[o]; });
    for (u32 e = at.thread; e < a.e; e += at.threads) {
      float top = logits[0], sum = 0;
      for (u32 i = 1; i < a.e; ++i) top = fmaxf(top, logits[i]);
      for (u32 i = 0; i < a.e; ++i) sum += expf(logits[i] - top);
      a.gate[u64(b) * a.e + e] = expf(logits[e] - top) / sum;
    }
  }
}
KERNEL(gate_forward, Gate, NoShared, 256)

DEVICE void gate_backward(Where at, const Gate& a, GateShared& shared) {
  for (u32 b = at.block; b < a.b; b += at.blocks) {
    const float* gate = a.gate + u64(b) * a.e;
    auto dgate = [&](u32 e) {
      float sum = 0;
      for (u32 part = 0; part < a.p; ++part) sum += a.dgate[(u64(part) * a.b + b) * a.e + e];
      return sum;
    };
    float *dlogits = a.dlogits + u64(b) * a.e, *dh2 = a.dh2 + u64(b) * a.g, *dh1 = a.dh1 + u64(b) * a.g;
    for (u32 e = at.thread; e < a.e; e += at.threads) {
      float mean = 0;
      for (u32 i = 0; i < a.e; ++i) mean += gate[i] * dgate(i);
      dlogits[e] = gate[e] * (dgate(e) - mean);
    }
    block_sync();  // dlogits are there
    gate_layer_back(at, a.g, a.g, a.e, dlogits, a.w3, shared,
                    [&](u32 i, float sum) { dh2[i] = pull_back(ELU, a.h2[u64(b) * a.g + i], sum); });
    gate_layer_back(at, a.g, a.g, a.g, dh2, a.w2, shared,
                    [&](u32 i, float sum) { dh1[i] = pull_back(ELU, a.h1[u64(b) * a.g + i], sum); });
    if (a.dz)
      gate_layer_back(at, a.l + a.cc, a.l, a.g, dh1, a.w1, shared,
                      [&](u32 i, float sum) { put(&a.dz[u64(b) * a.l + i], a.add_dz, sum); });
  }
}
KERNEL(gate_backward, Gate, GateShared, 256)
