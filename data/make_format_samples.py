"""Writes `data/samples/formats`: a small sample of each way to spell a record, with the pictures of the others.

python -m data.make_format_samples

Picture 00 is a yellow pentagon, picture 01 a purple one. Paths start at `data/samples`.
"""

import base64
import json
from typing import Any

from data.make_samples import FOLDER as PICTURES
from data.make_samples import turns
from training.utils.process.command import run_command

FOLDER = PICTURES / "formats"
FIRST, SECOND = "images/00.png", "images/01.png"
QUESTION, RIGHT, WRONG = "What is in the picture?", "A yellow pentagon.", "A red square."
MARKED = f"<image>\n{QUESTION}"


def said(role: str, content: Any) -> dict:
    return {"role": role, "content": content}


def picture_parts(text: str, **picture: Any) -> list[dict]:
    return [picture, {"type": "text", "text": text}]


def rated(response: str, *ratings: str) -> dict:
    aspects = ("Helpfulness", "Ethical Considerations", "Visual Faithfulness")
    annotations = {
        aspect: {"Rating": rating, "Rationale": "..."}
        for aspect, rating in zip(aspects, ratings, strict=True)
    }
    return {"model": "m", "response": response, "annotations": annotations}


def samples() -> dict[str, Any]:
    """The content of each file, by its name: a list of entries, or COCO's one object."""
    inside = base64.b64encode((PICTURES / FIRST).read_bytes()).decode()
    asked = [{"from": "human", "value": MARKED}]
    answered = [*asked, {"from": "gpt", "value": RIGHT}]
    refused = [*asked, {"from": "gpt", "value": WRONG}]
    user, right, wrong = said("user", MARKED), said("assistant", RIGHT), said("assistant", WRONG)
    flattened = (
        "<image>\nWhich shape is it?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA pentagon.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhich colour?"
    )
    origin = {"ds_name": "RLHF-V", "origin_dataset": "LCS-558K", "origin_split": "{}", "idx": 3}
    text = {"question": QUESTION, "chosen": RIGHT, "rejected": WRONG}
    text_prompt, text_chosen, text_rejected = "Name a colour.", "Red.", "A dog."
    whole = [
        [said("user", text_prompt), said("assistant", answer)] for answer in (text_chosen, text_rejected)
    ]
    return {
        "llava.json": [
            {
                "id": "several-turns",
                "image": FIRST,
                "conversations": turns(MARKED, RIGHT, "Which colour?", "Yellow."),
            },
            {"id": "system-turn", "image": [FIRST, SECOND]}
            | {
                "conversations": [
                    {"from": "system", "value": "Be brief."},
                    *turns("<image><image>Same?", "No."),
                ]
            },
        ],
        "llava_joined_pictures.json": [
            {
                "id": "one-marker",
                "image": f"{FIRST},{SECOND}",
                "conversations": turns("<image>\nSame?", "No."),
            }
        ],
        "llava_flattened.json": [
            {"id": "flat", "image": FIRST, "conversations": turns(flattened, ["Yellow.", "Red."])}
        ],
        "cauldron.jsonl": [
            {"images": [FIRST], "texts": [{"user": QUESTION, "assistant": RIGHT, "source": "shapes"}]}
        ],
        "vlm_r1.jsonl": [{"id": 1, "image": FIRST, "conversations": turns("<image>How many sides?", "5")}],
        "vision_feedback_mix.jsonl": [
            {"id": 0, "origin_pre_dataset": "VLFeedback", "image": FIRST, "image_path": FIRST}
            | {"conversations": json.dumps([*asked, {"from": "gpt", "preference_values": [RIGHT, WRONG]}])}
        ],
        "llava_rlhf.json": [
            {"id": "a", "image": FIRST, "conversations": asked, "preference": 2, "hallucination": False}
            | {"output_1": {"from": "llava", "value": WRONG}, "output_2": {"from": "llava", "value": RIGHT}}
        ],
        "povid.json": [
            {"id": "a", "image": FIRST, "conversations": answered, "rejected_conversations": refused}
        ],
        "trl_messages.jsonl": [
            {"images": [FIRST]}
            | {
                "messages": [
                    said("system", "Be brief."),
                    said("user", picture_parts(QUESTION, type="image")),
                    right,
                ]
            }
        ],
        "trl_completion.jsonl": [
            {"prompt": text_prompt, "completion": text_chosen},
            {"prompt": [user], "completion": [right], "images": [FIRST]},
        ],
        "trl_unpaired.jsonl": [{"prompt": QUESTION, "completion": WRONG, "label": False, "images": [FIRST]}],
        "trl_preference.jsonl": [
            {"prompt": [user], "chosen": [right], "rejected": [wrong], "images": [FIRST]}
        ],
        "trl_implicit_prompt.jsonl": [
            {"chosen": [user, right], "rejected": [user, wrong], "images": [FIRST]}
        ],
        "trl_prompt.jsonl": [{"prompt": [user], "images": [FIRST]}],
        "hh_rlhf.jsonl": [
            {"chosen": f"\n\nHuman: {text_prompt}\n\nAssistant: {text_chosen}"}
            | {"rejected": f"\n\nHuman: {text_prompt}\n\nAssistant: {text_rejected}"}
        ],
        "ultrafeedback_binarized.jsonl": [
            {"prompt": text_prompt, "prompt_id": "u", "chosen": whole[0], "rejected": whole[1]}
            | {"messages": whole[0], "score_chosen": 8.0, "score_rejected": 6.5}
        ],
        "ultrafeedback.jsonl": [
            {"source": "sharegpt", "instruction": text_prompt, "models": ["m", "n"]}
            | {"correct_answers": [], "incorrect_answers": []}
            | {
                "completions": [
                    {
                        "model": "m",
                        "principle": "honesty",
                        "custom_system_prompt": "Be honest.",
                        "critique": "...",
                    }
                    | {"response": answer, "overall_score": score}
                    for answer, score in ((text_rejected, 3.0), (text_chosen, 8.5))
                ]
            }
        ],
        "vlfeedback.jsonl": [
            {"id": "v", "prompt": QUESTION, "img_path": FIRST, "models": ["m", "m"]}
            | {"completions": [rated(WRONG, "2", "5", "N/A"), rated(RIGHT, "5", "5", "4")]}
        ],
        "rlaif_v.jsonl": [origin | {"ds_name": "RLAIF-V", "image": FIRST, "image_path": FIRST} | text],
        "rlhf_v.jsonl": [origin | {"image": FIRST, "image_path": FIRST, "text": json.dumps(text)}],
        "mm_rlhf.jsonl": [{"image": FIRST, "prompt": QUESTION, "chosen": RIGHT, "rejected": WRONG}],
        "openai.jsonl": [
            {
                "messages": [
                    said("user", picture_parts(QUESTION, type="image_url", image_url={"url": url})),
                    right,
                ]
            }
            for url in (f"data:image/png;base64,{inside}", FIRST)
        ],
        "llama_factory_sharegpt.json": [
            {"system": "Be brief.", "conversations": answered, "images": [FIRST]}
        ],
        "llama_factory_sharegpt_preference.json": [
            {"conversations": asked, "images": [FIRST]}
            | {"chosen": {"from": "gpt", "value": RIGHT}, "rejected": {"from": "gpt", "value": WRONG}}
        ],
        "llama_factory_alpaca.json": [
            {
                "instruction": "Look.",
                "input": MARKED,
                "output": RIGHT,
                "system": "Be brief.",
                "images": [FIRST],
            }
            | {"history": [["Hello.", "Hello!"]]},
            {"instruction": text_prompt, "input": "", "output": text_rejected, "kto_tag": False},
        ],
        "llama_factory_alpaca_preference.json": [
            {"instruction": text_prompt, "input": "", "chosen": text_chosen, "rejected": text_rejected}
        ],
        "ms_swift.jsonl": [
            {"messages": [user, right], "rejected_response": WRONG, "images": [FIRST]},
            {"messages": [user, right], "rejected_messages": [user, wrong], "images": [FIRST]},
        ],
        "ms_swift_query.jsonl": [
            {
                "query": QUESTION,
                "response": RIGHT,
                "rejected_response": WRONG,
                "history": [],
                "images": [FIRST],
            }
        ],
        "easyr1.jsonl": [{"images": [FIRST], "problem": "<image>How many sides?", "answer": "5"}],
        "verl.jsonl": [
            {"data_source": "geometry3k", "ability": "math", "images": [FIRST]}
            | {
                "prompt": [said("user", "<image>How many sides?")],
                "extra_info": {"split": "train", "index": 0},
            }
            | {"reward_model": {"style": "rule", "ground_truth": "5"}}
        ],
        "r1_v.jsonl": [{"image": FIRST, "problem": "How many sides?", "solution": "<answer> 5 </answer>"}],
        "captions.jsonl": [{"image": FIRST, "caption": RIGHT}],
        "coco_captions.json": {
            "images": [{"id": 7, "file_name": FIRST, "coco_url": "http://images.example/00.png"}],
            "annotations": [
                {"id": 70, "image_id": 7, "caption": RIGHT},
                {"id": 71, "image_id": 7, "caption": "A shape with five sides."},
            ],
        },
        "vl_rewardbench.jsonl": [
            {
                "id": "mmmu-1",
                "image": FIRST,
                "query": QUESTION,
                "response": [WRONG, RIGHT],
                "human_ranking": [1, 0],
            }
            | {"models": ["m", "n"], "judge": "human", "rationale": "...", "ground_truth": RIGHT}
        ],
        "multimodal_rewardbench.jsonl": [
            {
                "ID": "m-1",
                "Category": "vqa",
                "Text": QUESTION,
                "Image": FIRST,
                "Output1": WRONG,
                "Output2": RIGHT,
            }
            | {"Better": "Output2"}
        ],
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in samples().items():
        if name.endswith(".jsonl"):
            text = "".join(json.dumps(entry) + "\n" for entry in content)
        else:
            text = json.dumps(content, indent=1) + "\n"
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    run_command(main)
