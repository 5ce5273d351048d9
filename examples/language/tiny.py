"""Two tiny language models, trained here in seconds, with tokenizers of their own words.

They know a handful of sentences: enough to see a service work without a download.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

GOOD = ["i love this", "what a great day", "this is wonderful", "really good work", "i am happy"]
BAD = ["i hate this", "what a bad day", "this is terrible", "really poor work", "i am sad"]
TALKS = {
    "hello": "hello , nice to meet you",
    "who are you ?": "i am a very small language model",
    "what can you do ?": "i can say the few sentences that i was trained on",
    "goodbye": "goodbye , see you soon",
}
CHAT = "{% for m in messages %}<{{ m.role }}> {{ m.content }} </s> {% endfor %}<assistant> "


def tokenizer(texts: list[str], **special: str) -> PreTrainedTokenizerFast:
    """One token for each word in the texts."""
    words = dict.fromkeys(word for text in texts for word in text.split())
    names = ["<pad>", "<unk>", "</s>", "<user>", "<assistant>"]
    vocabulary = {word: number for number, word in enumerate([*names, *words])}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokens.normalizer = normalizers.Lowercase()
    tokens.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(r"[.,?!]", "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", **special
    )


def train(model, batch, steps: int):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    return model.eval()


def sentiment():
    """A classifier and its tokenizer."""
    torch.manual_seed(0)
    tokens = tokenizer(GOOD + BAD)
    config = DistilBertConfig(
        vocab_size=len(tokens), dim=32, hidden_dim=64, n_layers=1, n_heads=2,
        max_position_embeddings=64, id2label={0: "NEGATIVE", 1: "POSITIVE"},
        label2id={"NEGATIVE": 0, "POSITIVE": 1},
    )  # fmt: skip
    batch = tokens(GOOD + BAD, padding=True, return_tensors="pt", return_token_type_ids=False)
    batch["labels"] = torch.tensor([1] * len(GOOD) + [0] * len(BAD))
    return train(DistilBertForSequenceClassification(config), batch, steps=60), tokens


def chat():
    """A model that answers, and its tokenizer, which knows how a talk is written down."""
    torch.manual_seed(0)
    texts = [f"<user> {said} </s> <assistant> {answer} </s>" for said, answer in TALKS.items()]
    tokens = tokenizer([*TALKS, *TALKS.values()], padding_side="right")
    tokens.chat_template = CHAT
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=128, pad_token_id=0, eos_token_id=2,
        bos_token_id=None,
    )  # fmt: skip
    batch = tokens(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    return train(LlamaForCausalLM(config), batch, steps=80), tokens
