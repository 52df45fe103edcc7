"""Writes a tiny Llama model with random weights and a tokenizer of words. Runs in the environment of transformers.

It says random words of its vocabulary, and never ends an answer by itself.
"""

import sys

import torch  # type: ignore[import-not-found]
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # type: ignore[import-not-found]
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # type: ignore[import-not-found]

WORDS = ["river", "water", "level", "rises", "falls", "slowly", "bank", "flood", "gauge", "stream"]

torch.manual_seed(1)
vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", *(f"▁{word}" for word in WORDS)])}
words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
words.pre_tokenizer = pre_tokenizers.Metaspace()
words.decoder = decoders.Metaspace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
tokenizer.save_pretrained(sys.argv[1])

config = LlamaConfig(
    vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
    max_position_embeddings=512, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
model = LlamaForCausalLM(config)
with torch.no_grad():
    model.lm_head.weight.normal_(0, 2)
    model.lm_head.weight[:3] = 0  # no special token is ever likely
model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, do_sample=False)
model.save_pretrained(sys.argv[1])
