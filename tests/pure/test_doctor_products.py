"""Products are recognised by the headers that they really send, and named for what they can cause."""

import pytest

from streamgauge.harness.doctor.products import PRODUCTS, fixes, recognised, who

# What answers of each carry, from the client's end of the path to the model's.
HEADERS: dict[str, dict[str, str]] = {
    "Cloudflare": {"server": "cloudflare", "cf-ray": "8f1a2b3c4d5e6f70-AMS"},
    "CloudFront": {"via": "1.1 4f0d.cloudfront.net (CloudFront)", "x-amz-cf-id": "Zx8="},
    "Azure Application Gateway": {"server": "Microsoft-Azure-Application-Gateway/v2"},
    "AWS API Gateway": {"x-amz-apigw-id": "JxYzEH0xIAMF3Pw=", "x-amzn-requestid": "5b6c"},
    "AWS Lambda": {"x-amzn-requestid": "5b6c", "x-amzn-trace-id": "Root=1-5f84c7a1-0f6e;Sampled=0"},
    "an AWS load balancer": {"set-cookie": "AWSALB=abc; Path=/"},
    "Heroku": {"via": "1.1 vegur", "server": "Cowboy"},
    "Vercel": {"server": "Vercel", "x-vercel-id": "fra1::iad1::k7x2"},
    "Azure OpenAI": {"apim-request-id": "3c1f", "x-ms-rai-invoked": "true"},
    "Azure App Service": {"set-cookie": "ARRAffinity=af0d;Path=/;HttpOnly"},
    "Envoy": {"server": "istio-envoy", "x-envoy-upstream-service-time": "12"},
    "Traefik": {"server": "Traefik"},
    "Varnish": {"x-varnish": "32770", "via": "1.1 varnish (Varnish/7.1)"},
    "nginx": {"server": "openresty/1.25.3.1"},
    "Caddy": {"via": "1.1 Caddy"},
    "Apache": {"server": "Apache/2.4.62 (Debian)"},
    "HAProxy": {"via": "1.1 haproxy"},
    "LiteLLM": {"x-litellm-version": "1.108.7", "x-litellm-call-id": "9f2c"},
    "Next.js": {"vary": "rsc, next-router-state-tree, next-router-prefetch"},
    "Express": {"x-powered-by": "Express"},
    "PHP": {"x-powered-by": "PHP/8.2.36"},
    "gunicorn": {"server": "gunicorn"},
    "Starlette, FastAPI or Django": {"server": "uvicorn"},
    "Django": {"server": "WSGIServer/0.2 CPython/3.11.2"},
}


def test_there_are_headers_of_every_product() -> None:
    assert [*HEADERS] == [product.name for product in PRODUCTS]


@pytest.mark.parametrize("name", HEADERS)
def test_a_product_is_recognised_alone_and_named_with_its_line_for_each_symptom(name: str) -> None:
    found = recognised([{"content-type": "text/event-stream"}, HEADERS[name]])
    assert [product.name for product in found] == [name]
    for symptom, line in found[0].lines.items():
        assert who(found, symptom) == f"{name}, {line.directive}"
        assert [(fix.line, fix.source) for fix in fixes(found, symptom)] == [(f"{name}: {line.line}", line.source)]


def test_of_several_products_each_that_can_cause_it_has_its_line_and_the_first_is_named() -> None:
    found = recognised([HEADERS["nginx"] | {"x-powered-by": "Express"}, HEADERS["Cloudflare"] | {"server": "x"}])
    assert [product.name for product in found] == ["Cloudflare", "nginx", "Express"]
    assert who(found, "compressed") == "nginx, gzip"
    assert [fix.line.partition(":")[0] for fix in fixes(found, "compressed")] == ["nginx", "Express"]


def test_nothing_is_recognised_by_ordinary_headers() -> None:
    ordinary = {"content-type": "text/event-stream", "date": "x", "vary": "Accept-Encoding", "set-cookie": "id=1"}
    assert recognised([ordinary, {"x-amzn-requestid": "a model's own"}]) == []
    assert who([], "held") == ""
    assert [fix.line.partition(":")[0] for fix in fixes([], "held")] == ["nginx", "Apache", "HAProxy"]
