"""The colours that a page really shows."""

import base64
from typing import NamedTuple

from playwright.sync_api import Page

# A page cannot read what it shows, but it can read a picture of itself. Colours as [red, green, blue] from 0 to 255.
_READ = """
async ({ png, points }) => {
  const picture = new Image();
  picture.src = `data:image/png;base64,${png}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  drawing.drawImage(picture, 0, 0);
  return points.map(([x, y]) => [...drawing.getImageData(x, y, 1, 1).data].slice(0, 3));
}
"""


class Colour(NamedTuple):
    red: float
    green: float
    blue: float

    @property
    def luminance(self) -> float:
        """Of WCAG 2.1, from 0 for black to 1 for white."""
        red, green, blue = (_linear(value / 255) for value in self)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(self, other: "Colour") -> float:
        """Of WCAG 2.1, from 1 to 21."""
        low, high = sorted((self.luminance, other.luminance))
        return (high + 0.05) / (low + 0.05)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def colours(page: Page, points: list[tuple[float, float]]) -> list[Colour]:
    """At these places (x, y) of the window, in CSS pixels."""
    png = base64.b64encode(page.screenshot()).decode()
    places = [[int(x), int(y)] for x, y in points]
    return [Colour(*each) for each in page.evaluate(_READ, {"png": png, "points": places})]
