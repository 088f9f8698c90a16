/* {{about}}
 *
 * A character that walks. Needs the C library and its mathematics (-lm), nothing else: no memory
 * is allocated. Compile with optimisation for your machine (-O3 -march=native).
 *
 *   #define WALK_IMPLEMENTATION      // in one file of yours
 *   #include "{{file}}"
 *
 *   walk_model model;                // `bytes` is the content of {{weights_file}}; it stays in memory
 *   if (walk_load(&model, bytes, size)) return 1;
 *   walk_character one;
 *   walk_begin(&model, &one, 7);     // 7: a seed
 *   for (;;) {                       // WALK_FPS times a second
{{example}}
 *     walk_joints(&one, places);
 *   }
 *
 * The world is right-handed, y up, in metres. Between two steps, a picture shows a mixture of both
 * poses: keep the joints of the last step, and interpolate.
 */
#ifndef WALK_H
#define WALK_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define WALK_FPS {{fps}}
#define WALK_JOINTS {{joints}}
#define WALK_LATENT {{latent}}   /* entries of a latent */
{{asked}}#define WALK_FEATURES {{features}}
#define WALK_CONDITIONS {{conditions}} /* frames that a step sees */
#define WALK_VALUES {{values}}

/* The names of the joints, the parent of each (-1: none), and its place on the parent in the
 * parent's axes, metres. */
extern const char *const walk_names[WALK_JOINTS];
extern const int walk_parents[WALK_JOINTS];
extern const float walk_offsets[WALK_JOINTS][3];

/* Weights in the memory of {{weights_file}}. */
typedef struct {
  const float *numbers;
} walk_model;

/* One character. All of its fields may be copied. */
typedef struct {
  double place[2], facing; /* of the root: x, z (metres); angle about y from +x (radians) */
  uint32_t random;         /* state of the random numbers */
  uint32_t start;          /* pose that it began with */
  float history[WALK_CONDITIONS * WALK_FEATURES]; /* newest frame first */
  float values[WALK_VALUES];
} walk_character;

/* Takes the content of {{weights_file}}, which must begin on a multiple of 4 bytes. Returns 0, or
 * 1 if it is not the file that belongs to this header. */
int walk_load(walk_model *model, const void *bytes, size_t size);
/* Places a character at the origin in a pose that the seed chooses. */
void walk_begin(const walk_model *model, walk_character *one, uint32_t seed);
/* Advances characters by a frame. `latents` holds WALK_LATENT numbers for each; NULL: they are
 * drawn, and the characters wander. */
void walk_wander(const walk_model *model, walk_character *all, int count, const float *latents);
{{toward_declared}}/* Places of the joints in the world, metres. */
void walk_joints(const walk_character *one, float places[WALK_JOINTS][3]);
/* Rotations of the joints in their parents' axes (of the hips: in the world), as quaternions
 * x, y, z, w. */
void walk_rotations(const walk_character *one, float turns[WALK_JOINTS][4]);
#ifdef __cplusplus
}
#endif
#endif

#ifdef WALK_IMPLEMENTATION
#include <math.h>
#include <string.h>

const char *const walk_names[WALK_JOINTS] = { {{names}} };
const int walk_parents[WALK_JOINTS] = { {{parents}} };
const float walk_offsets[WALK_JOINTS][3] = {
{{offsets}}
};

#define WALK_METRES {{metres}} /* in a foot, the unit of the numbers */
#define WALK_HEAD {{head}} /* bytes before them in the file */
#define WALK_STARTS {{starts}} /* poses to start from */
#define WALK_COUNT {{count}}   /* numbers in {{weights_file}} */
#define WALK_CHECK {{check}}u  /* their checksum */
#define WALK_LAYERS {{layers}}
#define WALK_POLICY {{policy}} /* layers of the policy, which come first */
#define WALK_MOST_INPUTS {{most_inputs}}

enum { WALK_SAME, WALK_ELU, WALK_RELU, WALK_ACTION, WALK_SOFTMAX, WALK_LARGEST };

/* y = act(sum over experts of gate_e (x W_e + b_e)). All places count numbers: of a character's
 * values, of the model's numbers. The first input is 1, and its weights are the bias. Sizes are
 * padded with zeros: inputs to 4, outputs to 16. */
typedef struct {
  int act, experts, gate, weights, into, outputs, width, count;
  struct { int at, size; } inputs[WALK_MOST_INPUTS];
} walk_layer;

static const walk_layer walk_layers[WALK_LAYERS] = {
{{table}}
};
{{places}}

/* y += f W, for four rows of W. */
static void walk_rows(float *__restrict y, const float *__restrict w, const float *f, int width) {
  const float a = f[0], b = f[1], c = f[2], d = f[3];
  const float *__restrict w1 = w + width, *__restrict w2 = w1 + width, *__restrict w3 = w2 + width;
  for (int o = 0; o < width; ++o) y[o] += a * w[o] + b * w1[o] + c * w2[o] + d * w3[o];
}

static int walk_largest(const float *y, int count) {
  int best = 0;
  for (int i = 1; i < count; ++i) if (y[i] > y[best]) best = i;
  return best;
}

static void walk_activate(float *y, int count, int act) {
  const int best = walk_largest(y, count);
  const float most = y[best];
  float sum = 0;
  for (int i = 0; i < count; ++i)
    switch (act) {
      case WALK_ELU: y[i] = y[i] > 0 ? y[i] : expm1f(y[i]); break;
      case WALK_RELU: y[i] = y[i] > 0 ? y[i] : 0; break;
      case WALK_ACTION: y[i] = 4 * tanhf(y[i]); break;
      case WALK_SOFTMAX: sum += y[i] = expf(y[i] - most); break;
      case WALK_LARGEST: y[i] = i == best; break;
      default: break;
    }
  if (act == WALK_SOFTMAX) for (int i = 0; i < count; ++i) y[i] /= sum;
}

/* All characters use four rows of weights before the next four are read: of many characters, one
 * waits for memory. */
static void walk_run(const walk_model *model, const walk_layer *l, walk_character *all, int count) {
  const float *w = model->numbers + l->weights;
  for (int k = 0; k < count; ++k) memset(all[k].values + l->into, 0, sizeof(float) * (size_t)l->width);
  for (int e = 0; e < l->experts; ++e)
    for (int s = 0; s < l->count; ++s)
      for (int i = 0; i < l->inputs[s].size; i += 4, w += 4 * l->width)
        for (int k = 0; k < count; ++k) {
          float *v = all[k].values, gate = l->gate < 0 ? 1 : v[l->gate + e];
          const float *x = v + l->inputs[s].at + i, f[4] = { gate * x[0], gate * x[1], gate * x[2], gate * x[3] };
          if (gate != 0) walk_rows(v + l->into, w, f, l->width);
        }
  for (int k = 0; k < count; ++k) walk_activate(all[k].values + l->into, l->outputs, l->act);
}

static void walk_place(const walk_model *model, walk_character *one) {
  size_t size = sizeof one->history;
  memcpy(one->history, model->numbers + WALK_AT_STARTS + (one->start % WALK_STARTS) * (size / sizeof(float)), size);
}

/* Joint positions follow the predicted velocities by a share (docs/math.md of mvae-fast), then the
 * root moves. */
static void walk_move(const walk_model *model, walk_character *one, const float *predicted) {
  const float *scale = model->numbers + WALK_AT_SCALE, *shift = model->numbers + WALK_AT_SHIFT;
  const float *share = model->numbers + WALK_AT_SHARE, *before = one->history;
  float frame[WALK_FEATURES];
  for (int i = 0; i < WALK_FEATURES; ++i) frame[i] = predicted[i] * scale[i] + shift[i];
  const float s = sinf(frame[2]), c = cosf(frame[2]);
  int lost = 0;
  for (int j = 0; j < 3 * WALK_JOINTS; j += 3) {
    const float x = before[3 + j] - frame[0], z = before[5 + j] - frame[1];
    const float seen[3] = { c * x - s * z, before[4 + j], s * x + c * z };
    for (int i = j; i < j + 3; ++i) {
      const float moved = seen[i - j] + frame[3 + 3 * WALK_JOINTS + i];
      frame[3 + i] = share[i] * frame[3 + i] + (1 - share[i]) * moved;
      lost |= !(fabsf(frame[3 + i]) < WALK_LOST);
    }
  }
  const double sine = sin(one->facing), cosine = cos(one->facing);
  if (!lost) {
    one->place[0] += WALK_METRES * (cosine * frame[0] + sine * frame[1]);
    one->place[1] += WALK_METRES * (cosine * frame[1] - sine * frame[0]);
    one->facing = fmod(one->facing + frame[2] + 6.283185307179586, 6.283185307179586);
  }
  memmove(one->history + WALK_FEATURES, one->history, sizeof one->history - sizeof frame);
  memcpy(one->history, frame, sizeof frame);
  if (lost) walk_place(model, one); /* it is no body any more */
}

static void walk_advance(const walk_model *model, walk_character *all, int count, int first) {
  const float *scale = model->numbers + WALK_AT_SCALE, *shift = model->numbers + WALK_AT_SHIFT;
  for (int k = 0; k < count; ++k)
    for (int i = 0; i < WALK_CONDITIONS * WALK_FEATURES; ++i)
      all[k].values[WALK_AT_CONDITION + i] = (all[k].history[i] - shift[i % WALK_FEATURES]) / scale[i % WALK_FEATURES];
  for (int l = first; l < WALK_LAYERS; ++l) walk_run(model, &walk_layers[l], all, count);
  for (int k = 0; k < count; ++k)
    for (int frame = 0; frame < {{frames}}; ++frame)
      walk_move(model, &all[k], all[k].values + WALK_AT_PREDICTION + frame * WALK_FEATURES);
}

int walk_load(walk_model *model, const void *bytes, size_t size) {
  uint32_t check;
  if (size != WALK_HEAD + sizeof(float) * WALK_COUNT) return 1;
  memcpy(&check, bytes, sizeof check);
  model->numbers = (const float *)bytes + WALK_HEAD / sizeof(float);
  return check != WALK_CHECK;
}

void walk_begin(const walk_model *model, walk_character *one, uint32_t seed) {
  memset(one, 0, sizeof *one);
  one->values[0] = 1;
  one->random = one->start = seed;
  walk_place(model, one);
}

/* A number from 0 to 1, neither included. */
static float walk_uniform(uint32_t *state) {
  uint32_t t = *state += 0x6D2B79F5u;
  t = (t ^ t >> 15) * (t | 1);
  t ^= t + (t ^ t >> 7) * (t | 61);
  return ((float)((t ^ t >> 14) >> 8) + 0.5f) / 16777216.0f;
}

void walk_wander(const walk_model *model, walk_character *all, int count, const float *latents) {
  for (int k = 0; k < count; ++k)
    for (int i = 0; i < WALK_LATENT; ++i) {
      float *z = all[k].values + WALK_AT_LATENT + i;
      if (latents) { *z = latents[k * WALK_LATENT + i]; continue; }
      const float length = sqrtf(-2 * logf(walk_uniform(&all[k].random)));
      *z = length * cosf(6.2831853f * walk_uniform(&all[k].random));
    }
  walk_advance(model, all, count, WALK_POLICY);
}
{{toward_defined}}
void walk_joints(const walk_character *one, float places[WALK_JOINTS][3]) {
  const double s = sin(one->facing), c = cos(one->facing);
  for (int j = 0; j < WALK_JOINTS; ++j) {
    const float *at = one->history + 3 + 3 * j;
    places[j][0] = (float)(one->place[0] + WALK_METRES * (c * at[0] + s * at[2]));
    places[j][1] = (float)WALK_METRES * at[1];
    places[j][2] = (float)(one->place[1] + WALK_METRES * (c * at[2] - s * at[0]));
  }
}

static void walk_unit(float v[3]) {
  const float length = sqrtf(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
  for (int i = 0; i < 3; ++i) v[i] /= length > 0 ? length : 1;
}

/* The axes of a joint, made orthonormal: Z is kept. Joint -1 stands for the world. */
static void walk_axes(const walk_character *one, int joint, float axes[3][3]) {
  float *x = axes[0], *y = axes[1], *z = axes[2];
  if (joint < 0) {
    const float s = (float)sin(one->facing), c = (float)cos(one->facing);
    const float world[3][3] = { { c, 0, s }, { 0, 1, 0 }, { -s, 0, c } };
    memcpy(axes, world, sizeof world);
    return;
  }
  memcpy(y, one->history + 3 + 6 * WALK_JOINTS + 3 * joint, 3 * sizeof *y);
  memcpy(z, one->history + 3 + 9 * WALK_JOINTS + 3 * joint, 3 * sizeof *z);
  walk_unit(z);
  const float along = y[0] * z[0] + y[1] * z[1] + y[2] * z[2];
  for (int i = 0; i < 3; ++i) y[i] -= along * z[i];
  walk_unit(y);
  for (int i = 0; i < 3; ++i) x[i] = y[(i + 1) % 3] * z[(i + 2) % 3] - y[(i + 2) % 3] * z[(i + 1) % 3];
}

void walk_rotations(const walk_character *one, float turns[WALK_JOINTS][4]) {
  for (int j = 0; j < WALK_JOINTS; ++j) {
    float own[3][3], parent[3][3], m[3][3]; /* m: the joint's axes in those of its parent */
    walk_axes(one, j, own);
    walk_axes(one, walk_parents[j], parent);
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b)
        m[a][b] = own[a][0] * parent[b][0] + own[a][1] * parent[b][1] + own[a][2] * parent[b][2];
    const float rows[4][4] = { /* each is 4 q_i q: the largest is the most exact */
      { 1 + m[0][0] - m[1][1] - m[2][2], m[0][1] + m[1][0], m[2][0] + m[0][2], m[1][2] - m[2][1] },
      { m[0][1] + m[1][0], 1 - m[0][0] + m[1][1] - m[2][2], m[1][2] + m[2][1], m[2][0] - m[0][2] },
      { m[2][0] + m[0][2], m[1][2] + m[2][1], 1 - m[0][0] - m[1][1] + m[2][2], m[0][1] - m[1][0] },
      { m[1][2] - m[2][1], m[2][0] - m[0][2], m[0][1] - m[1][0], 1 + m[0][0] + m[1][1] + m[2][2] } };
    int best = 0;
    for (int i = 1; i < 4; ++i) if (rows[i][i] > rows[best][best]) best = i;
    const float length = 2 * sqrtf(rows[best][best]);
    for (int i = 0; i < 4; ++i) turns[j][i] = rows[best][i] / length;
  }
}
#endif
