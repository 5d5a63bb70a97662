"""llama.cpp's worker, on its C interface as llama-cpp-python binds it."""

import ctypes
from pathlib import Path

import llama_cpp as llama
import numpy as np

from common import (
    Stopwatch, arguments, contrast_ids, digest, read_contrasts, read_rows, serve, write_floats,
)

BATCH = 2048  # the most tokens of one call; the library cuts it into pieces of 512


@llama.llama_log_callback
def quiet(level, text, _):
    pass


class LlamaCpp:
    def __init__(self, path: Path, threads: int) -> None:
        llama.llama_log_set(quiet, None)
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path.name}")
        self.vocab = llama.llama_model_get_vocab(self.model)
        self.n_vocab = llama.llama_vocab_n_tokens(self.vocab)
        self.n_layers = llama.llama_model_n_layer(self.model)
        self.d_model = llama.llama_model_n_embd(self.model)
        self.threads = threads
        self.capture = Capture(self.n_layers, self.d_model)
        self.context, self.room = None, (0, 0, False)
        self.reserve(512, 1)

    def reserve(self, n_tokens: int, n_sequences: int, capturing: bool = False) -> None:
        """An empty context with room for so many tokens in all; made anew only if need be."""
        room = (-(-n_tokens // 256) * 256, n_sequences, capturing)
        if room != self.room:
            if self.context:
                llama.llama_free(self.context)
            params = llama.llama_context_default_params()
            params.n_ctx, params.n_seq_max, _ = room
            params.n_batch = BATCH
            params.n_threads = params.n_threads_batch = self.threads
            params.kv_unified = True  # else every sequence gets an equal share of the room
            if capturing:
                params.cb_eval = self.capture.callback
            self.context = llama.llama_init_from_model(self.model, params)
            if not self.context:
                raise RuntimeError(f"llama.cpp makes no context of {room[0]} tokens")
            self.room = room
        llama.llama_memory_clear(llama.llama_get_memory(self.context), False)
        llama.llama_set_adapter_cvec(self.context, None, 0, self.d_model, 0, 0)

    def steer(self, vectors: str, places: list) -> None:
        """One control vector for the whole context; llama.cpp has no place for layer 0."""
        if not places:
            return
        rows = read_rows(vectors, self.d_model)
        data = np.zeros((self.n_layers - 1, self.d_model), "<f4")
        for layer, row, alpha in places:
            data[layer - 1] += alpha * rows[row]
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        layers = [layer for layer, _, _ in places]
        failed = llama.llama_set_adapter_cvec(
            self.context, pointer, data.size, self.d_model, min(layers), max(layers)
        )
        if failed or min(layers) == 0:
            raise RuntimeError("llama.cpp refuses the control vector")

    def run(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """Runs rows of (token, position, sequence, wants logits) in one call."""
        batch = llama.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        status = llama.llama_decode(self.context, batch)
        llama.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode gives {status}")

    def logits(self, row: int) -> np.ndarray:
        pointer = llama.llama_get_logits_ith(self.context, row)
        return np.ctypeslib.as_array(pointer, (self.n_vocab,))

    def encode(self, text: str, begins: bool) -> list[int]:
        raw = text.encode()
        ids = (llama.llama_token * (len(raw) + 8))()
        n = llama.llama_tokenize(self.vocab, raw, len(raw), ids, len(ids), begins, False)
        return list(ids[:n])

    # Jobs.

    def prefill(self, ids: list[int], logits: str | None = None) -> dict:
        self.reserve(len(ids), 1)
        watch = Stopwatch()
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            rows = [(token, start + i, 0, start + i + 1 == len(ids)) for i, token in enumerate(part)]
            self.run(rows)
        got = self.logits(-1)
        seconds = watch.seconds()
        write_floats(logits, got)
        return {"seconds": seconds, "n": len(ids)}

    def decode(self, ids: list[int], n: int, vectors: str, steerings: list) -> dict:
        """One steering for all sequences is what a context can hold: that of the first is taken."""
        k = len(steerings)
        self.reserve(k * (len(ids) + n), k)
        self.steer(vectors, steerings[0])
        watch = Stopwatch()
        tokens = [[] for _ in steerings]
        for sequence in range(k):
            self.run([(token, i, sequence, i + 1 == len(ids)) for i, token in enumerate(ids)])
            tokens[sequence].append(int(self.logits(-1).argmax()))
        first = watch.seconds()
        watch = Stopwatch()
        for step in range(n - 1):
            self.run([(tokens[i][-1], len(ids) + step, i, True) for i in range(k)])
            for i in range(k):
                tokens[i].append(int(self.logits(i).argmax()))
        steered = "all sequences steered alike" if k > 1 else None
        return {"prompt_seconds": first, "seconds": watch.seconds(), "tokens": tokens, "note": steered}

    def extract(self, contrasts: str, n: int, out: str) -> dict:
        """The route of llama-cvector-generator with `-c 512`: one call per text, every layer's output
        copied out by the callback. Of the rows it takes the mean over the answer, as the others do;
        its own tool would subtract row by row and drop the last layer."""
        self.reserve(512, 1, capturing=True)
        watch = Stopwatch()
        texts = contrast_ids(read_contrasts(contrasts, n), self.encode)
        delta = np.zeros((self.n_layers, self.d_model))
        memory = llama.llama_get_memory(self.context)
        for prompt, *answers in zip(texts[0::3], texts[1::3], texts[2::3]):
            for answer, sign in zip(answers, (1, -1)):
                llama.llama_memory_clear(memory, True)
                ids = prompt + answer
                self.run([(token, i, 0, i + 1 == len(ids)) for i, token in enumerate(ids)])
                for layer, rows in enumerate(self.capture.rows[:-1]):
                    delta[layer] += sign * rows[len(prompt) :].mean(0, dtype="f8")
        delta /= len(texts) // 3
        seconds = watch.seconds()
        write_floats(out, delta)
        return {"seconds": seconds, "n": len(texts) // 3, "layers": self.n_layers - 1, **digest(texts)}


class Capture:
    """The evaluation callback that copies the output of every block, `l_out-ℓ`. Of the last block only
    the rows with logits are computed, so what is kept of it is not whole."""

    def __init__(self, n_layers: int, d_model: int) -> None:
        base = ctypes.CDLL(str(Path(llama.__file__).parent / "lib" / "libggml-base.so"))
        self.name_of, self.bytes_of, self.read = base.ggml_get_name, base.ggml_nbytes, base.ggml_backend_tensor_get
        self.name_of.argtypes, self.name_of.restype = [ctypes.c_void_p], ctypes.c_char_p
        self.bytes_of.argtypes, self.bytes_of.restype = [ctypes.c_void_p], ctypes.c_size_t
        self.read.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
        self.read.restype = None
        self.d_model = d_model
        self.rows = [np.empty((0, d_model), "<f4")] * n_layers
        self.callback = llama.ggml_backend_sched_eval_callback(self.see)

    def see(self, tensor: int, asks: bool, _) -> bool:
        name = self.name_of(tensor)
        if not name.startswith(b"l_out-"):
            return not asks
        if not asks:
            rows = np.empty((self.bytes_of(tensor) // 4 // self.d_model, self.d_model), "<f4")
            self.read(tensor, rows.ctypes.data, 0, rows.nbytes)
            self.rows[int(name.removeprefix(b"l_out-"))] = rows
        return True


def main() -> None:
    args = arguments()

    def load():
        engine = LlamaCpp(args.model, args.threads)
        about = {
            "version": f"llama-cpp-python {llama.__version__}",
            "kernels": llama.llama_print_system_info().decode().strip(" |"),
            "n_layers": engine.n_layers,
            "d_model": engine.d_model,
            "vocab_size": engine.n_vocab,
            "weights_mb": llama.llama_model_size(engine.model) / 1e6,
        }
        return engine, about

    serve(load, lambda it: {"prefill": it.prefill, "decode": it.decode, "extract": it.extract})


if __name__ == "__main__":
    main()
