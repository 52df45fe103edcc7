"""The wire formats of questions and answers, one file per protocol. No I/O, no clock.

question             what every dialect provides
events               what dialects share
anthropic_body       the body of Anthropic Messages
anthropic_messages   its events
openai_chat          OpenAI chat completions
openai_responses     OpenAI Responses
plain_sse            text in `data:`
ai_sdk               the AI SDK's UI message stream
ag_ui                AG-UI's runs
as_chat              questions of other dialects as those of chat completions
ollama               Ollama's lines
gemini               Gemini's generateContent
"""

from streamgauge.reference_server.dialects.ag_ui import RunQuestion
from streamgauge.reference_server.dialects.anthropic_messages import MessagesQuestion
from streamgauge.reference_server.dialects.gemini import GeminiQuestion, WholeGeminiQuestion
from streamgauge.reference_server.dialects.ollama import OllamaQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.openai_responses import ResponsesQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.dialects.question import Question

# By the path of their route. google-genai asks /v1, and other clients of the same API ask /v1beta.
DIALECTS: dict[str, type[Question]] = {
    "/v1/messages": MessagesQuestion,
    "/v1/chat/completions": ChatQuestion,
    "/v1/responses": ResponsesQuestion,
    "/chat/stream": PlainQuestion,
    "/api/chat": OllamaQuestion,  # and UiQuestion: see `Question.speaks`
    "/agent": RunQuestion,
    "/v1beta/models/{model}:streamGenerateContent": GeminiQuestion,
    "/v1beta/models/{model}:generateContent": WholeGeminiQuestion,
    "/v1/models/{model}:streamGenerateContent": GeminiQuestion,
    "/v1/models/{model}:generateContent": WholeGeminiQuestion,
}


def dialect_of(path: str) -> type[Question]:
    """The dialect of a request's path, and of what is below it; on paths without one, plain SSE."""
    for route, dialect in DIALECTS.items():
        before, model, _ = route.partition("{model}")
        if path.startswith(before) and (not model or ":" in path):
            return dialect
    return PlainQuestion
