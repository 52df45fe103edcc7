"""Writes a tiny Llama model with random weights as GGUF. Runs in the environment of llama-cpp-python, without our code.

It says random words: the rows of all other tokens in the output matrix are zero, so none of them is ever likely.
"""

import sys

import numpy as np
from gguf import GGUFWriter, TokenType  # type: ignore[import-not-found]

WORDS = ["river", "water", "level", "rises", "falls", "slowly", "bank", "flood", "gauge", "stream"]
WIDTH, HEADS, INNER, CONTEXT = 64, 4, 128, 512

tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *(f"▁{word}" for word in WORDS)]
types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256, *[TokenType.NORMAL] * 10]
random = np.random.default_rng(1)


def weights(*shape: int) -> "np.typing.NDArray[np.float32]":
    return random.normal(0, 0.1, shape).astype(np.float32)


writer = GGUFWriter(sys.argv[1], "llama")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(WIDTH)
writer.add_block_count(1)
writer.add_feed_forward_length(INNER)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(WIDTH // HEADS)
writer.add_vocab_size(len(tokens))
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores([0.0] * len(tokens))
writer.add_token_types(types)
writer.add_unk_token_id(0)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
output = np.zeros((len(tokens), WIDTH), dtype=np.float32)
output[-len(WORDS) :] = random.normal(0, 2, (len(WORDS), WIDTH))
writer.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
writer.add_tensor("output.weight", output)
writer.add_tensor("blk.0.attn_norm.weight", np.ones(WIDTH, dtype=np.float32))
writer.add_tensor("blk.0.ffn_norm.weight", np.ones(WIDTH, dtype=np.float32))
for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
    writer.add_tensor(f"blk.0.{name}.weight", weights(WIDTH, WIDTH))
for name, shape in (("ffn_gate", (INNER, WIDTH)), ("ffn_up", (INNER, WIDTH)), ("ffn_down", (WIDTH, INNER))):
    writer.add_tensor(f"blk.0.{name}.weight", weights(*shape))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
