#!/usr/bin/env python3
"""Check the contrast sets in this folder: format, duplicates, length balance, openings.

Usage: python3 contrasts/check.py [FILE.jsonl ...]      (exit status 1 if something is wrong)
"""
import collections
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
REQUIRED = {"prompt", "positive", "negative"}
OPTIONAL = {"id", "tags", "system"}
problems = []


def first_words(text, n):
    return " ".join(re.findall(r"[\w'’]+", text.lower())[:n])


def squash(text):
    return re.sub(r"\W+", " ", text.lower()).strip()


files = [pathlib.Path(a) for a in sys.argv[1:]] or sorted(HERE.glob("*.jsonl"))
prompts, ids, answers = {}, {}, {}
print(f"{'file':30} {'n':>4} {'words +':>8} {'words -':>8} {'+ longer':>9} "
      f"{'equal':>6} {'openings +':>11} {'openings -':>11}")
for path in files:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            sys.exit(f"{where}: not a JSON object: {error}")
        if not REQUIRED <= set(row) <= REQUIRED | OPTIONAL:
            sys.exit(f"{where}: required {sorted(REQUIRED)}, optional {sorted(OPTIONAL)}")
        rows.append(row)
        for key in ("prompt", "positive", "negative"):
            if not row[key] or row[key] != row[key].strip() or re.search(r"User:|Assistant:|\n", row[key]):
                problems.append(f"{where}: empty, padded or framed {key}")
        for seen, key in ((ids, row.get("id", where)), (prompts, squash(row["prompt"])),
                          (answers, squash(row["positive"])), (answers, squash(row["negative"]))):
            if key in seen:
                problems.append(f"{where}: repeats {seen[key]}: {key!r}")
            seen[key] = where
    if not rows:
        sys.exit(f"{path.name}: holds no contrast")
    pos = [len(r["positive"].split()) for r in rows]
    neg = [len(r["negative"].split()) for r in rows]
    mean_pos, mean_neg = sum(pos) / len(rows), sum(neg) / len(rows)
    longer = sum(a > b for a, b in zip(pos, neg)) / len(rows)
    openings = {}
    for side in ("positive", "negative"):
        for words in (1, 2):
            starts = collections.Counter(first_words(r[side], words) for r in rows)
            openings.setdefault(side, len(starts))
            word, count = starts.most_common(1)[0]
            if count > max(3, (0.13 if words == 1 else 0.08) * len(rows)):
                problems.append(f"{path.name}: {count} {side} answers open with {word!r}")
    print(f"{path.name:30} {len(rows):4} {mean_pos:8.1f} {mean_neg:8.1f} {longer:9.0%} "
          f"{sum(a == b for a, b in zip(pos, neg)):6} {openings['positive']:11} {openings['negative']:11}")
    if not path.name.startswith("verbose"):  # there, length is the axis
        if abs(mean_pos / mean_neg - 1) > 0.05:
            problems.append(f"{path.name}: mean lengths differ by more than 5 %")
        if not 0.4 <= longer <= 0.6:
            problems.append(f"{path.name}: positive longer in {longer:.0%} of contrasts")
        for row, a, b in zip(rows, pos, neg):
            if abs(a - b) > 0.4 * max(a, b):
                problems.append(f"{path.name}: {row['prompt']!r} has {a} words against {b}")

for problem in problems:
    print("PROBLEM", problem)
print("ok" if not problems else f"{len(problems)} problem(s)")
sys.exit(bool(problems))
