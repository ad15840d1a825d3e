"""How many records there are, what is refused, how long they are and how large their pictures."""

from collections import Counter
from collections.abc import Sequence

from data.survey.measure import Measures
from data.survey.table import Part, Table, at_percent, percentiles, share
from training.utils.data.entries import Entries
from training.utils.data.failures import Failure, by_reason
from training.utils.model.image_settings import pixel_limit

NUM_LABELS = 10  # that are listed
MANY_CUT = 0.01  # share of answers


def counts(entries: Entries, found: Sequence[Measures], failures: Sequence[Failure]) -> Part:
    """Records by what they hold, and by the file that they are from."""
    groups: dict[str, list[Measures]] = {"all": list(found)}
    if len(entries.shards) > 1:
        groups |= {shard.name: [] for shard in entries.shards}
        for each in found:
            groups[entries.shard(each.place).name].append(each)
    refused = Counter({"all": len(failures)})
    refused.update(each.source.rpartition("[")[0] for each in failures)
    rows = []
    for name, members in groups.items():
        used = [each for each in members if not each.refusal]
        pictured = [each for each in used if each.sizes]
        pictures = sum(len(each.sizes) for each in used)
        figures = (len(used), len(pictured), len(used) - len(pictured), pictures, refused[name])
        rows.append((name, *(f"{figure:,}" for figure in figures)))
    columns = ("", "records", "with pictures", "text only", "pictures", "refused")
    responses = Counter(len(each.response_lens) for each in found)
    labels = Counter(each.label for each in found if each.label is not None)
    tables = [
        Table("Records", columns, rows),
        Table(
            "Responses to a prompt",
            ("responses", "records", "share"),
            [(str(n), f"{responses[n]:,}", share(responses[n], len(found))) for n in sorted(responses)],
        ),
    ]
    warnings = []
    if labels:
        total = labels.total()
        shown = [(name[:60], f"{n:,}", share(n, total)) for name, n in labels.most_common(NUM_LABELS)]
        rest = f"and {len(labels) - NUM_LABELS:,} others" if len(labels) > NUM_LABELS else ""
        tables.append(Table("Labels", ("label", "records", "share"), shown, rest))
        top, most = labels.most_common(1)[0]
        if len(labels) > 1 and most > 0.8 * total:
            warnings.append(
                f"{share(most, total)} of the labels are `{top[:60]}`: who always answers that is mostly right."
            )
    return Part(tables, warnings)


def refusals(failures: Sequence[Failure], looked_at: int) -> Part:
    """What is no record for the stage, by reason."""
    if not failures:
        return Part()
    groups = sorted(by_reason(failures).values(), key=len, reverse=True)
    rows = [
        (f"{len(alike):,}", f"{alike[0].source} {alike[0].id}".strip(), alike[0].reason) for alike in groups
    ]
    said = (
        f"{share(len(failures), looked_at)} of the records ({len(failures):,}) are refused: a run stops there, or "
        f"leaves them out with --on_bad_record skip. Most often: {groups[0][0].reason}"
    )
    return Part([Table("Refused", ("records", "for example", "why"), rows)], [said])


def lengths(found: Sequence[Measures], max_seq_len: int) -> Part:
    """Tokens of prompts and responses, and what does not fit."""
    if not found:
        return Part()
    needs = [each.need for each in found]
    table = percentiles(
        "Tokens, nothing cut",
        {
            "prompt, with its pictures": [each.prompt_len for each in found],
            "pictures of a prompt": [sum(each.image_lens) for each in found if each.image_lens],
            "response": [length for each in found for length in each.response_lens],
            "prompt and longest response": needs,
            "prompt and all responses": [each.row_len for each in found],
        },
        "--max_seq_len bounds the prompt with each of its responses. PPO and prediction need room for answers too.",
    )
    cut = sum(each.responses_cut for each in found)
    num_responses = sum(len(each.response_lens) for each in found)
    lose_turns = sum(each.turns_dropped > 0 for each in found)
    refused = sum(bool(each.refusal) for each in found)
    fits = {percent: at_percent(needs, percent) for percent in (99, 100)}
    lost = Table(
        f"At --max_seq_len {max_seq_len:,}",
        ("", "number", "share"),
        [
            ("answers that lose their end", f"{cut:,}", share(cut, num_responses)),
            ("records that lose their oldest turns", f"{lose_turns:,}", share(lose_turns, len(found))),
            ("records that are refused as too long", f"{refused:,}", share(refused, len(found))),
            ("--max_seq_len that cuts nothing of 99 % of the records", f"{fits[99]:,}", ""),
            ("--max_seq_len that cuts nothing of any", f"{fits[100]:,}", ""),
        ],
    )
    warnings = []
    if cut + lose_turns + refused > MANY_CUT * max(num_responses, len(found)):
        warnings.append(
            f"--max_seq_len {max_seq_len:,} cuts {share(cut, num_responses)} of the answers, drops old turns of "
            f"{share(lose_turns, len(found))} of the records and refuses {share(refused, len(found))}; {fits[99]:,} "
            "fits 99 % of the records as they are."
        )
    return Part([table, lost], warnings)


def special_words(found: Sequence[Measures]) -> Part:
    """Words that look like special tokens."""
    records = Counter(token for each in found for token in set(each.special))
    if not records:
        return Part()
    holding = sum(bool(each.special) for each in found)
    rows = [(token, f"{n:,}", share(n, len(found))) for token, n in records.most_common(NUM_LABELS)]
    said = (
        f"{share(holding, len(found))} of the records hold what looks like special tokens, as `{rows[0][0]}`: it is "
        "read as plain characters. Markup of another template should go; --word_tokens makes tokens of what is meant."
    )
    return Part([Table("What looks like special tokens", ("in the words", "records", "share"), rows)], [said])


def pictures(found: Sequence[Measures], failures: Sequence[Failure], processor) -> Part:
    """Sizes of the pictures, and what becomes of them."""
    sizes = [size for each in found for size in each.sizes]
    unusable = sum(each.reason.startswith("image") for each in failures)  # so every ImageError begins
    if not sizes and not unusable:
        return Part()
    table = percentiles(
        "Pictures, as they are",
        {
            "width, pixels": [width for width, _ in sizes],
            "height, pixels": [height for _, height in sizes],
            "thousands of pixels": [round(width * height / 1000) for width, height in sizes],
            "tokens": [length for each in found for length in each.image_lens],
            "pictures of a record": [len(each.sizes) for each in found if each.sizes],
        },
    )
    limit, scaled = pixel_limit(processor), sum(each.scaled for each in found)
    rows = [
        ("records with a missing or broken picture", f"{unusable:,}", share(unusable, len(found) + unusable))
    ]
    warnings = []
    if limit:
        rows.append((f"pictures of more than {limit.pixels:,} pixels, scaled down", f"{scaled:,}",
                     share(scaled, len(sizes))))  # fmt: skip
        if scaled > len(sizes) / 2:
            warnings.append(
                f"{share(scaled, len(sizes))} of the pictures are scaled down to {limit.pixels:,} pixels: small "
                "print and small objects are lost; --max_pixels sets another limit."
            )
    tables = [table] if sizes else []
    return Part([*tables, Table("What becomes of the pictures", ("", "number", "share"), rows)], warnings)
