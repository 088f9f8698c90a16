/* Walks with an exported character. Reads latents (or velocities, or points) from standard input, and writes
 * the places and the rotations of the joints after each frame. With a number of characters as the
 * second argument, it says how long a frame of one of them takes instead. */
#define WALK_IMPLEMENTATION
#include "walk.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined WALK_POINTS
#define GIVEN (2 * WALK_POINTS)
#define ADVANCE walk_to
#elif defined WALK_TOP
#define GIVEN 2
#define ADVANCE walk_toward
#else
#define GIVEN WALK_LATENT
#define ADVANCE walk_wander
#endif

int main(int argc, char **argv) {
  FILE *file = fopen(argv[1], "rb");
  if (!file) return 2;
  size_t most = 64 << 20;
  void *bytes = malloc(most);
  size_t size = fread(bytes, 1, most, file);
  fclose(file);
  walk_model model;
  if (!walk_load(&model, bytes, size - 1) || walk_load(&model, bytes, size)) return 3;
  int count = argc > 2 ? atoi(argv[2]) : 1;
  walk_character *all = (walk_character *)malloc(sizeof(walk_character) * (size_t)count);
  float *given = (float *)calloc((size_t)count * GIVEN, sizeof(float));
  for (int k = 0; k < count; ++k) walk_begin(&model, &all[k], (uint32_t)k);
  if (argc > 2) {
    double best = 1e9;
    for (int round = 0; round < 20; ++round) {
      struct timespec from, to;
      clock_gettime(CLOCK_MONOTONIC, &from);
      for (int frame = 0; frame < 30; ++frame) ADVANCE(&model, all, count, given);
      clock_gettime(CLOCK_MONOTONIC, &to);
      double taken = 1e3 * (double)(to.tv_sec - from.tv_sec) + 1e-6 * (double)(to.tv_nsec - from.tv_nsec);
      if (taken < best) best = taken;
    }
    printf("%.4f\n", best / 30 / count);
  }
  static float places[WALK_JOINTS][3], turns[WALK_JOINTS][4];
  while (argc == 2 && fread(given, sizeof(float), GIVEN, stdin) == GIVEN) {
    ADVANCE(&model, all, 1, given);
    walk_joints(all, places);
    walk_rotations(all, turns);
    fwrite(places, sizeof places, 1, stdout);
    fwrite(turns, sizeof turns, 1, stdout);
  }
  free(given);
  free(all);
  free(bytes);
  return 0;
}
