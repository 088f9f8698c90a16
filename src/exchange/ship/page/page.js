// The page of a character: the view in which it is steered, and a crowd of it.
const at = id => document.getElementById(id);
let steering;
Model.open(JSON.parse(at("character").textContent)).then(model => {
  at("stage").replaceChildren();
  steering = new Steering(at("stage"), model, { always: true });
  const notes = [];
  if (steering.scene.flat) notes.push("no WebGL 2 here: drawn as lines");
  if (!model.wasm) notes.push("no WebAssembly with SIMD here: computed in JavaScript");
  at("notes").textContent = notes.join("; ");
  at("help").textContent = steering.canvas.getAttribute("aria-label");
  at("controls").hidden = false;
  at("count").addEventListener("input", event => {
    at("counted").textContent = event.target.value;
    steering.crowd(Number(event.target.value));
  });
}).catch(error => {
  at("stage").replaceChildren();
  html("p", "wait", at("stage"), `The character cannot be shown: ${error.message}. A browser of 2023 or later is needed.`);
});
