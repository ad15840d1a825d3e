"""Rows in short."""


def talk(*texts, **keys) -> dict:
    turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]
    return keys | {"conversations": turns}


def chat(content, answer="A.", **keys) -> dict:
    return {
        "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    } | keys


def pair(prompt="hi", chosen="a", rejected="b", **keys) -> dict:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected} | keys
