"""The loop that runs the server's tools in the middle of an answer: pause, execute, resume.

It knows no wire format: it yields the model's steps, with a `tool_start` and a `tool_end` around each run of a tool.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from streamgauge.reference_server.model import tools
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.script import Script
from streamgauge.reference_server.model.steps import Step, ToolCall

MAX_TOOL_ROUNDS = 5  # in one answer; after them the model is offered no tools and must answer


class Turns:
    """An answer of several turns of the model, with the server's tools run in between.

    `turn` makes the script of one turn, which ends with the answer or with calls of tools. A call of one of the
    client's tools ends the answer. `script` is that of the current turn, and at the end that of the turn which ended
    the answer.
    """

    def __init__(
        self, turn: Callable[[ModelInput], Script], given: ModelInput, max_rounds: int = MAX_TOOL_ROUNDS
    ) -> None:
        self.script = turn(given)
        self._turn = turn
        self._given = given
        self._max_rounds = max_rounds

    async def steps(self) -> AsyncIterator[tuple[int, Step]]:
        """Each step with the wait before it, ns. After a tool's run the next wait counts from the end of the run."""
        for number in range(1, self._max_rounds + 1):
            for step in zip(self.script.waits, self.script.steps, strict=True):
                yield step
            calls = _calls(self.script)
            if self.script.stop_reason != "tool_use" or any(call.client_side for call in calls):
                return
            results = []
            for call in calls:
                yield 0, Step("tool_start", "", call)
                results.append(await tools.execute(call))
                yield 0, Step("tool_end", "", results[-1])
            offers = self._given.tools if number < self._max_rounds else []
            self._given = _next_input(self._given, self.script, results, offers)
            self.script = self._turn(self._given)
        for step in zip(self.script.waits, self.script.steps, strict=True):
            yield step


def _calls(script: Script) -> list[ToolCall]:
    """The calls of tools in a turn, each once."""
    return list({step.tool.id: step.tool for step in script.steps if step.tool is not None}.values())


def _next_input(given: ModelInput, script: Script, results: list[ToolCall], offers: list[ToolCall]) -> ModelInput:
    """The model's input after its tools have run, with the tools that it may use next."""
    prompt = "\n".join([given.prompt, *(result.result for result in results)])
    return replace(
        given,
        prompt=prompt,
        limit=None if given.limit is None else given.limit - len(script.steps),
        tools=[_offered_again(offer, prompt) for offer in offers],
        tool_results=given.tool_results + 1,
    )


def _offered_again(offer: ToolCall, prompt: str) -> ToolCall:
    """A new call of the same tool. The client chose the input schema of its own tools; that call keeps its input."""
    if offer.client_side:
        return replace(offer, id=tools.new_id())
    return tools.call(offer.name, tools.TOOLS[offer.name].schema, prompt, client_side=False)
