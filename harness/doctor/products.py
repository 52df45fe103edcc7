"""Which proxy, server or framework answers, by its headers, and the line of it to change. Pure.

To add one, add an entry to `PRODUCTS`, in the order from the client to the model.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streamgauge.harness.doctor.result import Fix


class Line(NamedTuple):
    """What to change in a product against one symptom."""

    directive: str  # its name, for a sentence
    line: str  # ready to paste where it is a line
    source: str


class Product(NamedTuple):
    name: str
    signs: tuple[tuple[str, str], ...]  # (header in lower case, regular expression of its value): one is enough
    lines: Mapping[str, Line]  # by symptom: held, compressed, idle, absolute, cut, one_by_one, blocked


_NGINX = "https://nginx.org/en/docs/http/ngx_http_proxy_module.html"
_NGINX_GZIP = "https://nginx.org/en/docs/http/ngx_http_gzip_module.html"
_APACHE = "https://httpd.apache.org/docs/2.4/mod/mod_proxy.html#proxypass"
_DEFLATE = "https://httpd.apache.org/docs/2.4/mod/mod_deflate.html"
_CADDY = "https://caddyserver.com/docs/caddyfile/directives/reverse_proxy#streaming"
_CADDY_ENCODE = "https://caddyserver.com/docs/caddyfile/directives/encode"
_GO = "https://github.com/golang/go/issues/40747"
_HAPROXY = "https://docs.haproxy.org/2.6/configuration.html"
_ENVOY = "https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts"
_CLOUDFRONT = "https://repost.aws/knowledge-center/cloudfront-custom-origin-response"
_CLOUDFLARE = (
    "https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/error-524/"
)
_API_GATEWAY = "https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html"
_LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html"
_ALB = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html"
_AZURE_GATEWAY = "https://learn.microsoft.com/azure/application-gateway/proxy-buffers"
_AZURE_FILTER = "https://github.com/vercel/ai/issues/1066"
_APP_SERVICE = "https://learn.microsoft.com/troubleshoot/azure/app-service/web-apps-performance-faqs"
_HEROKU = "https://devcenter.heroku.com/articles/request-timeout"
_VERCEL = "https://vercel.com/docs/functions/configuring-functions/duration"
_COMPRESSION = "https://github.com/expressjs/compression#server-sent-events"
_NEXT = "https://nextjs.org/docs/app/api-reference/config/next-config-js/compress"
_STARLETTE = "https://github.com/Kludex/starlette/pull/2871"
_UVICORN = "https://fastapi.tiangolo.com/async/"
_DJANGO = "https://docs.djangoproject.com/en/stable/ref/request-response/#streaminghttpresponse-objects"
_GUNICORN = "https://docs.gunicorn.org/en/stable/settings.html#worker-processes"
_LITELLM = "https://github.com/BerriAI/litellm/issues/26102"
_PHP = "https://www.php.net/manual/en/outcontrol.configuration.php"
_VARNISH = "https://varnish-cache.org/docs/7.6/reference/vcl-var.html#beresp"
_TRAEFIK = "https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/"

_BLOCKING_CALL = Line("a blocking call", "await run_in_executor(…), or `def` in place of `async def`", _UVICORN)

PRODUCTS = (
    Product(
        "Cloudflare",
        (("cf-ray", "."), ("server", "^cloudflare")),
        {
            "held": Line(
                "a tunnel",
                "content-type: text/event-stream, asked for by POST",
                "https://github.com/cloudflare/cloudflared/issues/1449",
            ),
            "idle": Line("Proxy Read Timeout", ": a comment at once, and one every 15 s", _CLOUDFLARE),
        },
    ),
    Product(
        "CloudFront",
        (("x-amz-cf-id", "."), ("via", "cloudfront")),
        {
            "compressed": Line("compression", "Compress: false  # in the cache behaviour", _CLOUDFRONT),
            "idle": Line("the origin's response timeout", "OriginReadTimeout: 120", _CLOUDFRONT),
        },
    ),
    Product(
        "Azure Application Gateway",
        (("server", "microsoft-azure-application-gateway"),),
        {"held": Line("the response buffer", '"enableResponseBuffering": false', _AZURE_GATEWAY)},
    ),
    Product(
        "AWS API Gateway",
        (("x-amz-apigw-id", "."), ("apigw-requestid", ".")),
        {
            "held": Line("responseTransferMode", '"responseTransferMode": "STREAM"', _API_GATEWAY),
            "absolute": Line("the limit of 29 s", '"responseTransferMode": "STREAM"', _API_GATEWAY),
        },
    ),
    Product(
        "AWS Lambda",
        (("x-amzn-trace-id", "root="), ("x-amzn-remapped-content-length", ".")),
        {"held": Line("InvokeMode", "InvokeMode: RESPONSE_STREAM, and awslambda.streamifyResponse(…)", _LAMBDA)},
    ),
    Product(
        "an AWS load balancer",
        (("server", "^awselb"), ("set-cookie", "awsalb")),
        {"idle": Line("idle_timeout", "idle_timeout.timeout_seconds=4000", _ALB)},
    ),
    Product(
        "Heroku",
        (("via", "vegur|heroku"), ("server", "^heroku")),
        {"idle": Line("the router's timeout", ": a comment at once, and one every 15 s", _HEROKU)},
    ),
    Product(
        "Vercel",
        (("x-vercel-id", "."), ("server", "^vercel")),
        {"absolute": Line("maxDuration", "export const maxDuration = 300", _VERCEL)},
    ),
    Product(
        "Azure OpenAI",
        (("apim-request-id", "."), ("x-ms-rai-invoked", ".")),
        {
            "held": Line(
                "the content filter", "the asynchronous filter, in the deployment's content filter", _AZURE_FILTER
            )
        },
    ),
    Product(
        "Azure App Service",
        (("set-cookie", "arraffinity"),),
        {"idle": Line("the limit of 230 s", ": a comment every 15 s", _APP_SERVICE)},
    ),
    Product(
        "Envoy",
        (("server", "envoy"), ("x-envoy-upstream-service-time", ".")),
        {
            "absolute": Line("the route's timeout", "timeout: 0s", _ENVOY),
            "idle": Line("stream_idle_timeout", "stream_idle_timeout: 3600s", _ENVOY),
        },
    ),
    Product(
        "Traefik",
        (("server", "traefik"),),
        {
            "held": Line(
                "the buffering middleware", "no `buffering` middleware on this route", f"{_TRAEFIK}buffering/"
            ),
            "compressed": Line(
                "the compress middleware",
                "compress: { excludedContentTypes: [text/event-stream] }",
                f"{_TRAEFIK}compress/",
            ),
        },
    ),
    Product(
        "Varnish",
        (("x-varnish", "."), ("via", "varnish")),
        {"held": Line("do_stream", "set beresp.do_stream = true;", _VARNISH)},
    ),
    Product(
        "nginx",
        (("server", "nginx|openresty|tengine"),),
        {
            "held": Line(
                "proxy_buffering",
                "proxy_buffering off;  # or, from the application: X-Accel-Buffering: no",
                f"{_NGINX}#proxy_buffering",
            ),
            "compressed": Line("gzip", "gzip off;", _NGINX_GZIP),
            "idle": Line("proxy_read_timeout", "proxy_read_timeout 1h;", f"{_NGINX}#proxy_read_timeout"),
        },
    ),
    Product(
        "Caddy",
        (("server", "caddy"), ("via", "caddy")),
        {
            "held": Line("flush_interval", "flush_interval -1", _CADDY),
            "compressed": Line("encode", "match header Content-Type text/html*  # inside encode { … }", _CADDY_ENCODE),
            "cut": Line("request_buffers", "request_buffers 64KiB  # before Caddy 2.6.3: buffer_requests", _GO),
        },
    ),
    Product(
        "Apache",
        (("server", "apache"),),
        {
            "held": Line(
                "flushpackets or mod_buffer",
                "ProxyPass … flushpackets=on  # for FastCGI and AJP; no BUFFER filter",
                _APACHE,
            ),
            "compressed": Line("mod_deflate", "SetEnv no-gzip 1", _DEFLATE),
            "idle": Line("ProxyTimeout", "ProxyTimeout 3600", _APACHE),
        },
    ),
    Product(
        "HAProxy",
        (("server", "haproxy"), ("via", "haproxy")),
        {
            "held": Line("http-no-delay", "option http-no-delay", f"{_HAPROXY}#option%20http-no-delay"),
            "compressed": Line("compression", "no `compression` in this backend", f"{_HAPROXY}#compression%20algo"),
            "idle": Line("timeout server", "timeout server 1h", f"{_HAPROXY}#timeout%20server"),
        },
    ),
    Product(
        "LiteLLM",
        (("x-litellm-version", "."), ("x-litellm-call-id", ".")),
        {
            "held": Line(
                "a guardrail on answers, or its rewriting of streams",
                "mode: pre_call  # of the guardrail; or a newer LiteLLM",
                _LITELLM,
            )
        },
    ),
    Product(
        "Next.js",
        (("vary", "next-router"), ("x-powered-by", "next")),  # API routes, which have neither, are not recognised
        {
            "held": Line("compress", "compress: false  // in next.config.js", _NEXT),
            "compressed": Line("compress", "Cache-Control: no-transform, or compress: false in next.config.js", _NEXT),
        },
    ),
    Product(
        "Express",
        (("x-powered-by", "express"),),
        {
            "held": Line("compression", "res.flush() after each event, or Cache-Control: no-transform", _COMPRESSION),
            "compressed": Line(
                "compression", "Cache-Control: no-transform, or res.flush() after each event", _COMPRESSION
            ),
        },
    ),
    Product(
        "PHP",
        (("x-powered-by", "php"),),
        {"held": Line("output_buffering", "output_buffering = Off", _PHP)},
    ),
    Product(
        "gunicorn",
        (("server", "gunicorn"),),
        {
            "absolute": Line("--timeout", "--timeout 0, or -k gthread --threads 100", _GUNICORN),
            "one_by_one": Line(
                "its sync workers", "-k gthread --threads 100; for ASGI: -k uvicorn_worker.UvicornWorker", _GUNICORN
            ),
        },
    ),
    Product(
        "Starlette, FastAPI or Django",
        (("server", "uvicorn|hypercorn|daphne|granian"),),
        {
            "held": Line(
                "GZipMiddleware, or an iterator that is consumed first",
                "no GZipMiddleware on this route; Django: an async iterator",
                _STARLETTE,
            ),
            "compressed": Line(
                "GZipMiddleware", "Starlette 0.46 or newer, or no GZipMiddleware on this route", _STARLETTE
            ),
            "one_by_one": _BLOCKING_CALL,
            "blocked": _BLOCKING_CALL,
        },
    ),
    Product(
        "Django",
        (("server", "wsgiserver"),),
        {"held": Line("StreamingHttpResponse", "an async iterator under ASGI, an ordinary one under WSGI", _DJANGO)},
    ),
)

_BY_NAME = {product.name: product for product in PRODUCTS}
HAPROXY = _BY_NAME["HAProxy"]  # names itself in no header
_USUAL = {  # what to look at if nothing was recognised
    "held": ("nginx", "Apache", "HAProxy"),
    "compressed": ("nginx", "Express", "Next.js"),
    "idle": ("nginx", "an AWS load balancer"),
    "absolute": ("Envoy", "gunicorn"),
    "one_by_one": ("gunicorn", "Starlette, FastAPI or Django"),
    "blocked": ("Starlette, FastAPI or Django",),
}


def recognised(answers: Iterable[Mapping[str, str]]) -> list[Product]:
    """The products that the headers of answers show, from the client to the model."""
    found = list(answers)
    return [product for product in PRODUCTS if any(_shows(product, headers) for headers in found)]


def _shows(product: Product, headers: Mapping[str, str]) -> bool:
    return any(re.search(sign, headers.get(name, ""), re.IGNORECASE) for name, sign in product.signs)


def named_in(words: str) -> list[Product]:
    """The products whose names are in a sentence."""
    return [product for product in PRODUCTS if product.name in words]


def who(products: Iterable[Product], symptom: str) -> str:
    """`nginx, proxy_buffering` of the first that can cause it; "" if none was recognised."""
    for product in products:
        if symptom in product.lines:
            return f"{product.name}, {product.lines[symptom].directive}"
    return ""


def fixes(products: Iterable[Product], symptom: str) -> tuple[Fix, ...]:
    """A line for each recognised product that can cause it; without one, those of the usual suspects."""
    known = [product for product in products if symptom in product.lines]
    shown = known or [_BY_NAME[name] for name in _USUAL.get(symptom, ())]
    return tuple(
        Fix(f"{product.name}: {product.lines[symptom].line}", product.lines[symptom].source) for product in shown
    )


def table() -> str:
    """PRODUCTS as the table in docs/how-to/doctor.md."""
    heads = {
        "holds chunks back": ("held",), "compresses": ("compressed",), "ends what is silent": ("idle",),
        "ends what is long": ("absolute",), "cuts answers": ("cut",), "blocks": ("one_by_one", "blocked"),
    }  # fmt: skip
    rows = [f"| product | recognised by | {' | '.join(heads)} |", f"|---|---|{'---|' * len(heads)}"]
    for product in PRODUCTS:
        signs = ", ".join(f"`{name}`" for name in dict.fromkeys(name for name, _ in product.signs))
        cells = [_cell(product, symptoms) for symptoms in heads.values()]
        rows.append(f"| {product.name} | {signs} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _cell(product: Product, symptoms: Iterable[str]) -> str:
    lines = dict.fromkeys(product.lines[symptom] for symptom in symptoms if symptom in product.lines)
    return ", ".join(f"[`{line.line.replace('`', '')}`]({line.source})" for line in lines)
