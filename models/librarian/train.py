"""Trains the librarian from nothing: corpus, tokenizer, packing, training, export.

    python models/librarian/train.py --out models/librarian

takes about 35 minutes on two CPU cores. Everything is seeded; the floating-point
sums depend on the machine, so a retrained model is alike, not identical.
"""

import argparse
import itertools
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import generate
import model as llama
import steering
from answers import DISMISSIVE, HELPFUL, NEUTRAL
from classifier import Classifier

BOS, EOS, PAD = 0, 1, 2
SPECIAL = ["<|bos|>", "<|eos|>", "<|pad|>"]
ROW = 256  # tokens in a row
ROWS = 16  # rows in a batch
PROMPT_WEIGHT = 0.3  # of the loss on the question; the answer counts fully


def main():
    options = _options()
    out, work = Path(options.out), Path(options.work or options.out)
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)

    rng = random.Random(options.seed)
    if options.resume:
        librarian = steering.Librarian.read(options.resume)
        network, tokenizer = librarian.network, librarian.tokenizer
    else:
        tokenizer = train_tokenizer([generate.dialogue(rng).text() for _ in range(60000)])
        network = llama.Llama(llama.Config())
    save_tokenizer(tokenizer, out)
    fresh = random.Random(options.seed + 1)
    validation = {
        name: encode(tokenizer, [generate.dialogue(fresh, held_out=unseen).text() for _ in range(1500)])
        for name, unseen in (("known forms", False), ("unseen forms", True))
    }
    print(f"{sum(weight.numel() for weight in network.parameters())} parameters", flush=True)
    train(network, tokenizer, rng, validation, out, work, options)


def train_tokenizer(documents):
    """Byte-level BPE, so that any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=llama.Config.vocab,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", special_tokens=[("<|bos|>", BOS)]
    )
    return tokenizer


def save_tokenizer(tokenizer, folder):
    tokenizer.save(str(folder / "tokenizer.json"))
    description = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[BOS],
        "eos_token": SPECIAL[EOS],
        "pad_token": SPECIAL[PAD],
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": llama.Config.positions,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(description, indent=2) + "\n")


def encode(tokenizer, documents):
    """Token ids of every document, with the end token, cut to one row."""
    encoded = []
    for start in range(0, len(documents), 20000):
        for encoding in tokenizer.encode_batch(documents[start : start + 20000]):
            encoded.append(np.array(encoding.ids[: ROW - 1] + [EOS], dtype=np.int64))
    return encoded


def batches(corpus):
    """Batches of rows; each row holds several whole documents, chosen to leave little room."""
    rows, open_rows = [], []
    for document in corpus:
        fitting = [row for row in open_rows if _filled(row) + len(document) <= ROW]
        if fitting:
            max(fitting, key=_filled).append(document)
        else:
            open_rows.append([document])
        if len(open_rows) > 12:
            fullest = max(open_rows, key=_filled)
            open_rows = [row for row in open_rows if row is not fullest]
            rows.append(fullest)
        if len(rows) == ROWS:
            yield pack(rows)
            rows = []


def _filled(row):
    return sum(len(document) for document in row)


def chapters(network, tokenizer, rng, count, unbalanced):
    """Endless batches of fresh documents, written a chapter at a time.

    Sampling at a temperature below one favours the style whose answers begin
    most uniformly. So before each chapter the unsteered model is asked some
    questions, and the styles it used too seldom become more frequent. In the
    first chapters, `unbalanced` in number, it cannot answer yet.
    """
    bench = _Balance(network, tokenizer)
    weights = dict(generate.STYLE_WEIGHTS)
    number = 0
    while True:
        if number >= unbalanced:
            weights, used = bench.adjusted(weights, seed=number)
            print(f"chapter {number}: answers {used}, documents {weights}", flush=True)
        corpus = encode(tokenizer, [generate.dialogue(rng, weights=weights).text() for _ in range(count)])
        yield from batches(corpus)
        number += 1


class _Balance:
    """Keeps the unsteered model undecided: a little over a quarter of its answers for either pole."""

    # A little more of the helpful style than is wanted: on unseen questions it comes out rarer.
    TARGET = {HELPFUL: 0.33, NEUTRAL: 0.40, DISMISSIVE: 0.27}

    def __init__(self, network, tokenizer, questions=240):
        self.librarian = steering.Librarian(network, tokenizer)
        self.classifier = Classifier.read(Path(__file__).parent / "classifier.json")
        rng = random.Random(5)
        self.questions = [generate.ask(rng, generate.Scene(rng, False)) for _ in range(questions)]
        self.questions[::2] = [generate.garbled(rng, question) for question in self.questions[::2]]

    def adjusted(self, weights, seed):
        """New weights, and the shares of the styles in the model's own answers."""
        answers, _ = self.librarian.sample(self.questions, seed=seed)
        labels = [self.classifier(answer) for answer in answers]
        used = {style: labels.count(style) / len(labels) for style in weights}
        raised = {
            style: weight * (self.TARGET[style] / max(used[style], 0.05)) ** 0.5 for style, weight in weights.items()
        }
        total = sum(raised.values())
        return {style: round(weight / total, 3) for style, weight in raised.items()}, used


def pack(rows):
    """Tensors (ids, positions, document numbers, loss weights) for a list of rows of documents."""
    shape = (len(rows), ROW)
    ids, positions = np.full(shape, PAD), np.zeros(shape, np.int64)
    owner, weight = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for line, documents in enumerate(rows):
        start = 0
        for number, document in enumerate(documents):
            end = start + len(document)
            ids[line, start:end] = document
            positions[line, start:end] = np.arange(len(document))
            owner[line, start:end] = number
            weight[line, start : end - 1] = 1.0
            weight[line, start : start + _answer_start(document) - 1] = PROMPT_WEIGHT
            start = end
        owner[line, start:] = 1000 + np.arange(ROW - start)  # padding sees only itself
    return [torch.from_numpy(array) for array in (ids, positions, owner, weight)]


_ASSISTANT = []  # the ids of "\nAssistant:", looked up once


def _answer_start(document):
    """Index of the first token of the answer."""
    last = _ASSISTANT[-2]
    spots = np.flatnonzero(document == last)
    return int(spots[-1]) + 2 if len(spots) else 1


def train(network, tokenizer, rng, validation, out, work, options):
    """Runs the optimiser, logging losses, and exports the weights now and then and at the end."""
    _ASSISTANT[:] = tokenizer.encode("?\nAssistant:", add_special_tokens=False).ids
    loss_of = torch.compile(lambda *batch: _loss(network, *batch), dynamic=False)
    held = {name: _first_batches(documents, 4) for name, documents in validation.items()}
    matrices = [weight for name, weight in network.named_parameters() if weight.dim() > 1 and "embed" not in name]
    others = [weight for name, weight in network.named_parameters() if weight.dim() == 1 or "embed" in name]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.95), fused=True)

    log = (work / "train.log").open("w")
    began, tokens, recent = time.time(), 0, []
    stream = chapters(network, tokenizer, rng, options.chapter, 1 if options.resume else 3)
    step = 0
    while True:
        minutes = (time.time() - began) / 60
        progress = max(step / options.steps, minutes / options.minutes)
        if progress >= 1:
            break
        batch = next(stream)
        for group in optimiser.param_groups:
            group["lr"] = options.rate * _schedule(step, progress, options.decay)
        loss = loss_of(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        tokens += int((batch[3] > 0).sum())
        recent = recent[-49:] + [float(loss.detach())]
        step += 1
        if step % 100 == 0:
            losses = {name: _mean_loss(loss_of, held[name]) for name in held} if step % 300 == 0 else {}
            _report(log, step, tokens, minutes, float(np.mean(recent)), losses)
        if step % options.export_every == 0:
            llama.save(network, out)
    losses = {name: _mean_loss(loss_of, held[name]) for name in held}
    _report(log, step, tokens, (time.time() - began) / 60, float(np.mean(recent)), losses)
    llama.save(network, out)


def _schedule(step, progress, decay):
    """Factor on the learning rate: warm-up over 100 steps, then constant, then down over the last part."""
    if step < 100:
        return (step + 1) / 100
    return max(0.02, min(1.0, (1 - progress) / decay))


def _loss(network, ids, positions, owner, weight):
    """Weighted mean of the next-token loss; documents in a row do not see each other."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        causal = torch.tril(torch.ones(ROW, ROW, dtype=torch.bool))
        visible = (owner[:, :, None] == owner[:, None, :]) & causal
        mask = torch.zeros(visible.shape, dtype=torch.bfloat16).masked_fill(~visible, float("-inf")).unsqueeze(1)
        state, _ = network(ids, positions, mask)
        logits = network.logits(state)
    target = torch.roll(ids, -1, 1)
    loss = F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), reduction="none").view(ids.shape)
    return (loss * weight).sum() / weight.sum()


def _first_batches(documents, count):
    return list(itertools.islice(batches(documents), count))


def _mean_loss(loss_of, held):
    with torch.no_grad():
        return float(np.mean([float(loss_of(*batch)) for batch in held]))


def _report(log, step, tokens, minutes, loss, losses):
    entry = {"step": step, "tokens": tokens, "minutes": round(minutes, 2), "loss": round(loss, 4)}
    entry |= {name: round(value, 4) for name, value in losses.items()}
    print(json.dumps(entry), flush=True)
    log.write(json.dumps(entry) + "\n")
    log.flush()


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder for the tokenizer and the checkpoint")
    parser.add_argument("--work", help="folder for the log (default: the same)")
    parser.add_argument("--resume", help="a folder whose checkpoint and tokenizer to start from")
    parser.add_argument("--chapter", type=int, default=20000, help="documents written at a time")
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--minutes", type=float, default=1e9, help="end the schedule after this time at the latest")
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--decay", type=float, default=0.35, help="share of the training with a falling rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--export-every", type=int, default=600)
    return parser.parse_args()


if __name__ == "__main__":
    main()
