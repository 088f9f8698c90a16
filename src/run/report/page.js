// The content of the page; report.rs and run/player write every field of `data` and `motion`.
const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
if (data.curves) {
  // Curves of a record that brings its own titles and labels.
  at("phases").hidden = at("latent-part").hidden = at("gate-part").hidden = true;
  data.curves.filter(() => data.epoch.length > 0).forEach(curve => curves(at("curves"), curve));
} else if (data.epoch.length > 0) {
  const latents = data.posterior_mean.length, experts = data.expert_usage.length;
  const codebook = data.perplexity.some(x => x > 0);
  curves(at("curves"), {
    title: "Reconstruction", label: "mean squared error, 10 at most", log: true, wide: true,
    series: [["training (weighted)", data.recon_loss], ["held out, one step", data.one_step_error],
      ["held out, frame 30 of rollouts", data.rollout_30_error], ["held out, frame 300 of rollouts", data.rollout_300_error]],
  });
  curves(at("curves"), codebook
    ? { title: "Codebook loss", label: "mean squared distance", log: true, series: [["codebook loss", data.kl_loss]] }
    : { title: "KL divergence to the prior", label: "nats a dimension", log: true, unit: "nats", series: [["KL a dimension", data.kl_loss]] });
  curves(at("curves"), { title: codebook ? "Codebook loss weight" : "KL weight", label: "weight in the loss", log: true, series: [["weight", data.kl_weight]] });
  if (codebook)
    curves(at("curves"), { title: "Codebook perplexity", label: "codes in use", include: [0], series: [["perplexity", data.perplexity]] });
  else
    curves(at("curves"), { title: "Active latent units", label: `units of ${latents}`, range: [0, latents], series: [["active units", data.active_units]] });
  curves(at("curves"), { title: "Learning rate", label: "step size of Adam", include: [0], series: [["learning rate", data.learning_rate]] });
  curves(at("curves"), { title: "Student probability", label: "probability", range: [0, 1], series: [["student probability", data.student_probability]] });
  curves(at("curves"), { title: "Gradient norm", label: "L2 norm", log: true, series: [["gradient norm", data.grad_norm]] });
  curves(at("curves"), { title: "Speed", label: "samples a second", include: [0], series: [["samples a second", data.samples_per_second]] });

  if (data.prior_inside.some(x => x !== null)) {
    curves(at("curves"), { title: "Walks that stay in the data's range", label: "share of 64 walks", range: [0, 1], series: [["300 frames", data.prior_inside], ["1,800 frames", data.prior_1800_inside]] });
    curves(at("curves"), { title: "Spread of the walks' last poses (data: 1)", label: "standard deviations", include: [0, 1], series: [["300 frames", data.prior_rms], ["1,800 frames", data.prior_1800_rms]] });
  }

  const perEpoch = { label: "latent dimension", name: "dimension", epochs: data.sampled };
  heat(at("latent"), { ...perEpoch, title: "KL of each dimension over epochs", unit: "nats", values: data.kl_per_latent_over });
  heat(at("latent"), { ...perEpoch, title: "Mean of the aggregated posterior over epochs", middle: 0, values: data.posterior_mean_over });
  heat(at("latent"), { ...perEpoch, title: "Spread of the aggregated posterior over epochs", middle: 1, values: data.posterior_std_over });
  const perLatent = { xLabel: "latent dimension", name: "dimension" };
  bars(at("latent"), { ...perLatent, title: "KL of each dimension, last epoch", label: "nats", unit: "nats", values: data.kl_per_latent });
  bars(at("latent"), { ...perLatent, title: "Mean of the aggregated posterior, last epoch", label: "mean of z", aim: 0, aimName: "prior: 0", values: data.posterior_mean });
  bars(at("latent"), { ...perLatent, title: "Spread of the aggregated posterior, last epoch", label: "standard deviation of z", aim: 1, aimName: "prior: 1", values: data.posterior_std });

  const words = codebook ? ["Codes", "code", "share of samples"] : ["Experts", "expert", "mean gate weight"];
  at("gate-part").hidden = experts === 0;
  at("gate-part").querySelector("h2").textContent = words[0];
  bars(at("gate"), { title: `Use of each ${words[1]}, last epoch`, label: words[2], xLabel: words[1], name: words[1], aim: 1 / experts, aimName: "equal use", values: data.expert_usage });
  heat(at("gate"), { title: `Use of each ${words[1]} over epochs`, label: words[1], name: words[1], epochs: data.sampled, values: data.expert_usage_over });
  if (data.gate_entropy.some(x => x > 0))
    curves(at("gate"), { title: `Entropy of the gate (at most ln ${experts} = ${show(Math.log(experts))})`, label: "nats", unit: "nats", range: [0, Math.log(experts)], series: [["entropy", data.gate_entropy]] });
}
if (!data.curves && !at("latent").hasChildNodes()) html("p", "soft", at("latent"), data.epoch.length ? "This model has no Gaussian latent." : "Nothing yet.");
at("gate-part").hidden ||= !at("gate").hasChildNodes();
const motion = JSON.parse(at("motion").textContent);
let steering;
if (motion) {
  const failed = (where, error) => {
    at(where).replaceChildren();
    html("p", "soft", at(where), `No player: ${error.message}.`);
  };
  try {
    const tracks = unpack(motion);
    new Player(at("player"), tracks);
    if (motion.steering) {
      at("steering-part").hidden = false;
      Model.open(motion.steering).then(model => { steering = new Steering(at("steering"), model); }).catch(error => failed("steering", error));
      window.strays = (which, frames) => steering.strays(which, frames, tracks[which], motion.steering.first[which]);
    }
  } catch (error) {
    failed("player", error);
  }
}
