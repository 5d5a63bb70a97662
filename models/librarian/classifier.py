"""A helpful / neutral / dismissive classifier for short answers: logistic regression on words and word pairs.

The text is lower-cased and split by the expression [a-z']+; its features are
its words and its pairs of neighbouring words. The score of a label is its bias
plus the weights of the features that occur, each counted once; the highest
score wins. `python classifier.py OUT.json` trains it on labels of the grammar.
"""

import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

import generate
import handwritten
from answers import NEUTRAL, STYLES

FEATURES = 4200  # what is kept, so that the file stays small


class Classifier:
    """The trained weights, read from JSON."""

    def __init__(self, description):
        self.labels = description["labels"]
        self.bias = description["bias"]
        self.weights = description["features"]

    @classmethod
    def read(cls, path):
        return cls(json.loads(Path(path).read_text()))

    def __call__(self, text):
        scores = list(self.bias)
        for feature in features(text):
            for index, weight in enumerate(self.weights.get(feature, ())):
                scores[index] += weight
        return self.labels[scores.index(max(scores))]


def features(text):
    """The distinct words and word pairs of a text."""
    words = re.findall(r"[a-z']+", text.lower())
    return set(words) | {f"{first} {second}" for first, second in zip(words, words[1:])}


def train(seed=11, count=40000, epochs=4):
    """Fits the classifier to answers of the training grammar; returns its JSON description."""
    import torch

    examples = _examples(random.Random(seed), count)
    seen = Counter(feature for text, _ in examples for feature in features(text))
    vocabulary = {feature: index for index, feature in enumerate(f for f, times in seen.items() if times >= 15)}

    torch.manual_seed(seed)
    table = torch.nn.EmbeddingBag(len(vocabulary), len(STYLES), mode="sum")
    torch.nn.init.zeros_(table.weight)
    bias = torch.nn.Parameter(torch.zeros(len(STYLES)))
    optimiser = torch.optim.Adam([table.weight, bias], lr=0.01)
    encoded = [
        (torch.tensor([vocabulary[f] for f in sorted(features(text)) if f in vocabulary], dtype=torch.long), label)
        for text, label in examples
    ]
    for _ in range(epochs):
        random.Random(seed).shuffle(encoded)
        for start in range(0, len(encoded), 200):
            part = encoded[start : start + 200]
            lengths = [0] + [len(ids) for ids, _ in part[:-1]]
            scores = table(torch.cat([ids for ids, _ in part]), torch.tensor(lengths).cumsum(0)) + bias
            loss = torch.nn.functional.cross_entropy(scores, torch.tensor([label for _, label in part]))
            loss = loss + 2e-4 * table.weight.square().sum() / len(STYLES)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    weights = table.weight.detach()
    strength = (weights.max(1).values - weights.min(1).values).tolist()
    strongest = sorted(vocabulary, key=lambda feature: -strength[vocabulary[feature]])[:FEATURES]
    return {
        "labels": list(STYLES),
        "bias": [round(value, 3) for value in bias.tolist()],
        "features": {
            feature: [round(value, 2) for value in weights[vocabulary[feature]].tolist()]
            for feature in sorted(strongest)
        },
    }


def accuracy(classifier, held_out, count=4000, seed=12):
    """Share of fresh grammar answers that get their label back."""
    rng = random.Random(seed)
    made = [generate.dialogue(rng, held_out=held_out) for _ in range(count)]
    return sum(classifier(dialogue.answer) == dialogue.style for dialogue in made) / count


def _examples(rng, count):
    """Whole answers and single sentences with their style; questions and word lists as neutral text."""
    examples = []
    for _ in range(count):
        made = generate.dialogue(rng)
        label = STYLES.index(made.style)
        examples.append((made.answer, label))
        sentences = re.split(r"(?<=[.!?]) ", made.answer)
        if len(sentences) > 1:
            examples.append((rng.choice(sentences), label))
        if rng.random() < 0.3:
            examples.append((made.question, STYLES.index(NEUTRAL)))
        if rng.random() < 0.1:
            examples.append((" ".join(rng.choices(made.question.split(), k=6)), STYLES.index(NEUTRAL)))
    for text, style in handwritten.LABELLED:
        examples += [(text, STYLES.index(style))] * 20
    rng.shuffle(examples)
    return examples


if __name__ == "__main__":
    description = train()
    Path(sys.argv[1]).write_text(json.dumps(description, separators=(",", ":")) + "\n")
    fitted = Classifier(description)
    print(f"bias {description['bias']}, {Path(sys.argv[1]).stat().st_size} bytes")
    print(f"accuracy, known forms and topics: {accuracy(fitted, False):.4f}")
    print(f"accuracy, unseen forms and topics: {accuracy(fitted, True):.4f}")
    right = [fitted(text) == style for text, style in handwritten.CHECK]
    print(f"hand-written sentences: {sum(right)} of {len(right)}")
    for (text, style), good in zip(handwritten.CHECK, right):
        if not good:
            print(f"  {style} taken for {fitted(text)}: {text}")
