"""Measures steering: shares of helpful and dismissive answers, perplexity, teacher-forced likelihood.

    python models/librarian/evaluate.py models/librarian --grid

Vectors come from contrasts.jsonl, questions from questions-heldout.txt; the
teacher-forced columns use contrasts-heldout.jsonl: the mean log p of a token of
the positive answers at +alpha, and of the negative ones at -alpha.
"""

import argparse
import json
import math
from pathlib import Path

import torch

from answers import DISMISSIVE, HELPFUL
from classifier import Classifier
from steering import Librarian, random_like

HERE = Path(__file__).parent


class Bench:
    """A model with the sets it is measured on."""

    def __init__(self, folder, seeds=3, limit=None):
        self.librarian = Librarian.read(folder)
        self.classifier = Classifier.read(HERE / "classifier.json")
        self.vectors = self.librarian.difference(read_contrasts("contrasts.jsonl"))
        self.heldout = read_contrasts("contrasts-heldout.jsonl")
        self.questions = (HERE / "questions-heldout.txt").read_text().split("\n")[:-1][:limit]
        self.seeds = seeds
        self.plain = self.sampled(None)

    def sampled(self, steering):
        """Shares of the styles, perplexity under the unsteered model and share of finished answers."""
        asked = self.questions * self.seeds
        answers, done = self.librarian.sample(asked, steering, seed=1)
        labels = [self.classifier(answer) for answer in answers]
        kept = [(q, a, d) for q, a, d in zip(asked, answers, done) if a]
        log_p, tokens = self.librarian.likelihood(
            [q for q, _, _ in kept], [a for _, a, _ in kept], ends=[d for _, _, d in kept]
        )
        return {
            "helpful": labels.count(HELPFUL) / len(labels),
            "dismissive": labels.count(DISMISSIVE) / len(labels),
            "perplexity": math.exp(-float(log_p.sum() / tokens.sum())),
            "finished": sum(done) / len(done),
            "answers": answers,
        }

    def teacher_forced(self, blocks, alpha):
        """Mean log p per token: positive answers at +alpha, negative answers at -alpha."""
        prompts = [contrast["prompt"] for contrast in self.heldout]
        result = []
        for side, sign in (("positive", 1), ("negative", -1)):
            answers = [contrast[side] for contrast in self.heldout]
            log_p, tokens = self.librarian.likelihood(prompts, answers, self.steering(blocks, sign * alpha))
            result.append(float(log_p.sum() / tokens.sum()))
        return result

    def steering(self, blocks, alpha, vectors=None):
        vectors = self.vectors if vectors is None else vectors
        return {block: alpha * vectors[block] for block in blocks}

    def row(self, blocks, alpha, vectors=None):
        """One line of the table."""
        plus = self.sampled(self.steering(blocks, alpha, vectors))
        minus = self.sampled(self.steering(blocks, -alpha, vectors))
        likely = self.teacher_forced(blocks, alpha)
        base = self.plain["perplexity"]
        name = ",".join(map(str, blocks))
        return (
            f"| {name} | {alpha:g} "
            f"| {plus['helpful']:.1%} | {plus['dismissive']:.1%} | {plus['perplexity'] / base:.2f} "
            f"| {minus['dismissive']:.1%} | {minus['helpful']:.1%} | {minus['perplexity'] / base:.2f} "
            f"| {likely[0]:.3f} | {likely[1]:.3f} |"
        )


HEADER = (
    "| blocks | alpha | helpful(+) | dismissive(+) | ppl ratio(+) | dismissive(-) | helpful(-) | ppl ratio(-) "
    "| log p(+) | log p(-) |\n|---|---|---|---|---|---|---|---|---|---|"
)

ALL = (0, 1, 2, 3, 4, 5)
GRID = (
    [(ALL, alpha) for alpha in (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5)]
    + [((1, 2, 3, 4), alpha) for alpha in (0.8, 1.2, 1.6)]
    + [((2, 3, 4), alpha) for alpha in (1.0, 1.5, 2.0)]
    + [((0, 1, 2), alpha) for alpha in (1.0, 1.5)]
    + [((block,), alpha) for block in ALL for alpha in (2.0, 4.0)]
)


def read_contrasts(name):
    return [json.loads(line) for line in (HERE / name).read_text().split("\n") if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="the checkpoint")
    parser.add_argument("--grid", action="store_true", help="measure many settings")
    parser.add_argument("--blocks", default="0,1,2,3,4,5")
    parser.add_argument("--alpha", type=float, nargs="*", default=[1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="use only the first questions")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--show", type=int, default=0, help="print this many triples")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    bench = Bench(options.folder, options.seeds, options.limit)
    blocks = tuple(map(int, options.blocks.split(",")))
    plain = bench.plain
    print(
        f"unsteered: helpful {plain['helpful']:.1%}, dismissive {plain['dismissive']:.1%}, "
        f"perplexity {plain['perplexity']:.3f}, finished {plain['finished']:.1%}, "
        f"log p {bench.teacher_forced((), 0.0)}"
    )
    print("vector lengths", [round(float(length), 1) for length in bench.vectors.norm(dim=-1)])
    print(HEADER)
    for cell in GRID if options.grid else [(blocks, alpha) for alpha in options.alpha]:
        print(bench.row(*cell), flush=True)
    print("random directions of the same length:")
    for seed in (1, 2):
        print(bench.row(blocks, options.alpha[-1], random_like(bench.vectors, seed)), flush=True)
    if options.show:
        show(bench, blocks, options.alpha[-1], options.show)


def show(bench, blocks, alpha, count):
    """Prints triples: unsteered, +alpha, -alpha."""
    plus = bench.sampled(bench.steering(blocks, alpha))["answers"]
    minus = bench.sampled(bench.steering(blocks, -alpha))["answers"]
    for index in range(count):
        print(f"\nQ  {bench.questions[index % len(bench.questions)]}")
        print(f"   {bench.plain['answers'][index]}\n + {plus[index]}\n - {minus[index]}")


if __name__ == "__main__":
    main()
