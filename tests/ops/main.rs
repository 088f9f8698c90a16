//! Tests of operations, their gradients, and the primitives that a CPU computes them with.
mod adam;
mod blend_linear;
mod costs;
mod epoch_sums;
mod gate;
mod gaussian_action;
mod gemm;
mod horizon;
mod kl_weight;
mod linear;
mod log_length;
mod model_gradients;
mod noise;
mod plan;
mod policy_gradients;
mod ppo_loss;
mod quantize;
mod recon_loss;
mod reconcile;
mod reparameterize;
mod rescale;
mod shac;
mod softmax;
mod specialist_loss;
mod tape;
mod team;
mod update;
mod vector;
mod window;
mod world;

#[path = "../shared/operations.rs"]
mod operations;
