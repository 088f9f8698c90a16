// The step's state and the places of its losses, which all operations of a training step share.
#pragma once
#include "simt.cuh"

struct StepState {                               // field for field: src/plan/state.rs
  double step_size, inv_sqrt_bias2;              // learning rate / (1 - beta1^t)   1 / sqrt(1 - beta2^t)
  double kl_scale;                               // factor of the KL weight
  u64 seed, step;                                // optimizer step, from 1
  u32 minibatch, rollout_step, student, pad;     // row of the starts   from 0   1: conditioned on the last prediction
};

// Places in the buffer of losses (src/ops/recon_loss.rs).
enum Slot { RECON, KL, PERPLEXITY, REGULARIZER, WEIGHT, TOTAL, NONFINITE_STEP, LOSSES = 9 };

// True once a loss was not finite. From then on a step repeats the one that made it, and changes
// nothing that lasts.
DEVICE bool stands_still(const double* losses) { return losses && losses[NONFINITE_STEP] != 0; }

// A layer's activation, which follows its sum (src/cpu/activation.rs).
enum Activation { IDENTITY, ELU, RELU, TANH };

DEVICE float activate(u32 act, float x) {
  if (act == ELU) return x > 0 ? x : expm1f(x);
  if (act == RELU) return x < 0 ? 0 : x;         // a NaN stays one
  if (act == TANH) return tanhf(x);
  return x;
}

// dL/dx from dL/dy and the output y.
DEVICE float pull_back(u32 act, float y, float dy) {
  if (act == ELU) return y > 0 ? dy : dy * (y + 1);
  if (act == RELU) return y > 0 ? dy : 0;
  if (act == TANH) return dy * (1 - y * y);
  return dy;
}

// y[i] = value, of n numbers. With a target, dy[i] is the gradient of the mean squared error to it.
DEVICE void put_output(float* y, float* dy, const float* target, u64 n, u64 i, float value) {
  y[i] = value;
  if (target) dy[i] = float(2.0 / double(n)) * (value - target[i]);
}

// Sets dx[i] to value, or adds value to it. The result becomes the gradient before the activation
// that made x.
DEVICE void put_back(float* dx, const float* x, u64 i, u32 act, u32 add, float value) {
  if (add) value += dx[i];
  dx[i] = act == IDENTITY ? value : pull_back(act, x[i], value);
}
