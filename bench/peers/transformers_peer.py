"""The worker of transformers (PyTorch): the scripts that a careful user of it would write, and the two
packages for steering that build on it, repeng and steering-vectors."""

import contextlib
import importlib.metadata
import os

from common import (
    Stopwatch, arguments, contrast_ids, digest, framed, read_contrasts, read_rows, serve, write_floats,
)

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch  # noqa: E402 (after the settings that it reads)
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache  # noqa: E402

TEXTS_AT_ONCE = 16  # of an extraction: some 1000 rows, beyond which nothing is gained


class Transformers:
    def __init__(self, path, threads: int, dtype: str) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.decoder = self.model.model
        self.layers = self.decoder.layers
        self.d_model = self.model.config.hidden_size

    def prefill(self, ids: list[int], logits: str | None = None) -> dict:
        watch = Stopwatch()
        got = self.model(torch.tensor([ids]), use_cache=True, logits_to_keep=1).logits[0, -1].float().numpy()
        seconds = watch.seconds()
        write_floats(logits, got)
        return {"seconds": seconds, "n": len(ids)}

    def decode(self, ids: list[int], n: int, vectors: str, steerings: list) -> dict:
        """A loop of one's own: `generate` does the same with more Python around it."""
        adds = self.adds(vectors, steerings)
        watch = Stopwatch()
        with self.hooked({layer: (lambda x, add=add: x + add) for layer, add in adds.items()}):
            cache, chosen = DynamicCache(), []
            given = torch.tensor([ids] * len(steerings))
            for step in range(n):
                out = self.model(given, past_key_values=cache, use_cache=True, logits_to_keep=1)
                given = out.logits[:, -1].argmax(-1, keepdim=True)
                chosen.append(given[:, 0].tolist())
                if step == 0:
                    first = watch.seconds()
            seconds = watch.seconds() - first
        return {"prompt_seconds": first, "seconds": seconds, "tokens": list(zip(*chosen))}

    def adds(self, vectors: str, steerings: list) -> dict:
        """By layer, what is added to each sequence: `[n_sequences, 1, d_model]`."""
        rows = torch.from_numpy(read_rows(vectors, self.d_model))
        adds = {}
        for sequence, places in enumerate(steerings):
            for layer, row, alpha in places:
                add = adds.setdefault(layer, torch.zeros(len(steerings), 1, self.d_model))
                add[sequence, 0] += alpha * rows[row]
        return {layer: add.to(self.model.dtype) for layer, add in adds.items()}

    @contextlib.contextmanager
    def hooked(self, edits: dict):
        """Within it, the output of each block ℓ in `edits` is what `edits[ℓ]` makes of it."""

        def hook(edit):
            def on_output(module, inputs, output):
                if isinstance(output, tuple):  # as blocks return it in older versions
                    return (edit(output[0]), *output[1:])
                return edit(output)

            return on_output

        handles = [self.layers[layer].register_forward_hook(hook(edit)) for layer, edit in edits.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def encode(self, text: str, begins: bool) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=begins)

    def extract(self, contrasts: str, n: int, out: str) -> dict:
        """Batches of texts of like length, `output_hidden_states`, means over the answers. The last of
        the hidden states is normed, so the last block's is taken where the norm takes it."""
        watch = Stopwatch()
        texts = contrast_ids(read_contrasts(contrasts, n), self.encode)
        pairs = []  # prompt length, ids, sign
        for prompt, *answers in zip(texts[0::3], texts[1::3], texts[2::3]):
            pairs += [(len(prompt), prompt + ids, sign) for ids, sign in zip(answers, (1.0, -1.0))]
        pairs.sort(key=lambda it: len(it[1]))
        delta = torch.zeros(len(self.layers), self.d_model, dtype=torch.float64)
        last = []
        handle = self.decoder.norm.register_forward_pre_hook(lambda module, inputs: last.append(inputs[0]))
        for start in range(0, len(pairs), TEXTS_AT_ONCE):
            batch = pairs[start : start + TEXTS_AT_ONCE]
            longest = max(len(ids) for _, ids, _ in batch)
            given = torch.tensor([ids + [0] * (longest - len(ids)) for _, ids, _ in batch])
            mask = torch.tensor([[i < len(ids) for i in range(longest)] for _, ids, _ in batch])
            answer = torch.tensor([[p <= i < len(ids) for i in range(longest)] for p, ids, _ in batch])
            weights = answer.double() * torch.tensor([sign for _, _, sign in batch])[:, None]
            weights /= answer.sum(1, keepdim=True)
            states = self.decoder(
                given, attention_mask=mask.long(), output_hidden_states=True, use_cache=False
            ).hidden_states
            for layer, rows in enumerate([*states[1:-1], last.pop()]):
                delta[layer] += torch.einsum("tp,tpd->d", weights.float(), rows.float()).double()
        handle.remove()
        delta /= len(texts) // 3
        seconds = watch.seconds()
        write_floats(out, delta.numpy())
        return {"seconds": seconds, "n": len(texts) // 3, **digest(texts)}

    def figure(self, texts: list, alphas: list, layers: list, skip: int, vectors: str) -> dict:
        """For each injected layer and alpha one pass over all texts, every block's output compared with
        the plain run's as it comes. Alpha 0 is the plain run itself."""
        watch = Stopwatch()
        given = torch.tensor(texts)
        rows = torch.from_numpy(read_rows(vectors, self.d_model)).to(self.model.dtype)
        plain, cosines = [], []

        def keep(x):
            plain.append(x.float())
            return x

        def compare(layer, edit=None):
            def on_output(x):
                x = x if edit is None else edit(x)
                found = torch.nn.functional.cosine_similarity(x.float(), plain[layer], dim=-1)
                cosines.append(found[:, skip:].mean().item())
                return x

            return on_output

        every = range(len(self.layers))
        with self.hooked({layer: keep for layer in every}):
            self.decoder(given, use_cache=False)
        table = []
        for injected in layers:
            table.append([])
            for alpha in alphas:
                cosines.clear()
                if alpha == 0:
                    cosines.extend(1.0 for _ in every)
                else:
                    edits = {layer: compare(layer) for layer in every}
                    edits[injected] = compare(injected, lambda x: x + alpha * rows[injected])
                    with self.hooked(edits):
                        self.decoder(given, use_cache=False)
                table[-1].append(list(cosines))
        return {"seconds": watch.seconds(), "table": table}

    # The packages. Both read the last token only, so their vectors are not compared with ours.

    def pairs(self, contrasts: str, n: int) -> list[tuple[str, str]]:
        texts = [framed(it) for it in read_contrasts(contrasts, n)]
        return [(prompt + positive, prompt + negative) for prompt, positive, negative in texts]

    def extract_repeng(self, contrasts: str, n: int, out: str) -> dict:
        from repeng import ControlVector, DatasetEntry

        entries = [DatasetEntry(positive=p, negative=q) for p, q in self.pairs(contrasts, n)]
        watch = Stopwatch()
        with torch.inference_mode():
            ControlVector.train(self.model, self.tokenizer, entries)
        return {"seconds": watch.seconds(), "n": n, "version": version("repeng")}

    def extract_steering_vectors(self, contrasts: str, n: int, out: str) -> dict:
        from steering_vectors import train_steering_vector

        pairs = self.pairs(contrasts, n)
        watch = Stopwatch()
        train_steering_vector(self.model, self.tokenizer, pairs, batch_size=TEXTS_AT_ONCE)
        return {"seconds": watch.seconds(), "n": n, "version": version("steering-vectors")}

    def limits(self) -> dict:
        """The best rate of a large product of f32 matrices: what this machine's libraries reach."""
        a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
        seconds = []
        for _ in range(6):
            watch = Stopwatch()
            a @ b
            seconds.append(watch.seconds())
        return {"gemm_gflop_s": 2 * 2048**3 / min(seconds) / 1e9}


def version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"


def main() -> None:
    args = arguments()

    def load():
        it = Transformers(args.model, args.threads, args.dtype)
        about = {
            "version": f"{version('transformers')}, {version('torch')}",
            "kernels": torch.backends.cpu.get_cpu_capability(),
            "n_layers": len(it.layers),
            "d_model": it.d_model,
            "vocab_size": it.model.config.vocab_size,
            "weights_mb": sum(p.numel() * p.element_size() for p in it.model.parameters()) / 1e6,
        }
        return it, about

    names = ["prefill", "decode", "extract", "figure", "extract_repeng", "extract_steering_vectors", "limits"]
    serve(load, lambda it: {name: getattr(it, name) for name in names})


if __name__ == "__main__":
    main()
