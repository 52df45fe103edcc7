"""After how many seconds well-known parts of a path end a stream: when nothing comes, or whatever comes. Pure."""

from collections.abc import Mapping

# Seconds → whose limit it is.
KNOWN: Mapping[float, str] = {
    15: "an Envoy route",
    29: "AWS API Gateway",
    30: "gunicorn, CloudFront, Heroku’s router or Google Cloud’s load balancer",
    50: "HAProxy",
    55: "Heroku’s router",
    60: "nginx, Apache, an AWS load balancer or Vercel",
    100: "Cloudflare (now 120 s)",
    120: "Cloudflare or CloudFront",
    230: "Azure App Service",
    240: "Azure’s load balancer",
    300: "Envoy, API Gateway or Vercel",
    350: "an AWS NAT gateway",
    600: "a load balancer or a client library",
}
_NEAR, _NEAR_S = 0.01, 0.5  # a timeout is this exact


def window(seconds: float) -> float:
    """How far, in seconds, a cut by a limit of so many seconds may be from it."""
    return max(_NEAR_S, _NEAR * seconds)


def whose(seconds: float) -> str | None:
    """Whose limit this is; None if it is no limit that is known."""
    return next((who for known, who in KNOWN.items() if abs(seconds - known) <= window(known)), None)
