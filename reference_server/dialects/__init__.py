"""The wire formats of questions and answers, one file per protocol. No I/O, no clock.

question             what every dialect provides
events               what dialects share
anthropic_body       the body of Anthropic Messages
anthropic_messages   its events
openai_chat          OpenAI chat completions
openai_responses     OpenAI Responses
plain_sse            text in `data:`
"""

from streamgauge.reference_server.dialects.anthropic_messages import MessagesQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.openai_responses import ResponsesQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.dialects.question import Question

# By the path of their route.
DIALECTS: dict[str, type[Question]] = {
    "/v1/messages": MessagesQuestion,
    "/v1/chat/completions": ChatQuestion,
    "/v1/responses": ResponsesQuestion,
    "/chat/stream": PlainQuestion,
}
