"""The model's input: the parts of a request that it needs, independent of the dialect."""

from dataclasses import dataclass, field

from streamgauge.reference_server.model.steps import ToolCall


@dataclass(slots=True)
class ModelInput:
    prompt: str  # all text of the request
    limit: int | None = None  # the most tokens that it may generate
    cache_prefixes: list[str] = field(default_factory=list)  # the prompt up to each cache mark, the shortest first
    tools: list[ToolCall] = field(default_factory=list)  # for each tool on offer, a call that the model could make
    tool_results: int = 0  # turns of this conversation that brought the result of a tool
    thinking: bool = False  # the request wants to see it
    stop_sequences: list[str] = field(default_factory=list)


def count_tokens(text: str) -> int:
    """About what a tokenizer would count: one token for every four characters, at least one."""
    return max(1, (len(text) + 3) // 4)
