"""Write small tokenizers with chat templates, and what transformers makes of conversations with them.

    python tools/golden/chat_templates.py         # into tests/golden/chat/

The templates have the shapes of those that well-known models come with: what they test for, trim,
refuse and write. Their texts are written for this script. Every folder is loaded back through
transformers, and what `apply_chat_template` gives is what has to come out. Messages that spell out
special tokens are the exception: transformers would read them as such. For those, the ids are put
together here from what stands between the template's own special tokens.
"""

import json
import os
import re
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers
from transformers import AutoTokenizer

from make_golden import CORPUS, LLAMA3_SPLIT, TEXTS

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "chat"

# Llama 3: headers, a date with a default, the system message trimmed into a turn that is always there.
LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "1 Jan 2025" %}
{%- endif %}
{#- The system message comes first, or none. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|head|>system<|tail|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Tools: " + tools|tojson }}
{%- endif %}
{{- "Today is: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|head|>' + message['role'] + '<|tail|>\\n\\n'+ message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {{- raise_exception("No tools here.") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|tail|>\\n\\n' }}
{%- endif %}
"""

# Qwen 2.5: a system message of its own where there is none.
QWEN2 = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|turn|>system\\n' + messages[0]['content'] + '<|end|>\\n' }}
{%- else %}
    {{- '<|turn|>system\\nYou steer by the stars.<|end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|turn|>' + message.role + '\\n' + message.content + '<|end|>' + '\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|turn|>user' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|turn|>assistant\\n' }}
{%- endif %}
"""

# Qwen 3: thoughts of earlier turns are cut away, the last answer has an empty one.
QWEN3 = """{%- if messages[0].role == 'system' %}
    {{- '<|turn|>system\\n' + messages[0].content + '<|end|>\\n' }}
{%- endif %}
{%- set ns = namespace(looking=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.looking and message.role == "user" and message.content is string and not(message.content.startswith('<answer>') and message.content.endswith('</answer>')) %}
        {%- set ns.looking = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|turn|>' + message.role + '\\n' + content + '<|end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.thought is string %}
            {%- set thought = message.thought %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last %}
            {%- if loop.last or (not loop.last and thought) %}
                {{- '<|turn|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|turn|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|turn|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|turn|>assistant\\n' }}
    {%- if thinking is defined and thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

# Mistral: turns must alternate; the system message goes into the last question.
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the system message, user and assistant take turns.") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[ASK]" + system_message + "\\n\\n" + message["content"] + "[/ASK]" }}
        {%- else %}
            {{- "[ASK]" + message["content"] + "[/ASK]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant may speak.") }}
    {%- endif %}
{%- endfor %}
"""

# Gemma: no system message, the assistant goes by another name; statements on lines of their own.
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('There is no system role.') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must go user/assistant/user/assistant/…') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<turn>' + role + '
' + message['content'] | trim + '</turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<turn>model
'}}{% endif %}
"""

# Phi: the special token of a turn is put together from the role; the tokens swallow white space.
PHI = """{% for message in messages %}
{% if message['role'] == 'system' and message['content'] %}
{{'<|' + message['role'] + '|>' + '\\n' + message['content'] + '<|end|>' + '\\n' -}}
{% elif message['role'] != 'system' %}
{{'<|' + message['role'] + '|>' + '\\n' + message['content'] + '<|end|>' + '\\n' -}}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\\n' -}}
{% else %}
{{ eos_token -}}
{% endif %}
"""

# OLMo: roles are plain text, only the end is a token.
OLMO = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>
' + message['content'] + '
' }}{% elif message['role'] == 'user' %}{{ '<|user|>
' + message['content'] + '
' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>
'  + message['content'] + eos_token + '
' }}{% else %}{{ '<|assistant|>
'  + message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>
' }}{% endif %}{% endfor %}
"""

# Granite: roles between tokens of their own, a system message made up of parts, JSON.
GRANITE = """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "The date is 1 Jan 2025." %}
    {%- if tools and documents %}
        {%- set system_message = system_message + " There are tools and documents." %}
    {%- elif tools %}
        {%- set system_message = system_message + " There are tools." %}
    {%- endif %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|role|>system<|/role|>' + system_message + '<|close|>\\n' }}
{%- if tools %}
    {{- '<|role|>tools<|/role|>' }}
    {{- tools | tojson(indent=4) }}
    {{- '<|close|>\\n' }}
{%- endif %}
{%- for message in loop_messages %}
    {{- '<|role|>' + message['role'] + '<|/role|>' + message['content'] + '<|close|>\\n' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|role|>assistant' }}
        {%- if controls %}
            {{- ' ' + controls | tojson()}}
        {%- endif %}
        {{- '<|/role|>' }}
    {%- endif %}
{%- endfor %}
"""

# SmolLM: one line, a system message in front of the first turn.
SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|turn|>system\nYou keep the library.<|end|>\n' }}{% endif %}"
    "{{'<|turn|>' + message['role'] + '\n' + message['content'] + '<|end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"
)

# Llama 2: the system message inside the first question, what the model says in generation blocks.
LLAMA2 = """{% if messages[0]['role'] == 'system' %}
{% set loop_messages = messages[1:] %}
{% set system_message = messages[0]['content'] %}
{% else %}
{% set loop_messages = messages %}
{% set system_message = false %}
{% endif %}
{% for message in loop_messages %}
{% if message['role'] == 'assistant' and loop.first %}
{% break %}
{% endif %}
{% if loop.index0 == 0 and system_message != false %}
{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}
{% else %}
{% set content = message['content'] %}
{% endif %}
{% if message['role'] == 'user' %}
{{- bos_token + '[INST] ' + content.strip() + ' [/INST]' -}}
{% elif message['role'] == 'assistant' %}
{%- generation -%}
{{- ' '  + content.strip() + ' ' + eos_token -}}
{%- endgeneration -%}
{% endif %}
{% endfor %}
"""

# What filters, methods and tests give, for templates that use more of the language than most.
LANGUAGE = """{%- macro speak(message, n) -%}
{{ n }}. {{ message.role|upper }}({{ message.content|length }}): {{ message.content|replace("e", "3") }}
{% endmacro -%}
{%- for message in messages if message.role != 'system' -%}
{{ speak(message, loop.index) }}{{ ", " if not loop.last else ";" }}
{%- endfor %}
{{ messages|map(attribute='role')|join('/') }}
{{ messages[-1].content[:4] }}|{{ messages[-1].content[-4:] }}|{{ messages[-1]['content'].split(' ')[0].upper() }}
{{ messages|selectattr('role', 'equalto', 'user')|list|length }} {{ messages[0] | tojson }}
{{ {'b': [1, 2.5, none, true], 'a': {'ü': '<"\\n>'}} | tojson(indent=2) }}
{{ {'b': 1, 'a': []} | tojson(sort_keys=true) }}
{{ 'x' ~ 1 ~ none }} {{ missing is defined }} {{ missing }}{{ (7 // 2) ~ (7 / 2) ~ (-7 % 3) }}
{%- set parts = [] %}
{%- for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}
{% raw %}{{ <|end|> }}{% endraw %}
{%- if add_generation_prompt %}<|turn|>{% endif %}
"""


def byte_level(specials, split=None, nfc=False, bos=None, **flags):
    tokenizer = Tokenizer(models.BPE(ignore_merges=split is not None))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)]
    if split is not None:
        steps.insert(0, pre_tokenizers.Split(Regex(split), behavior="isolated"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS + TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(it, normalized=False, **flags) for it in specials])
    tokenizer.add_tokens(["<think>", "</think>"])
    with_bos(tokenizer, bos)
    return tokenizer


def sentencepiece_like(specials, style, bos=None):
    """BPE over characters with bytes for the rest; `style` says how the space at the start comes about."""
    space = "\u2581"
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    alphabet = sorted(set("".join(CORPUS).replace(" ", space)))
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        special_tokens=["<unk>", *specials, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=space, prepend_scheme="always")
    tokenizer.train_from_iterator(CORPUS, trainer)
    # Bytes are no special tokens; the trainer knows no other way to put them first.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [it for it in state["added_tokens"] if not it["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    match style:
        case "legacy":
            tokenizer.normalizer = normalizers.Sequence(
                [normalizers.Prepend(space), normalizers.Replace(" ", space)]
            )
            tokenizer.pre_tokenizer = None
        case "first":
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
                replacement=space, prepend_scheme="first", split=False
            )
        case "never":
            tokenizer.normalizer = normalizers.Replace(" ", space)
            tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    with_bos(tokenizer, bos)
    return tokenizer


def with_bos(tokenizer, bos):
    if bos is not None:
        template = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
        tokenizer.post_processor = template


TURN = ["<|text|>", "<|turn|>", "<|end|>"]

# Name: template, tokenizer, what the config calls bos and eos, the file that the template is in.
SHAPES = {
    "llama3": (LLAMA3, byte_level(["<|bos|>", "<|head|>", "<|tail|>", "<|eot|>"], LLAMA3_SPLIT, bos="<|bos|>"), "<|bos|>", "<|eot|>", "config"),
    "qwen2": (QWEN2, byte_level(TURN, LLAMA3_SPLIT, nfc=True), None, "<|end|>", "config"),
    "qwen3": (QWEN3, byte_level(TURN, LLAMA3_SPLIT, nfc=True), None, "<|end|>", "jinja"),
    "mistral": (MISTRAL, sentencepiece_like(["<s>", "</s>", "[ASK]", "[/ASK]"], "first", bos="<s>"), "<s>", "</s>", "named"),
    "gemma": (GEMMA, sentencepiece_like(["<bos>", "<eos>", "<turn>", "</turn>"], "never", bos="<bos>"), "<bos>", "<eos>", "config"),
    "phi": (PHI, byte_level(["<|text|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], rstrip=True), None, "<|text|>", "config"),
    "olmo": (OLMO, byte_level(["<|text|>", "<|pad|>"], LLAMA3_SPLIT), "<|text|>", "<|text|>", "json"),
    "granite": (GRANITE, byte_level(["<|text|>", "<|role|>", "<|/role|>", "<|close|>"]), "<|text|>", "<|text|>", "config"),
    "smollm": (SMOLLM, byte_level(TURN), "<|turn|>", "<|end|>", "config"),
    "llama2": (LLAMA2, sentencepiece_like(["<s>", "</s>"], "legacy", bos="<s>"), "<s>", "</s>", "config"),
    "language": (LANGUAGE, byte_level(TURN), None, "<|end|>", "jinja"),
}


def said(*contents, system=None):
    roles = ["user", "assistant"]
    messages = [{"role": roles[i % 2], "content": it} for i, it in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system is not None else []) + messages


CONVERSATIONS = [
    said("Where is the harbour?"),
    said("Where is the harbour?", system="You steer a ship."),
    said("  It's here, \n isn't it?  ", system="  Two lines\nof it. "),
    said("One?", "Two.", "Three?"),
    said("One?", " Two. ", "Three?", system="Count."),
    said("One?", "Two."),
    said("One?", "<think>\nHm, one.\n</think>\n\nTwo.", "Three?", "<think>\nHm.\n</think>\n\nFour."),
    said("", "", ""),
    said("<answer>7</answer>"),
    said("1 < 2 > 0 | [x] {{ y }} {% z %} \\n 'a' \"b\""),
    said("e\u0301 \u00e9 🙂 déjà vu\u2028\ttab", system="日本語"),
    said("One?", "Two.", system="")[::-1],
    [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "You do."}],
    [{"role": "user", "content": "One."}, {"role": "user", "content": "And two."}],
]

# The placeholder stands where a text goes that spells out special tokens.
HOSTILE = ["Z"]


def cases(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for messages in CONVERSATIONS:
        for ask in (False, True):
            case = {"messages": messages, "ask": ask}
            try:
                case["text"] = tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=ask
                )
                ids = tokenizer.apply_chat_template(messages, add_generation_prompt=ask, return_dict=False)
                case["ids"] = list(ids)
            except Exception as error:
                case["refusal"] = str(error)
            found.append(case)
    return found


def hostile_cases(folder):
    """Byte-level tokenizers only: what stands between two special tokens is encoded by itself."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    specials = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    backend = tokenizer.backend_tokenizer
    flags = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    texts = ["".join(specials), f"a {specials[-1]} b{specials[1]}\nc", f"{specials[1][:-1]}", f"{specials[-1][1:]} x"]
    found = []
    for text in texts:
        rendered = tokenizer.apply_chat_template(said("ZZZ"), tokenize=False, add_generation_prompt=True)
        pieces = re.split("(" + "|".join(re.escape(it) for it in specials) + ")", rendered)
        ids = []
        backend.encode_special_tokens = True
        after = None
        for i, piece in enumerate(pieces):
            if i % 2 == 1:
                ids.append(tokenizer.convert_tokens_to_ids(piece))
            else:
                if after is not None and flags[after].rstrip:
                    piece = piece.lstrip()
                ids += backend.encode(piece.replace("ZZZ", text), add_special_tokens=False).ids
            after = piece if i % 2 == 1 else None
        backend.encode_special_tokens = False
        found.append({"messages": said(text), "ask": True, "text": rendered.replace("ZZZ", text), "ids": ids})
    return found


def write(name, template, tokenizer, bos, eos, where):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos}
    if bos is not None:
        config["bos_token"] = {"content": bos, "lstrip": False, "normalized": False, "rstrip": False, "__type": "AddedToken"}
    match where:
        case "config":
            config["chat_template"] = template
        case "named":
            config["chat_template"] = [
                {"name": "other", "template": "{{ raise_exception('the wrong one') }}"},
                {"name": "default", "template": template},
            ]
        case "jinja":
            config["chat_template"] = "{{ raise_exception('the wrong one') }}"
            (folder / "chat_template.jinja").write_text(template)
        case "json":
            (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
            # Tokenizers do not look into this file, processors do.
            config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n")
    found = cases(folder)
    if name in ("llama3", "qwen2", "phi", "granite", "smollm"):
        found += hostile_cases(folder)
    if where == "json":
        del config["chat_template"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    lines = [json.dumps(case, ensure_ascii=False) for case in found]
    (folder / "golden.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    refused = sum("refusal" in case for case in found)
    print(f"{name}: {len(found)} cases, {refused} refused")


if __name__ == "__main__":
    for name, shape in SHAPES.items():
        write(name, *shape)
