"""The peers' steps, one configuration after another in one process: `peers.py torch|jax cuda|cpu`; a JSON line each.

One process, so that a package is loaded once and compiled code is found again. A configuration that fails says why and does
not stop the rest; the cheap ones come first, as time may run out.
"""
import contextlib
import gc
import io
import json
import os
import sys

sys.path.insert(0, os.environ.get("PEERS", "peers"))
KIND, DEVICE = sys.argv[1], sys.argv[2]
DECODERS = ("reference", "fused", "folded")
MODES = ("eager", "cudagraph", "compile", "compile-cudagraph")
STEPS = os.environ.get("STEPS")


def configurations():
    if KIND == "jax":
        return [("scan", decoder, ["--steps", STEPS or "1024"]) for decoder in reversed(DECODERS)]
    steps = lambda mode: STEPS or ("320" if mode == "eager" else "1600")
    span = lambda mode: ["--graph-span", "rollout"] if mode.endswith("cudagraph") else []
    return [(mode, decoder, ["--mode", mode, "--adam", "auto" if decoder == "reference" else "fused", "--steps", steps(mode),
                             *span(mode)]) for mode in MODES for decoder in reversed(DECODERS)]


def main():
    if KIND == "torch":
        import torch
        import torch_mvae as peer
        run = lambda words: peer.train(peer.arguments(words))
    else:
        import jax_mvae as peer
        run = peer.main
    for mode, decoder, words in configurations():
        words = ["--variant", "mixture", "--decoder", decoder, "--device", DEVICE, "--json", *words]
        line = dict(bench="peers", impl=KIND, mode=mode, decoder=decoder, flags=" ".join(words))
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it returns
                line |= {"result": run(words)}
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a peer may leave by sys.exit
            line |= {"error": f"{type(error).__name__}: {str(error).strip()[:500]}"}
        print(json.dumps(line), flush=True)
        gc.collect()
        if KIND == "torch":
            torch._dynamo.reset()
            if DEVICE == "cuda":
                torch.cuda.empty_cache()


main()
