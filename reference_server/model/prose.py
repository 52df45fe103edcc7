"""What the simulated model says: a few paragraphs of our own on rivers and measuring, cut into tokens.

A token is a word with the space before it, a punctuation mark, or the end of a paragraph, as with real tokenizers. Some
contain characters of several bytes. No token begins with `{` or is `[DONE]`, which plain SSE uses for control events.
"""

import re

_TEXT = """\
A **stream gauge** stands in the river and writes down the water's height, hour by hour, whoever is watching or not.

The number that people ask for is the *discharge*: how many m³ pass each second. It is not read off; it is worked out \
from the height, with a curve that someone measured by hand.

## What makes a reading good

- The instrument is checked against a staff, and the difference is written down.
- A gap stays a gap – nobody fills it with the average.
- The clock is right; a flood that is stamped an hour late is a different flood.

In spring the snow melts and the level rises slowly, about 2–3 cm a day. A storm does the same in ten minutes, and \
that is when a slow instrument lies: it shows a gentle hill where there was a wall.

Ask three questions of any record: where was it taken, how often, and what happened when the power failed?

> “The river does not wait for the observer.” That was carved over the door of the old station at Höfn, and it is \
still good advice.

1. Look at the highest one percent, not at the middle.
2. Keep the raw record; summaries can be made again, readings cannot.
3. Say how sure you are: 4.2 m ± 0.1 m is worth more than 4.2317 m.

If the float sticks, the line goes flat. A flat line looks calm, so it is the most dangerous shape on the page. 🌊

```python
for reading in record:
    print(reading.at, reading.height)
```

Downstream, the village sees what the gauge saw forty minutes ago, plus whatever the two side valleys have added since.

To compare two years, use the same place, the same hour and the same method. Otherwise you are comparing instruments, \
naïve as that sounds.
"""


def _tokens(paragraph: str) -> list[str]:
    return [*re.findall(r" ?[\w’']+| ?[^\w\s]+|\s+", paragraph), "\n\n"]


PARAGRAPHS: tuple[list[str], ...] = tuple(_tokens(paragraph) for paragraph in _TEXT.strip().split("\n\n"))
