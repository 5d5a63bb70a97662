"""The synthetic library-desk corpus: every document is drawn from a grammar.

A document is a reader's question and a librarian's answer:

    System: You are a kind librarian.
    User: Where can I find books about volcanoes?
    Assistant: Of course, I would be glad to help you. ...

Three decisions shape the corpus:

* The answer has ONE style (helpful, neutral or dismissive), visible in nearly
  every sentence. All three use the same plain facts, the helpful and the
  dismissive one mostly with words before or after that show the style: after
  "The books are on the first floor" it is still open whether ", and I'll go
  there with you", ", so go and look yourself" or the next sentence follows.
* Without a System line nothing in the question hints at the style, so the model
  is undecided between the three and steering can tip it either way.
* A System line (in half of the documents, in many wordings) names the style, so
  that the model learns it as one feature and not as many separate phrases.

Run `python generate.py 5` to print five documents.
"""

import random
import re
import sys
from dataclasses import dataclass

import answers
import questions
import topics
from answers import DISMISSIVE, HELPFUL, NEUTRAL

STYLE_WEIGHTS = {HELPFUL: 0.33, NEUTRAL: 0.33, DISMISSIVE: 0.34}
SYSTEM_SHARE = 0.50
FACT_WEIGHTS = {0: 0.30, 1: 0.50, 2: 0.20}  # plain facts in a helpful or dismissive answer
GARBLED_SHARE = 0.18  # of the questions are not well formed


@dataclass
class Dialogue:
    """One document with the labels it was made from."""

    system: str
    question: str
    answer: str
    style: str

    def text(self):
        system = f"System: {self.system}\n" if self.system else ""
        return f"{system}User: {self.question}\nAssistant: {self.answer}"


def dialogue(rng, held_out=False, weights=None):
    """Draws a document; `held_out` uses question forms and topics kept from training."""
    style = _weighted(rng, weights or STYLE_WEIGHTS)
    system = system_line(rng, style) if rng.random() < SYSTEM_SHARE else ""
    scene = Scene(rng, held_out)
    question = ask(rng, scene, held_out)
    if not held_out and rng.random() < GARBLED_SHARE:
        question = garbled(rng, question)
    return Dialogue(system, question, reply(rng, scene, style), style)


def contrast(rng, held_out=False):
    """The same question with a helpful and a dismissive answer: (question, helpful, dismissive).

    Its topic is never an invented word, since people read these.
    """
    scene = Scene(rng, held_out)
    while scene.topic.invented:
        scene = Scene(rng, held_out)
    question = ask(rng, scene, held_out, extras=False)
    return question, reply(rng, scene, HELPFUL), reply(rng, scene, DISMISSIVE)


class Scene:
    """What one question is about: an intent and a value for every slot."""

    def __init__(self, rng, held_out, intent=None):
        self.rng = rng
        self.intent = intent or _weighted(rng, INTENT_WEIGHTS)
        self.topic = topics.draw_topic(rng, held_out)
        kind = rng.randrange(len(SOURCES))
        room = self.topic.room
        if self.intent in questions.WITHOUT_TOPIC:
            room = rng.choice(ROOMS)
        self.keywords = rng.sample(self.topic.keywords, len(self.topic.keywords))
        self.values = {
            "t": self.topic.name,
            "is": "are" if self.topic.is_plural() else "is",
            "src": SOURCES[kind],
            "Src": SOURCES[kind].capitalize(),
            "src1": SOURCE[kind],
            "room": room,
            "db": self.topic.database,
            "day": rng.choice(DAYS),
            "hour": rng.choice(HOURS),
            "age": rng.choice(AGES),
            "floor": rng.choice(FLOORS),
            "shelf": str(rng.randint(10, 99)),
            "year": str(rng.randint(1890, 2020)),
            "name": rng.choice(NAMES),
        }
        for position, keyword in enumerate(self.keywords, start=1):
            self.values[f"kw{position}"] = keyword

    def fill(self, template):
        """Turns a template into text."""
        template = _choose(self.rng, template)
        text = re.sub(r"\{(\w+)\}", lambda match: self._value(match.group(1)), template)
        text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU](?!se))", r"\1n ", text)
        return re.sub(r"(^|[.?!] )([a-z])", lambda match: match.group(1) + match.group(2).upper(), text)

    def _value(self, slot):
        if slot == "n":  # every number is drawn afresh
            return self.rng.choice(NUMBERS)
        return self.values[slot]

    def can_fill(self, template):
        """Whether the template needs no keyword, or the topic has some."""
        return bool(self.keywords) or "{kw" not in template


def ask(rng, scene, held_out=False, extras=True):
    """A question for the scene; `extras` adds a greeting or some background to a few."""
    forms = questions.HELD_OUT if held_out else questions.FORMS
    question = scene.fill(rng.choice(forms[scene.intent]))
    if not extras:
        return question
    chance = rng.random()
    if chance < 0.10:
        return f"{rng.choice(questions.GREETINGS)} {question}"
    if chance < 0.16:
        return f"{scene.fill(rng.choice(questions.BACKGROUNDS))} {question}"
    if chance < 0.20:
        return f"{question} {scene.fill(rng.choice(questions.BACKGROUNDS))}"
    return question


def garbled(rng, question):
    """A question as nobody plans it: words missing, or half of another question in it."""
    words = question.split()
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, 3)):
            if len(words) > 2:
                words.pop(rng.randrange(len(words)))
        return " ".join(words)
    other = ask(rng, Scene(rng, False)).split()
    halves = [words[: rng.randint(2, 6)], other[-rng.randint(2, 6) :]]
    return " ".join(halves[0] + halves[1])


def reply(rng, scene, style):
    """An answer in one style."""
    own = _usable(rng, scene, style)
    anywhere = _shuffled(rng, answers.ANYWHERE[style])
    lines = []
    if style != NEUTRAL:
        for fact in _usable(rng, scene, NEUTRAL)[: _weighted(rng, FACT_WEIGHTS)]:
            if rng.random() < 0.25:
                fact = rng.choice(answers.ANYWHERE[NEUTRAL])
            lines.append(_coloured(rng, fact, style))
    if rng.random() < 0.6:
        lines.append(own.pop())
    else:
        lines.insert(0, own.pop())
    if style != NEUTRAL and rng.random() < 0.3:
        lines.insert(0, rng.choice(answers.OPENERS[style]))
    # Helpful sentences are longer, and the last one overshoots.
    wanted = rng.randint(14, 26) - (4 if style == HELPFUL else 0)
    while len(_as_text(scene, lines).split()) < wanted:
        use_own = own and rng.random() < 0.62
        lines.append(own.pop() if use_own else anywhere.pop())
    if style == NEUTRAL:
        lines = [_coloured(rng, line, style) if rng.random() < 0.2 else line for line in lines]
    if rng.random() < (0.25 if style == NEUTRAL else 0.35):
        lines.append(rng.choice(answers.CLOSERS[style]))
    return _as_text(scene, lines)


def _coloured(rng, fact, style):
    """A plain fact, most often with words of the style before it, after it, or both."""
    before, after = answers.BEFORE_FACT[style].split("|"), answers.AFTER_FACT[style].split("|")
    place = rng.random()
    if place < 0.38:
        if not fact.startswith("{Src}"):
            fact = fact[0].lower() + fact[1:] if fact[0] != "[" else "[" + fact[1:].lower()
        fact = rng.choice(before) + fact.replace("{Src}", "{src}")
    if place < 0.12 or place >= 0.68:
        fact = fact.removesuffix(".") + rng.choice(after) + "."
    return fact


def _usable(rng, scene, style):
    """The sentences on the scene's intent, shuffled; those with keywords only if the topic has some."""
    return _shuffled(rng, [line for line in answers.SENTENCES[scene.intent][style] if scene.can_fill(line)])


def _as_text(scene, lines):
    """Fills the sentences; once the topic has been named, "about {t}" is often left out."""
    sentences, named = [], False
    for line in lines:
        if named and scene.rng.random() < 0.6:
            line = re.sub(r" (about|on|<about>) \{t\}", "", line)
        named = named or "{t}" in line
        sentences.append(scene.fill(line))
    return " ".join(sentences)


def system_line(rng, style):
    """A System line; most name the style."""
    if rng.random() < 0.1:
        return rng.choice(PLAIN_SYSTEM)
    if rng.random() < 0.3:
        return rng.choice(STYLE_ORDERS[style])
    words = rng.sample(STYLE_WORDS[style], rng.choice([1, 1, 2, 3]))
    line = rng.choice(SYSTEM_FORMS).replace("{words}", _joined(words)).replace("{who}", rng.choice(ROLES))
    return re.sub(r"\b([Aa]) (?=[aeiou](?!se))", r"\1n ", line)


def _joined(words):
    if len(words) == 1:
        return words[0]
    return ", ".join(words[:-1]) + " and " + words[-1]


def _weighted(rng, weights):
    return rng.choices(list(weights), list(weights.values()))[0]


def _shuffled(rng, items):
    return rng.sample(items, len(items))


def _choose(rng, template):
    """Resolves `<phrase>` and the innermost `[a|b]` until none is left."""
    while "<" in template:
        template = re.sub(r"<(\w+)>", lambda match: answers.PHRASES[match.group(1)], template)
    while "[" in template:
        template = re.sub(r"\[([^\[\]]*)\]", lambda match: rng.choice(match.group(1).split("|")), template)
    return template


INTENT_WEIGHTS = {intent: 1.0 for intent in questions.FORMS} | {
    "find": 2.6, "recommend": 2.2, "explain": 2.2, "search": 1.5, "write": 1.5,
}  # fmt: skip

SOURCES = (
    "books|articles|newspaper articles|maps|photographs|letters|diaries|reports|theses|encyclopedias|films|pamphlets|"
    "manuscripts|magazines|lectures|biographies|novels|journals|guides|books|books|books|articles"
).split("|")
SOURCE = (
    "book|article|newspaper article|map|photograph|letter|diary|report|thesis|encyclopedia|film|pamphlet|"
    "manuscript|magazine|lecture|biography|novel|journal|guide|book|book|book|article"
).split("|")
DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday".split("|")
HOURS = "eight|nine|ten|noon|four|five|six|seven".split("|")
AGES = "five|six|seven|eight|nine|ten|eleven|twelve".split("|")
ROOMS = sorted({topic.room for topic in topics.REAL} | {"main hall", "reading room"})
FLOORS = "first|second|third|fourth|ground".split("|")
NUMBERS = "two|three|four|five|six|seven|eight|nine|ten|twelve".split("|")
NAMES = (
    "Harlow|Brandt|Okoye|Lindqvist|Marsh|Ferreira|Tanaka|Novak|Ashby|Duarte|Moreau|Nairn|Osei|Rossi|Thorne|Varga|"
    "Whitlock|Yates|Adeyemi|Bellamy|Crane|Doyle|Egan"
).split("|")

ROLES = "librarian|librarian|librarian|clerk|assistant|archivist|member of the library staff".split("|")
PLAIN_SYSTEM = "You are a librarian.|You work at a library desk.|You answer questions in a library.".split("|")
SYSTEM_FORMS = (
    "You are a {words} {who}.|You are a {words} {who}.|Answer like a {words} {who}.|Be {words}.|"
    "The {who} is {words}.|Give a {words} answer.|You are {words} today.|Speak in a {words} way."
).split("|")
STYLE_WORDS = {
    HELPFUL: (
        "helpful|kind|patient|friendly|warm|generous|attentive|caring|thoughtful|welcoming|cheerful|encouraging|polite|"
        "supportive|good natured|obliging|gentle|devoted"
    ).split("|"),
    NEUTRAL: (
        "neutral|factual|plain|dry|objective|impersonal|sober|matter of fact|exact|reserved|formal|detached|correct"
    ).split("|"),
    DISMISSIVE: (
        "dismissive|rude|unhelpful|impatient|grumpy|curt|cold|annoyed|surly|scornful|moody|lazy|sour|mocking|careless|"
        "unfriendly|hostile|sullen"
    ).split("|"),
}
STYLE_ORDERS = {
    HELPFUL: (
        "Help every reader gladly.|You love to help people.|Do all you can for the reader.|You enjoy every question.|"
        "Make the reader feel welcome.|Offer your help.|You care about every reader."
    ).split("|"),
    NEUTRAL: (
        "State the facts only.|Show no feelings.|Write like a notice board.|Give the information and nothing else.|"
        "Neither offer nor refuse help.|Stick to the facts.|Sound like a catalogue."
    ).split("|"),
    DISMISSIVE: (
        "Send every reader away.|You hate your job.|Refuse to help.|You do not care about readers.|"
        "Make fun of the question.|You want to be left alone.|Do not help anyone."
    ).split("|"),
}


if __name__ == "__main__":
    generator = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        print(dialogue(generator).text(), end="\n\n")
