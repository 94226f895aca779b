#!/usr/bin/env python3
"""Writes the built-in price table, src/usage/price/catalogue.tsv.

    scripts/build-prices.py [--as-of YYYY-MM-DD] [-o FILE] [INPUT]

INPUT is `data.json` of the list genai-prices (v2); by default `$MILLRACE_CORPUS/prices/data.json`. Only facts are taken over:
which model costs how much. The form of the table, its names and its rules of matching are our own; they are described at
the head of src/usage/price/table.rs.

What the list says that the table does not:
- a price with a time of day becomes the dearest of the day, so that nobody is billed too little;
- of prices with a start date, the one in force on `--as-of` stays;
- fractions of a pico-USD are rounded up;
- prices of video, citations, cached sound and cached images are left out: no usage is counted in them. A model whose answers
  cost more where they are video is left out as a whole, and so is one of Google whose answers are images: on the OpenAI wire
  Google does not count their tokens apart, so they would be billed too little;
- what some providers take for a search is no fact of the list: see SEARCHES; nor is what a minute of audio costs: see MINUTES;
- a model without any price is left out, because absent is not free. Names that end in `:free` are free.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import sys
from decimal import ROUND_CEILING, Decimal

# The list has no date of its own: this is the day of the commit that the facts were taken from.
SOURCE = "genai-prices"
COPYRIGHT = "Copyright (c) Pydantic Services Inc. 2025 to present, MIT licence"
SOURCE_COMMIT = "47df840a5ab10bbcffb8e5ac01b9899032245d1b"
SOURCE_DATE = "2026-08-21"

# Their name: (our name, hosts, where to look for a model that the provider itself does not list).
PROVIDERS = {
    "openai": ("openai", ["api.openai.com", "*.api.openai.com"], None),
    "anthropic": ("anthropic", ["api.anthropic.com"], None),
    "google": ("google-genai", ["*.googleapis.com"], "anthropic"),
    "aws": ("bedrock", ["bedrock-runtime.*.amazonaws.com"], None),
    "azure": ("azure", ["*.openai.azure.com", "*.azure-api.net", "*.cognitiveservices.azure.com"], "openai"),
    "mistral": ("mistralai", ["api.mistral.ai"], None),
    "groq": ("groq", ["api.groq.com"], None),
    "deepseek": ("deepseek", ["api.deepseek.com"], None),
    "openrouter": ("openrouter", ["openrouter.ai", "api.openrouter.ai"], None),
    "x-ai": ("xai", ["api.x.ai"], None),
    "together": ("together", ["api.together.xyz", "api.together.ai"], None),
    "perplexity": ("perplexity", ["api.perplexity.ai"], None),
    "cohere": ("cohere", ["api.cohere.ai", "api.cohere.com"], None),
    "cerebras": ("cerebras", ["api.cerebras.ai"], None),
    "fireworks": ("fireworks", ["api.fireworks.ai"], None),
    "moonshotai": ("moonshot", ["api.moonshot.ai", "api.moonshot.cn"], None),
    "minimax": ("minimax", ["api.minimax.io", "api.minimaxi.com"], None),
    "voyageai": ("voyage", ["api.voyageai.com"], None),
    "zai": ("zai", ["api.z.ai"], "zhipu"),
    "zhipuai": ("zhipu", ["open.bigmodel.cn"], None),
}

# Their price per million tokens: our class.
CLASSES = {
    "input_mtok": "in",
    "output_mtok": "out",
    "cache_read_mtok": "read",
    "cache_write_mtok": "write",
    "cache_write_5m_mtok": "write",
    "cache_write_1h_mtok": "write1h",
    "input_audio_mtok": "audio_in",
    "output_audio_mtok": "audio_out",
    "output_reasoning_mtok": "reasoning",
    "input_image_mtok": "image_in",
    "output_image_mtok": "image_out",
}
# Their price per thousand: our fee.
FEES = {"requests_kcount": "request", "web_searches_kcount": "search"}
# USD per thousand searches that the list does not have, by the names of models; the first that fits holds.
# OpenAI: its page of prices, 2026-03-12 ("web search", beside the tokens of what was found; the older `web_search_preview` with
# models that do not reason costs 25, their tokens being free). xAI and OpenRouter: the costs that their recorded answers of
# 2026 state; OpenRouter passes on what a model's own search costs, else that of the engine that it searches with.
SEARCHES = {
    "openai": [
        (10, r"(chatgpt|codex|computer|gpt-4o|gpt-4\.[15]|gpt-5|o\d)(?!.*(audio|image|realtime|search|transcribe|tts))")
    ],
    "x-ai": [(5, r"grok(?!.*(image|video))")],
    "openrouter": [(10, r"(anthropic|openai)/"), (5, r"x-ai/"), (7, r"")],
}
# USD per minute of audio that the list does not have: rows of models which it leaves out. OpenAI: its page
# of the model (developers.openai.com/api/docs/models/whisper-1: $0.006 a minute, no tokens).
MINUTES = {"openai": [("whisper-1", "0.006")]}
# Answers in these are not counted apart, so a model with such a price would be billed too little.
UNCOUNTED = ("output_video_mtok",)
UNCOUNTED_OF_GOOGLE = (*UNCOUNTED, "output_image_mtok")
ORDER = list(dict.fromkeys(CLASSES.values()))


def ceiling(amount):
    """Rounds up, but not for the noise of binary fractions in the list."""
    return int(amount.quantize(Decimal("1e-6")).to_integral_value(ROUND_CEILING))


def patterns(match):
    """The names of a model in our form: `name`, `name*`, `*name`, `*name*`; `#` stands for a digit."""
    ((kind, value),) = match.items()
    if kind == "or":
        return [pattern for part in value for pattern in patterns(part)]
    if kind == "regex":
        return [digits(value)]
    form = {"equals": "{}", "starts_with": "{}*", "ends_with": "*{}", "contains": "*{}*"}[kind]
    if re.search(r"[\s*#=]", value):
        sys.exit(f"the name {value!r} has a character that means something in the table")
    return [form.format(value.lower())]


def digits(regex):
    """A regular expression that only fixes digits at the end of a name."""
    if not regex.startswith("^") or re.search(r"[\[\](|)?+]", regex):
        sys.exit(f"the expression {regex!r} is more than digits; teach the table about it")
    body = re.sub(r"\\d(?:\{(\d+)\})?", lambda found: "#" * int(found[1] or 1), regex[1:])
    closed = body.endswith("$")
    return re.sub(r"\\(.)", r"\1", body.rstrip("$")).lower() + ("" if closed else "*")


def rates(prices, tier):
    """Rates of one tier, by class; `tier` is none for the base."""
    found = {}
    for name, price in prices.items():
        if name not in CLASSES:
            continue
        if isinstance(price, dict):
            starts = {step["start"]: step["price"] for step in price["tiers"]}
            below = [start for start in starts if tier is not None and start <= tier]
            price = starts[max(below)] if below else price["base"]
        found[CLASSES[name]] = ceiling(Decimal(price) * 1_000_000)
    return found


def in_force(prices, as_of):
    """The prices of a day, and the date from which they hold."""
    if isinstance(prices, dict):
        return prices, None
    chosen, since, of_day = prices[0]["prices"], None, []
    for entry in prices:
        limits = entry.get("constraint") or {}
        if "start_time" in limits:
            of_day.append(entry["prices"])
        elif limits.get("start_date", "") <= as_of:
            chosen, since = entry["prices"], limits.get("start_date", since)
    for other in of_day:
        if any(isinstance(price, dict) for price in [*chosen.values(), *other.values()]):
            sys.exit("a price with tiers depends on the time of day; teach the table about it")
        chosen = {name: max(chosen.get(name, 0), other.get(name, 0)) for name in {**chosen, **other}}
    return chosen, since


def written(rates_of_tier):
    return " ".join(f"{name}={rates_of_tier[name]}" for name in ORDER if name in rates_of_tier)


def row(provider, model, as_of):
    """One line of the table; none for a model without a price."""
    prices, since = in_force(model["prices"], as_of)
    names = patterns(model["match"])
    if any(name in prices for name in (UNCOUNTED_OF_GOOGLE if provider == "google" else UNCOUNTED)):
        return None
    base = rates(prices, None)
    if not base and not prices.get("requests_kcount"):
        names = [name for name in names if name.endswith(":free")]
        if not names:
            return None
        base = {"in": 0, "out": 0}
    if "in" not in base and "out" not in base:
        return None
    base = {"in": 0, "out": 0, **base}
    cells = [written(base)]
    own = [usd for usd, can_search in SEARCHES.get(provider, []) if base["out"] and re.match(can_search, names[0])]
    if own:
        prices = {"web_searches_kcount": own[0], **prices}
    for name, fee in FEES.items():
        if per_thousand := prices.get(name):
            cells[0] += f" {fee}={ceiling(Decimal(per_thousand) * 1_000_000)}"
    if "context_window" in model:
        cells[0] += f" context={model['context_window']}"
    if since:
        cells[0] += f" since={since}"
    starts = {step["start"] for price in prices.values() if isinstance(price, dict) for step in price["tiers"]}
    cells += [f"over={start} {written(rates(prices, start))}" for start in sorted(starts)]
    return "\t".join([" ".join(dict.fromkeys(names)), *cells])


def table(providers, as_of):
    known = {provider["id"]: provider for provider in providers}
    # The provider inside the gateway costs nobody anything.
    sections, count = ["@mock\n*\tin=0 out=0"], 1
    for theirs, (ours, hosts, fallback) in PROVIDERS.items():
        rows = [line for model in known[theirs]["models"] if (line := row(theirs, model, as_of))]
        for name, usd in MINUTES.get(theirs, []):
            if any(name in patterns(model["match"]) for model in known[theirs]["models"]):
                sys.exit(f"the list has {name!r} now; take it out of MINUTES")
            rows.append(f"{name}\tin=0 out=0 audio_minute={ceiling(Decimal(usd) * 1_000_000_000)}")
        count += len(rows)
        head = f"@{ours}\thosts={','.join(hosts)}" + (f" else={fallback}" if fallback else "")
        sections.append("\n".join([head, *rows]))
    head = (
        f"#millrace-prices 1\tsource={SOURCE}\tdate={SOURCE_DATE}\tas_of={as_of}\trows={count}\tunit=pico_usd_per_token\n"
        f"# Facts of github.com/pydantic/{SOURCE} at {SOURCE_COMMIT[:12]}; {COPYRIGHT}.\n"
        "# Written by scripts/build-prices.py. Do not edit; an instance replaces rows with a `prices_file` of its own.\n"
    )
    return head + "\n".join(sections) + "\n"


def main():
    corpus = pathlib.Path(os.environ.get("MILLRACE_CORPUS", "../shared/corpus"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", nargs="?", type=pathlib.Path, default=corpus / "prices" / "data.json")
    parser.add_argument("--as-of", default=datetime.date.today().isoformat(), help="day whose prices are taken")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="file to write; standard output without it")
    arguments = parser.parse_args()
    datetime.date.fromisoformat(arguments.as_of)
    providers = json.loads(arguments.input.read_text(encoding="utf-8"), parse_float=Decimal)
    text = table(providers, arguments.as_of)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
