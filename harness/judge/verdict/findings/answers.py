"""Answers that are not what was asked for: cut off by max_tokens, or empty."""

from streamgauge.harness.judge.verdict.findings.chance import surely
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number
from streamgauge.harness.record.observation import Outcome

# What protocols call it: Anthropic and OpenAI Responses, OpenAI and Ollama, Gemini; compared in lower case.
_CUT = {"max_tokens", "length", "max_output_tokens", "max_completion_tokens", "model_context_window_exceeded"}
_CUT_SHARE = 0.05  # of the completed answers, at the lower end of the interval
_EMPTY_SHARE = 0.002  # of the streams
_FEWEST = 3


def cut_by_max_tokens(evidence: Evidence) -> Finding | None:
    """Surely more than 5 % of the complete answers (exact interval) ended because max_tokens was reached."""
    sample = evidence.sample
    completed, reasons = sample.text["outcome"].are("completed"), sample.text["stop_reason"]
    is_cut = [reason.lower() in _CUT for reason in reasons.values]
    hits = sum(int((completed & (reasons.codes == code)).sum()) for code, cut in enumerate(is_cut) if cut)
    n = int(completed.sum())
    if hits < _FEWEST or (surely(hits, n).low or 0.0) <= _CUT_SHARE:
        return None
    return Finding(
        id="cut_by_max_tokens",
        advice="This test cuts answers off at max_tokens: raise it in [target] of streamgauge.toml",
        sentence=f"{100 * hits / n:.0f} % of the answers ended at max_tokens, a setting of this test",
        evidence=(Number("answers cut off", hits, ""), Number("complete answers", n, "")),
        meaning="E2E, duration and cost are those of the limit and not of the answers, and people get half a sentence",
        change="Raise max_tokens, unless your application asks for as few; or tell the model to be brief",
        source="https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons",
        certainty=Certainty.SURE,
    )


def empty_answers(evidence: Evidence) -> Finding | None:
    """At least 3 streams, surely more than 0.2 % (exact interval), ended as they should and brought nothing."""
    hits, n = evidence.totals.count(Outcome.EMPTY), evidence.totals.ended
    if hits < _FEWEST or (surely(hits, n).low or 0.0) <= _EMPTY_SHARE:
        return None
    reasons, are_empty = evidence.sample.text["stop_reason"], evidence.sample.text["outcome"].are("empty")
    cut = sum(
        int((are_empty & (reasons.codes == code)).sum())
        for code, reason in enumerate(reasons.values)
        if reason.lower() in _CUT
    )
    numbers = [Number("empty answers", hits, ""), Number("all streams", n, "")]
    if cut:
        numbers.append(Number("empty answers stopped by max_tokens", cut, ""))
    return Finding(
        id="empty_answers",
        advice="Thinking uses max_tokens up before the answer begins: raise max_tokens"
        if cut > hits / 2
        else "Some answers are empty: check the content filter and the stop sequences",
        sentence=f"{hits:,} of {n:,} answers ended as they should and were empty",
        evidence=tuple(numbers),
        meaning="The server counts them as served, and the person sees nothing",
        change="Raise max_tokens: thinking used it up before the answer began"
        if cut > hits / 2
        else "Check the content filter, stop sequences and the model’s template; for `custom`, text in [target.events]",
        source="https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons",
        certainty=Certainty.SURE,
    )
