"""The model at work: sampling, likelihoods, difference vectors."""

from pathlib import Path

import torch
from tokenizers import Tokenizer

import model as llama

BOS, EOS, PAD = 0, 1, 2


class Librarian:
    """A network with its tokenizer."""

    def __init__(self, network, tokenizer):
        self.network = network
        self.tokenizer = tokenizer

    @classmethod
    def read(cls, folder):
        """The checkpoint in a folder."""
        return cls(llama.load(folder), Tokenizer.from_file(str(Path(folder) / "tokenizer.json")))

    @torch.no_grad()
    def difference(self, contrasts):
        """Per block: mean over contrasts of (mean positive state - mean negative state) over the answer."""
        prompts = [prompt_of(contrast["prompt"]) for contrast in contrasts]
        positive = self._answer_means(prompts, [contrast["positive"] for contrast in contrasts])
        negative = self._answer_means(prompts, [contrast["negative"] for contrast in contrasts])
        return (positive - negative).mean(1)

    @torch.no_grad()
    def sample(self, questions, steering=None, seed=0, tokens=64, temperature=0.7, top_p=0.95):
        """One answer per question, and whether each ended by itself."""
        prompts = [self.tokenizer.encode(prompt_of(question)).ids for question in questions]
        width = max(map(len, prompts))
        ids = torch.tensor([[PAD] * (width - len(prompt)) + prompt for prompt in prompts])
        real = ids != PAD
        positions = (real.long().cumsum(1) - 1).clamp(min=0)
        generator = torch.Generator().manual_seed(seed)
        cache = [None] * len(self.network.layers)
        state, _ = self.network(ids, positions, _causal_mask(real), steering, cache)
        answers = [[] for _ in questions]
        done = [False] * len(questions)
        last = positions[:, -1:]
        for _ in range(tokens):
            logits = self.network.logits(state[:, -1])
            logits[:, [BOS, PAD]] = float("-inf")
            chosen = _draw(logits, temperature, top_p, generator)
            for index, token in enumerate(chosen.tolist()):
                if not done[index]:
                    done[index] = token == EOS
                    if token != EOS:
                        answers[index].append(token)
            if all(done):
                break
            last = last + 1
            real = torch.cat([real, torch.ones(len(questions), 1, dtype=torch.bool)], 1)
            mask = torch.zeros(real.shape).masked_fill(~real, float("-inf"))[:, None, None]
            state, _ = self.network(chosen[:, None], last, mask, steering, cache)
        return [self.tokenizer.decode(answer).strip() for answer in answers], done

    @torch.no_grad()
    def likelihood(self, questions, answers, steering=None, ends=None):
        """(sum of log p, number of tokens) of each answer; `ends` says which answers are followed by the end token."""
        prompts = [prompt_of(question) for question in questions]
        ids, real, answer_mask = self._padded(prompts, answers, ends or [False] * len(answers))
        positions = (real.long().cumsum(1) - 1).clamp(min=0)
        state, _ = self.network(ids, positions, _causal_mask(real), steering)
        log_p = self.network.logits(state[:, :-1]).log_softmax(-1)
        of_token = log_p.gather(2, ids[:, 1:, None])[..., 0] * answer_mask[:, 1:]
        return of_token.sum(1), answer_mask[:, 1:].sum(1)

    def _answer_means(self, prompts, answers):
        """Tensor (block, contrast, hidden): mean state over the tokens of each answer."""
        ids, real, answer_mask = self._padded(prompts, answers, [False] * len(answers))
        positions = (real.long().cumsum(1) - 1).clamp(min=0)
        _, residuals = self.network(ids, positions, _causal_mask(real))
        weight = answer_mask[..., None].float()
        return torch.stack([(block * weight).sum(1) / weight.sum(1) for block in residuals])

    def _padded(self, prompts, answers, ends):
        starts, rows = [], []
        for prompt, answer, end in zip(prompts, answers, ends):
            starts.append(len(self.tokenizer.encode(prompt).ids))
            rows.append(self.tokenizer.encode(f"{prompt} {answer}").ids + ([EOS] if end else []))
        width = max(map(len, rows))
        ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
        column = torch.arange(width)
        real = column < torch.tensor([len(row) for row in rows])[:, None]
        return ids, real, real & (column >= torch.tensor(starts)[:, None])


def prompt_of(question):
    """The plain frame; the answer follows after one space."""
    return f"User: {question}\nAssistant:"


def random_like(vectors, seed=0):
    """Random directions with the length of each block's vector."""
    noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(seed))
    return noise / noise.norm(dim=-1, keepdim=True) * vectors.norm(dim=-1, keepdim=True)


def _causal_mask(real):
    length = real.shape[1]
    visible = real[:, None, :] & torch.tril(torch.ones(length, length, dtype=torch.bool))
    visible = visible | torch.eye(length, dtype=torch.bool)
    return torch.zeros(visible.shape).masked_fill(~visible, float("-inf")).unsqueeze(1)


def _draw(logits, temperature, top_p, generator):
    probability = (logits / temperature).softmax(-1)
    ordered, index = probability.sort(-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered > top_p] = 0
    return index.gather(1, torch.multinomial(ordered, 1, generator=generator))[:, 0]
