// Counter-based random numbers: Philox4x32-10 of Salmon et al., SC 2011; the same bits as
// src/philox.rs.
#pragma once
#include "simt.cuh"

struct Four {
  u32 x[4];
};

DEVICE Four philox4x32(Four c, u32 k0, u32 k1) {
  for (int round = 0; round < 10; ++round) {
    u64 p0 = 0xD2511F53ull * c.x[0], p1 = 0xCD9E8D57ull * c.x[2];
    c = Four{{u32(p1 >> 32) ^ c.x[1] ^ k0, u32(p1), u32(p0 >> 32) ^ c.x[3] ^ k1, u32(p0)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// Numbers 4 block .. 4 block + 4 of the stream (seed, purpose, step).
DEVICE Four random_bits(u64 seed, u32 purpose, u64 step, u32 block) {
  return philox4x32(Four{{block, u32(step), u32(step >> 32), purpose}}, u32(seed), u32(seed >> 32));
}

// Two standard normal numbers from 64 random bits (Box and Muller); the radius' uniform number is
// in (0, 1].
DEVICE void box_muller(u32 a, u32 b, float* first, float* second) {
  const float unit = 1.0f / 4294967296.0f;
  float radius = sqrtf(-2.0f * logf(fminf((float(a) + 1.0f) * unit, 1.0f)));
  float angle = float(b) * (6.283185307179586f * unit);
  *first = radius * cosf(angle);
  *second = radius * sinf(angle);
}

// A uniform number in [0, 1) of 24 random bits, which a float holds exactly.
DEVICE float unit(u32 bits) { return float(bits >> 8) * (1.0f / 16777216.0f); }
