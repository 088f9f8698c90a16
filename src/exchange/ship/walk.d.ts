/** {{about}} */

/** The skeleton: names and parents (null: none) of the joints. */
export interface Skeleton {
  names: string[];
  parents: (number | null)[];
  /** Place of each joint on its parent, in the parent's axes, metres. */
  offsets: [number, number, number][];
  /** Joints of the left and the right toe. */
  toes: [number, number];
  /** Heights of the toes when they stand, metres. */
  toe_floors: [number, number];
  /** Usual height of the hips, metres. */
  hip_height: number;
}

/** One character. The world is right-handed, y up, in metres. */
export interface Character {
  /** x and z of the root. */
  place: [number, number];
  /** Angle of the root about y from +x, radians. */
  facing: number;
  /** Places it at the origin in a pose that the seed chooses. */
  begin(seed: number): void;
  /** Places of the joints in the world: x, y, z of each. */
  joints(out?: Float32Array): Float32Array;
  /** Rotations of the joints in their parents' axes (of the hips: in the world): quaternions x, y, z, w. */
  rotations(out?: Float32Array): Float32Array;
}

export interface Model {
  /** Steps a second. Between two steps, a picture shows a mixture of both poses. */
  fps: number;
  /** Entries of a latent. */
  latent: number;
  skeleton: Skeleton;
  /**
   * The policy obeys velocities up to `top` metres a second, or walks to `points` points, each
   * `apart` seconds of the way after the one before. null: there is no policy.
   */
  command: { top: number } | { points: number; apart: number } | null;
  /** "WebAssembly" or "JavaScript". */
  engine: string;
  character(seed?: number): Character;
  /** Advances characters by a step, with `latent` numbers for each; without: they wander. */
  wander(characters: Character[], latents?: ArrayLike<number>): void;
  /** Advances characters by a step towards velocities (x, z; metres a second), two numbers for each. */
  toward(characters: Character[], velocities: ArrayLike<number>): void;
  /** Advances characters by a step on their way to points (x, z; metres), `command.points` for each. */
  to(characters: Character[], points: ArrayLike<number>): void;
}

/** Opens the model. `wasm: false` computes in JavaScript. */
export function open(options?: { wasm?: boolean }): Promise<Model>;
