"""Writes the contrasts and the held-out questions that ship with the model.

`python sets.py FOLDER` writes contrasts.jsonl, contrasts-heldout.jsonl and
questions-heldout.txt. Held-out sets use only question forms and topics that no
training document has, and the questions and the held-out contrasts share none.
"""

import json
import random
import re
import sys
from pathlib import Path

import generate
import handwritten
import questions

FROM_GRAMMAR, FROM_GRAMMAR_HELD_OUT = 56, 24


def main(folder):
    contrasts = _numbered("c", handwritten.CONTRASTS + _drawn(random.Random(101), FROM_GRAMMAR, False, set()))
    taken = set(NICE)
    heldout = _numbered("h", handwritten.HELD_OUT_CONTRASTS + _drawn(random.Random(102), FROM_GRAMMAR_HELD_OUT, True, taken))
    _write_contrasts(folder / "contrasts.jsonl", contrasts)
    _write_contrasts(folder / "contrasts-heldout.jsonl", heldout)
    taken |= {contrast["prompt"] for contrast in heldout}
    asked = NICE + held_out_questions(random.Random(103), 72 - len(NICE), taken)
    for question in asked + [contrast["prompt"] for contrast in heldout]:
        if _has_training_form(question):
            raise SystemExit(f"not held out: {question}")
    (folder / "questions-heldout.txt").write_text("\n".join(asked) + "\n")


# Written by hand, the first eight are shown first. All are about held-out topics
# or none; some use held-out forms of the grammar, some no form of it at all.
NICE = [
    "I keep hearing about comets. What is it all about?",
    "Where does the library keep its books about castles?",
    "If I read only one thing about whales, what should it be?",
    "My little cousin keeps asking about dinosaurs. What can I give her?",
    "I have too many ideas about jazz. How do I choose?",
    "I returned my book late. Do I owe money?",
    "Is there somewhere I can read without noise?",
    "Which search terms work for the silk road?",
    "What should everyone know about lighthouses?",
    "I have to collect maps on old vineyards by Friday. What should I do?",
    "What makes an article about banking trustworthy?",
    "Someone else has the guide about sailing. Can I get in line?",
    "May I borrow two novels about pirates over the holidays?",
    "How do I explain memory to a child of nine?",
    "I get only old articles when I search for dialects. Why?",
    "What would be an interesting angle on chocolate?",
    "Could the library buy a new book about pottery?",
    "I am not sure how to write a reference for a lecture on juries.",
    "What original material do you hold on steam engines?",
    "Until what time can I stay on Tuesday?",
    "The printer is out of paper. Who can fill it?",
    "Is there a computer with a big screen?",
    "We are six people and need a room on Thursday.",
    "I would like to join the library. What do I need?",
    "A page of my novel is torn. Do I have to pay?",
    "Somebody left a phone in the arts room. Where do I hand it in?",
    "Is there a place to have lunch?",
    "What is going on in the library this week?",
    "I have a free weekend and want to read about owls. What do you recommend?",
    "My biography on a famous pirate seems old. Does that matter?",
    "Is there a way to get letters on trams sent here?",
    "How old are your oldest photographs about bicycles?",
    "Please show me the way to the books about fossils.",
    "Would a beginner enjoy your books about chess?",
    "My neighbour wants to know more about caves. What do you have for him?",
    "How did people learn about comets long ago?",
    "I dreamed about dinosaurs last night and want to read more.",
    "Are the fountains in our town mentioned in any book?",
    "We are planning a trip to some castles. Which guide should we take?",
    "I heard that you have a film about parrots.",
    "Help me understand banking, please.",
    "Which floor should I visit if I like jazz?",
    "I need something about kites before lunch.",
    "My train leaves soon. Can you quickly find me a book about bones?",
    "Does anyone here know about the violin?",
    "I want to surprise my father with a book about sailing.",
]


def held_out_questions(rng, count, taken):
    """Ordinary questions in turn from every intent, none of them in `taken`."""
    found, taken = [], set(taken)
    intents, turn = list(questions.FORMS), 0
    while len(found) < count:
        scene = generate.Scene(rng, True, intents[turn % len(intents)])
        question = generate.ask(rng, scene, held_out=True, extras=False)
        turn += 1
        if question not in taken and len(scene.topic.name) <= 24:
            taken.add(question)
            found.append(question)
    return found


def _drawn(rng, count, held_out, taken):
    """Contrasts from the grammar whose two answers have almost the same number of words."""
    found, seen = [], set(taken)
    while len(found) < count:
        question, helpful, dismissive = generate.contrast(rng, held_out)
        words = len(helpful.split()), len(dismissive.split())
        if question in seen or abs(words[0] - words[1]) > 4 or max(words) > 34:
            continue
        seen.add(question)
        found.append((question, helpful, dismissive))
    return found


def _has_training_form(question):
    """Whether some question form of the training grammar could have made this question."""
    for forms in questions.FORMS.values():
        for form in forms:
            pattern = re.sub(r"[.?+]", lambda match: "\\" + match.group(), form.replace("{is}", "[is|are]"))
            pattern = pattern.replace("[", "(?:").replace("]", ")")
            pattern = re.sub(r"\{\w+\}", lambda _: r"(?:[\w']+ ){0,4}[\w']+", pattern)  # up to five words
            if re.fullmatch(pattern, question):
                return True
    return False


def _numbered(letter, rows):
    return [
        {"id": f"{letter}{number:02}", "prompt": question, "positive": helpful, "negative": dismissive}
        for number, (question, helpful, dismissive) in enumerate(rows, start=1)
    ]


def _write_contrasts(path, contrasts):
    words = {side: sum(len(row[side].split()) for row in contrasts) / len(contrasts) for side in ("positive", "negative")}
    print(f"{path.name}: {len(contrasts)} contrasts, mean words {words['positive']:.1f} / {words['negative']:.1f}")
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in contrasts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
